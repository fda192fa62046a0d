"""How the service is put together: the only place that knows a database address.

`create_app` makes the application, `open_service` what it works with. Nothing is opened before
the application starts, so that its OpenAPI document can be had without a database.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from api import openapi
from api.auth.permissions import READ_ACCESS, UnauthorizedRoute
from api.auth.secrets import ServiceKeys, load_service_keys
from api.auth.tokens import OwnKey, PublishedKeys, TokenChecker
from api.http import exception_handlers as handlers
from api.http.access_log import FORMAT
from api.http.context import AppContext
from api.http.middleware import RequestMiddleware
from api.http.pagination import Cursors
from api.http.read_models import ReadModels
from api.http.reader_pool import ReaderPool
from api.http.routing import AuthorizedRoute
from api.lookup.rate_limit import RateLimiter, Unlimited
from api.lookup.registry import RegistryConfig
from api.routes.health import watch_database
from api.routes.routers import ROUTERS
from api.settings import PREFIX, Settings, SettingsInvalid
from api.transparency.audit_state import AuditListener, AuditState
from api.transparency.background_audit import AuditProcess
from api.transparency.checkpoint_signing import CheckpointSigningJob, LogSigner
from api.transparency.erasure_register import ErasureRegister
from api.transparency.health_problems import HealthProblems
from api.transparency.service_keys import keys_in_use
from api.web import routes as web
from api.web.error_pages import render_error
from api.worker.background_worker import BackgroundWorker
from api.worker.epoch_watch import EpochWatch
from api.worker.file_deletion_job import FileDeletionJob
from api.worker.key_renewal_job import KeyRenewalJob
from domain.decision import NotFound
from domain.errors import LedgerError
from domain.service.guards import LOG_NOT_CONTINUED
from domain.service.key_check import check_all_keys
from domain.service.ledger import Ledger, Ledgers, LedgerSecrets
from domain.store.blobs import Blobs
from domain.store.embedded.server import EmbeddedPostgres
from domain.store.errors import SealBroken
from domain.store.keys.command_hashes import CommandHasher
from domain.store.keys.login_keys import LoginKeys
from domain.store.keys.seals import Sealer, seal_key
from domain.store.postgres.connection import Pool, connect
from domain.store.postgres.migrate import migrate
from domain.store.privacy.cipher_suites import AES, SM4
from domain.store.privacy.epoch_keys import EpochKeys, MasterKeys
from domain.store.privacy.index_ciphers import index_cipher_keys
from domain.store.privacy.live_epochs import LiveEpochs
from domain.values.working_days import shanghai_date
from projections.catalogue import VIEWS
from projections.engine import generations as schema
from projections.engine.progress import ProgressTracker
from projections.engine.vaults import row_keys_of
from projections.engine.wrong_views import ERASURES_MISSING, EVERY_LEDGER, WrongViews
from projections.runner_process import RunnerProcess

STOP_WAIT_S = 30.0
"""How long a stop waits for writes that were begun, seconds."""

MASTER_KEY_ID = "1"
"""Id of the master key of the settings; stored in the files of epochs that it wraps."""

log = logging.getLogger("certledger")


def create_app(settings: Settings) -> FastAPI:
    """The whole HTTP service. Raises: UnauthorizedRoute when a route declares no roles."""
    app = FastAPI(
        title="certledger",
        version=openapi.VERSION,
        summary=openapi.SUMMARY,
        description=openapi.DESCRIPTION,
        openapi_tags=openapi.TAGS,
        servers=[{"url": settings.public_base_url}],
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan(settings),
    )
    app.state.settings = settings
    app.state.lookup_workers = None  # the server sets its pool
    app.state.lookup_limit = RateLimiter() if settings.lookup_limit else Unlimited()
    app.add_middleware(RequestMiddleware, settings=settings, render_error=render_error)
    handlers.install(app, render_error)
    app.router.routes.extend(web.router.routes)  # first: at a shared address the page asks first
    for routes in ROUTERS:
        app.router.routes.extend(routes.routes)
    check_routes(app)
    openapi.install(app)
    return app


def check_routes(app: FastAPI) -> None:
    """Every route declares its roles and has its own operation id; no read of the table is gone.

    Raises: UnauthorizedRoute.
    """
    operations: list[str] = []
    for route in app.router.routes:
        if isinstance(route, AuthorizedRoute):
            operations.append(route.operation)
        elif isinstance(route, APIRoute):
            raise UnauthorizedRoute(f"route {route.path} declares no roles")
    gone = READ_ACCESS.keys() - set(operations)
    twice = {name for name in operations if operations.count(name) > 1}
    if gone or twice:
        raise UnauthorizedRoute(f"no route for reads {sorted(gone)}, two for {sorted(twice)}")


def _lifespan(settings: Settings) -> Callable[[FastAPI], Any]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        closing = ExitStack()
        # Starting a database takes a second or more; the loop answers signals meanwhile.
        service = await asyncio.to_thread(open_service, settings, closing)
        app.state.service = service
        watching = asyncio.create_task(watch_database(service))
        preparing = asyncio.create_task(service.registry.prepare())
        try:
            yield
        finally:
            watching.cancel()
            preparing.cancel()
            try:
                await service.idle(STOP_WAIT_S)
            except TimeoutError:
                log.warning("stopping while %d writes are not finished", len(service.running))
            await service.tokens.close()
            service.registry.close()
            await asyncio.to_thread(closing.close)

    return lifespan


def open_service(settings: Settings, closing: ExitStack) -> AppContext:
    """Open everything the service works with; blocking, a second or two.

    closing: what has to be closed is pushed onto it, to be closed in the opposite order.
    Raises: SettingsInvalid, CannotStart, WrongServiceKey, WrongEpochKey, HeadPlaceSilent when the
        data directory can't be used, and psycopg2.Error when the database can't be reached.
    """
    secrets = load_service_keys(settings)
    with ExitStack() as undo:
        dsn = _database(settings, undo)
        migrate(dsn)
        ledger_secrets = secrets_of_ledgers(settings, secrets)
        keys_of = partial(keys_in_use, settings, secrets)
        check_all_keys(dsn, keys_of, ledger_secrets.epoch_keys)
        views = _views(dsn, ledger_secrets, settings, undo)
        problems, signer = HealthProblems(), LogSigner(settings)
        register = _register(settings, problems, views)
        ledgers = Ledgers(
            dsn,
            ledger_secrets,
            keys_of=keys_of,
            on_open=partial(_watch, signer, register, problems, views),
            write_unsigned=settings.write_unsigned,
        )
        undo.callback(ledgers.close)
        undo.enter_context(ledgers.epochs.watched())
        access = _registry_config(dsn, ledger_secrets, ledgers.epochs)
        registry = access.open(settings, views.wrong)
        watch = EpochWatch(dsn, ledgers.epochs, registry.ciphers, views.wrong)
        undo.callback(watch.start().stop)
        for name in ledgers.names():
            _ensure_ready(settings, register, ledgers.get(name))  # opening it checks the keys
        undo.callback(CheckpointSigningJob(signer, register, ledgers, problems).start().stop)
        audit = _audit(dsn, ledger_secrets, settings, problems, views, ledgers, undo)
        worker = _worker(dsn, ledger_secrets, ledgers, settings, undo)
        readers = ReaderPool(
            threads=settings.reader_threads,
            queue_max=settings.reader_queue_max,
            deadline_s=settings.deadline_s,
        )
        undo.callback(readers.close)
        service = AppContext(
            settings=settings,
            tokens=token_checker(settings, secrets),
            ledgers=ledgers,
            readers=readers,
            cursors=Cursors(secrets.cursor_key),
            blobs=Blobs(settings.blobs),
            views=views,
            access=access,
            registry=registry,
            problems=problems,
            audit=audit,
            worker=worker,
        )
        closing.push(undo.pop_all())
    return service


def _registry_config(dsn: str, secrets: LedgerSecrets, epochs: LiveEpochs) -> RegistryConfig:
    """What lookups are answered with. Raises: WrongEpochKey, psycopg2.Error."""
    keys, row_keys = index_cipher_keys(epochs), secrets.sealer.row_keys()
    return RegistryConfig(dsn, secrets.index_key, keys, secrets.algorithm, row_keys)


def _watch(
    signer: LogSigner,
    register: ErasureRegister,
    problems: HealthProblems,
    views: ReadModels,
    ledger: Ledger,
) -> None:
    """What every ledger is compared with while the service runs."""
    signer.watch(ledger)
    register.watch(ledger)
    ledger.guard.on_stop(lambda stop: problems.raise_(stop.code, ledger=ledger.name))
    ledger.guard.on_stop(lambda _: views.forget(ledger.name))


def _ensure_ready(settings: Settings, register: ErasureRegister, ledger: Ledger) -> None:
    """What is found out before anything of a ledger is shown. Raises: SettingsInvalid."""
    ensure_issuer_url(settings, ledger)
    with suppress(SealBroken):  # altered, which others report
        register.compare(ledger)


def ensure_issuer_url(settings: Settings, ledger: Ledger) -> None:
    """Compare the setting with the address that a ledger prints today, if it names one.

    Raises: SettingsInvalid.
    """
    try:
        state = ledger.state("ledger")
    except (NotFound, SealBroken):  # not opened yet, or altered, which others report
        return
    expected = state.issuer_url_on(shanghai_date(datetime.now(UTC)))
    if expected not in (None, settings.public_base_url):
        raise SettingsInvalid(
            reason=f"{PREFIX}PUBLIC_BASE_URL is {settings.public_base_url}, but the newest address "
            f"of ledger {ledger.name} is {expected}"
        )


def secrets_of_ledgers(settings: Settings, secrets: ServiceKeys) -> LedgerSecrets:
    """What ledgers and views are opened with."""
    suite = AES if settings.crypto == "aes" else SM4
    epoch_keys = epoch_keys_of(settings, secrets.master_key)
    sealer = Sealer(seal_key(secrets.journal_key), map(seal_key, secrets.journal_keys_retired))
    hasher = CommandHasher(
        secrets.command_key, secrets.idempotency_key, secrets.command_keys_retired
    )
    logins = LoginKeys(secrets.login_key, secrets.login_keys_retired)
    return LedgerSecrets(
        epoch_keys, secrets.index_key, sealer, hasher, logins, secrets.link_keys, suite.name
    )


def epoch_keys_of(settings: Settings, master_key: bytes) -> EpochKeys:
    """The files of epochs as the settings say."""
    suite = AES if settings.crypto == "aes" else SM4
    return EpochKeys(
        MasterKeys(MASTER_KEY_ID, {MASTER_KEY_ID: master_key}),
        settings.key_directories,
        settings.epoch_days,
        settings.backup_days,
        suite.name,
    )


def _views(dsn: str, secrets: LedgerSecrets, settings: Settings, undo: ExitStack) -> ReadModels:
    """The views, followed from now on, and connections to ask them through."""
    connections = Pool(lambda: connect(dsn, name="certledger api"), size=settings.reader_threads)
    undo.callback(connections.close)
    with connections.connection() as connection:
        schema.ensure(connection, VIEWS, secrets.epoch_keys)
    progress = ProgressTracker(dsn, VIEWS, row_keys_of(secrets))
    progress.start()
    undo.callback(progress.stop)
    runner = RunnerProcess(dsn, secrets, FORMAT)
    runner.start()
    undo.callback(runner.stop)
    return ReadModels(progress, runner, connections, WrongViews(), row_keys_of(secrets))


def _worker(
    dsn: str, secrets: LedgerSecrets, ledgers: Ledgers, settings: Settings, undo: ExitStack
) -> BackgroundWorker | None:
    """What does due work, started; None if this service leaves that to others."""
    if not settings.work:
        return None
    undo.callback(KeyRenewalJob(dsn, secrets).start().stop)
    worker = BackgroundWorker(dsn, ledgers)
    undo.callback(worker.start().stop)
    undo.callback(FileDeletionJob(dsn, ledgers, Blobs(settings.blobs)).start().stop)
    return worker


def _register(settings: Settings, problems: HealthProblems, views: ReadModels) -> ErasureRegister:
    """The register of erasures; of a ledger that lacks one, no view is shown."""

    def hide(ledgers: frozenset[str]) -> None:
        views.wrong.set("erasures", ((ERASURES_MISSING, ledger) for ledger in ledgers))

    return ErasureRegister(settings, problems, on_change=hide, have_folded=views.have_folded)


def _audit(
    dsn: str,
    secrets: LedgerSecrets,
    settings: Settings,
    problems: HealthProblems,
    views: ReadModels,
    ledgers: Ledgers,
    undo: ExitStack,
) -> AuditListener:
    """The reports of the background audit, and the process that audits if no other one does."""

    def take(before: AuditState, state: AuditState) -> None:
        views.wrong.set("audit", state.wrong_views)
        for view, ledger in state.wrong_views:
            problems.raise_(f"view_wrong:{view}", ledger=_named(ledger), view=view)
        for view, ledger in set(before.wrong_views) - set(state.wrong_views):
            problems.clear(f"view_wrong:{view}", ledger=_named(ledger), view=view)
        _stop_altered(ledgers, state)

    listener = AuditListener(dsn, secrets.sealer.row_keys(), take)
    listener.start()
    undo.callback(listener.stop)
    if settings.background_audit:
        process = AuditProcess(dsn, secrets, settings, FORMAT)
        process.start()
        undo.callback(process.stop)
    return listener


def _named(ledger: str) -> str | None:
    """A ledger as a problem names it; none where every ledger is meant."""
    return None if ledger == EVERY_LEDGER else ledger


def _stop_altered(ledgers: Ledgers, state: AuditState) -> None:
    """Stop the commands of a ledger with an event that is not as it was written."""
    for each in state.findings:
        if each.check != "events" or each.ledger is None or each.position is None:
            continue
        what = f"the audit found that position {each.position} is not as it was written"
        try:
            ledgers.get(each.ledger).guard.stop(LOG_NOT_CONTINUED, what)
        except LedgerError as error:
            # It cannot be opened, so that it takes no commands here; the listener goes on.
            log.warning("ledger %s could not be stopped: %s", each.ledger, error)


def _database(settings: Settings, undo: ExitStack) -> str:
    """The address of the database, ours started if none was given."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    embedded = EmbeddedPostgres(settings.data_dir)
    undo.callback(embedded.stop)
    return embedded.start()


def token_checker(settings: Settings, secrets: ServiceKeys) -> TokenChecker:
    """The checker of bearer tokens: with the service's own key, or with the keys of an issuer."""
    if settings.token_jwks_url is not None:
        source: Any = PublishedKeys(settings.token_jwks_url, settings.token_algorithms)
    else:
        assert secrets.token_checker is not None
        source = OwnKey(secrets.token_checker)
    return TokenChecker(
        source,
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        role_claim=settings.token_role_claim,
    )
