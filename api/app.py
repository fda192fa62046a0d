"""How the service is put together: the only place that knows a database address.

`create_app` makes the application, `open_service` what it works with. Nothing is opened before
the application starts, so that its OpenAPI document can be had without a database.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from api import openapi
from api.auth.permissions import ACCESS, UnguardedRoute
from api.auth.secrets import ServiceKeys, load_secrets
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
from api.routes.health import HealthSnapshot, watch_database
from api.routes.routers import ROUTERS
from api.settings import Settings
from api.transparency.checkpoint_signing import CheckpointSigningJob
from api.web import routes as web
from api.web.error_pages import refusal
from domain.service.ledger import Ledgers, LedgerSecrets
from domain.store.blobs import Blobs
from domain.store.embedded.server import EmbeddedPostgres
from domain.store.postgres.connection import Pool, connect
from domain.store.postgres.migrate import migrate
from domain.store.privacy.cipher_suites import AES, SM4
from domain.store.privacy.vault import MasterKeys
from projections.catalogue import VIEWS
from projections.engine import generations as schema
from projections.engine.progress import ProgressTracker
from projections.runner_process import RunnerProcess

STOP_WAIT_S = 30.0
"""How long a stop waits for writes that were begun, seconds."""

MASTER_KEY_ID = "1"
"""Id of the one master key that settings give; stored beside each key it wraps."""

log = logging.getLogger("certledger")


def create_app(settings: Settings) -> FastAPI:
    """The whole HTTP service. Raises: UnguardedRoute when a route has no row in the table."""
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
    app.state.elsewhere = None  # set by the server that starts lookup workers
    app.state.lookup_limit = RateLimiter() if settings.lookup_limit else Unlimited()
    app.add_middleware(RequestMiddleware, settings=settings, render_error=refusal)
    handlers.install(app, refusal)
    app.router.routes.extend(web.router.routes)  # first: at a shared address the page asks first
    for routes in ROUTERS:
        app.router.routes.extend(routes.routes)
    check_guarded(app)
    openapi.install(app)
    return app


def check_guarded(app: FastAPI) -> None:
    """Every route asks who calls, and the table names no route that is gone.

    Raises: UnguardedRoute.
    """
    routes = [route for route in app.router.routes if isinstance(route, APIRoute)]
    for route in routes:
        if not isinstance(route, AuthorizedRoute):
            raise UnguardedRoute(f"route {route.path} is not guarded")
    operations = [route.operation for route in routes if isinstance(route, AuthorizedRoute)]
    gone = set(ACCESS) - set(operations)
    twice = {name for name in operations if operations.count(name) > 1}
    if gone or twice:
        raise UnguardedRoute(
            f"in api.auth.permissions.ACCESS: no route {sorted(gone)}, two {sorted(twice)}"
        )


def _lifespan(settings: Settings) -> Callable[[FastAPI], Any]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        closing = ExitStack()
        # Starting a database takes a second or more; the loop answers signals meanwhile.
        service = await asyncio.to_thread(open_service, settings, closing)
        app.state.service = service
        watching = asyncio.create_task(watch_database(service))
        try:
            yield
        finally:
            watching.cancel()
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
    Raises: SettingsInvalid, CannotStart, and psycopg2.Error when the database can't be reached.
    """
    secrets = load_secrets(settings)
    with ExitStack() as undo:
        dsn = _database(settings, undo)
        migrate(dsn)
        ledger_secrets = secrets_of_ledgers(settings, secrets)
        ledgers = Ledgers(dsn, ledger_secrets)
        undo.callback(ledgers.close)
        access = RegistryConfig(dsn, secrets.index_key, ledger_secrets.algorithm)
        views = _views(dsn, ledger_secrets, settings, undo)
        undo.callback(CheckpointSigningJob(settings, ledgers).start().stop)
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
            registry=access.opened(settings),
            seen=HealthSnapshot(),
        )
        closing.push(undo.pop_all())
    return service


def secrets_of_ledgers(settings: Settings, secrets: ServiceKeys) -> LedgerSecrets:
    """What ledgers and views are opened with."""
    keys = MasterKeys(MASTER_KEY_ID, {MASTER_KEY_ID: secrets.master_key})
    suite = AES if settings.crypto == "aes" else SM4
    return LedgerSecrets(keys, secrets.index_key, suite.name)


def _views(dsn: str, secrets: LedgerSecrets, settings: Settings, undo: ExitStack) -> ReadModels:
    """The views, followed from now on, and connections to ask them through."""
    connections = Pool(lambda: connect(dsn, name="certledger api"), size=settings.reader_threads)
    undo.callback(connections.close)
    with connections.connection() as connection:
        schema.ensure(connection, VIEWS)
    lookout = ProgressTracker(dsn, VIEWS)
    lookout.start()
    undo.callback(lookout.stop)
    beside = RunnerProcess(dsn, secrets, FORMAT)
    beside.start()
    undo.callback(beside.stop)
    return ReadModels(lookout, beside, connections)


def _database(settings: Settings, undo: ExitStack) -> str:
    """The address of the database, ours started if none was given."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    embedded = EmbeddedPostgres(settings.data_dir)
    undo.callback(embedded.stop)
    return embedded.start()


def token_checker(settings: Settings, secrets: ServiceKeys) -> TokenChecker:
    """What checks bearer tokens: our own key, or the keys of an issuer elsewhere."""
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
