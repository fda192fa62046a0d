"""`certledger serve`, `certledger project` and `certledger work`: the long-running commands."""

from __future__ import annotations

import errno
import logging
import signal
import socket
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import httpx

from api.cli.environment import data_option, open_database, open_environment, settings_of
from api.cli.import_ import load_example
from api.settings import Settings

READY_TIMEOUT_S = 60.0
"""How long the views may take to catch up; `ready` is printed then in any case, seconds."""
PATIENCE_S = 5.0
"""After so long a service that refuses commands says why, seconds."""
POLL_EVERY_S = 0.5


@click.command()
@click.option("--host", help="Address to listen on (CERTLEDGER_HOST, 127.0.0.1).")
@click.option("--port", type=click.IntRange(0, 65535), help="TCP port; 0: any free one (8000).")
@data_option
@click.option("--empty", is_flag=True, help="Do not load the example cohort into an empty journal.")
@click.option("--demo", is_flag=True, help="Fail unless the embedded database is used.")
@click.option(
    "--no-work", is_flag=True, help="Leave what is due by time to others (CERTLEDGER_WORK=false)."
)
def serve(
    host: str | None,
    port: int | None,
    data: Path | None,
    empty: bool,
    demo: bool,
    no_work: bool,
) -> None:
    """Serve the HTTP interface and the pages, and keep the views up to date.

    Without a database setting an embedded PostgreSQL is started in the data directory; if its
    journal is empty, the example cohort is loaded into the ledger omc. Prints `ready URL` once
    everything answers. SIGTERM stops it and loses nothing.
    """
    given = {"host": host, "port": port, "work": False if no_work else None}
    settings = settings_of(data, **given)
    if demo and not settings.embedded:
        raise click.UsageError("--demo needs the embedded database: unset CERTLEDGER_DATABASE_URL.")
    if host or port:
        settings = _default_public_url(settings, data, given)
    _check_port(settings)
    # Imported here, because the service's modules take half a second, too long for `--help`.
    from api.server.main import serve as run

    serving = threading.Event()
    signal.signal(signal.SIGTERM, lambda n, _: sys.exit(0 if serving.is_set() else 128 + n))
    with ExitStack() as closing:
        if settings.embedded:
            # Open until the end, so that the database is not stopped between loading and serving.
            closing.enter_context(open_database(settings))
        with open_environment(settings) as environment:
            environment.ledgers.check_keys()  # here, where a refusal is one line
            if settings.embedded and not empty:
                load_example(environment)
        serving.set()  # from here on a SIGTERM causes a clean stop
        run(settings, ready=_announce)


def _check_port(settings: Settings) -> None:
    """Fail early if the port is taken. Raises: ClickException, OSError."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except socket.gaierror:
            raise click.ClickException(
                f"{settings.host} is not an address of this machine"
            ) from None
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            place = f"port {settings.port} of {settings.host}"
            raise click.ClickException(f"{place} is taken; choose another with --port") from None


def _default_public_url(settings: Settings, data: Path | None, given: dict[str, Any]) -> Settings:
    """Settings with links to the address that the service listens on, unless a setting says."""
    if "public_base_url" in settings.model_fields_set or not settings.port:
        return settings
    shown = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"http://{shown}:{settings.port}"
    return settings_of(data, **given, public_base_url=url)


def _announce(url: str) -> None:
    """Print `ready URL` once the views have caught up; waits on a thread of its own.

    What keeps it from being ready for longer than a start takes is said on stderr, once.
    """
    logging.getLogger("httpx").setLevel(logging.WARNING)

    def wait() -> None:
        begun = time.monotonic()
        is_said = False
        while (waited := time.monotonic() - begun) < READY_TIMEOUT_S and not _is_ready(url):
            if waited > PATIENCE_S and not is_said and (reason := _not_ready(url)):
                click.echo(f"certledger: {url} answers, but is not ready: {reason}", err=True)
                is_said = True
            time.sleep(POLL_EVERY_S)
        click.echo(f"ready {url}")

    threading.Thread(target=wait, name="ready", daemon=True).start()


def _is_ready(url: str) -> bool:
    """Whether commands can be recorded and no view lags."""
    try:
        if httpx.get(f"{url}/ready", trust_env=False, timeout=5).status_code != 200:
            return False
        health: dict[str, Any] = httpx.get(f"{url}/health", trust_env=False, timeout=5).json()
    except (httpx.HTTPError, ValueError):
        return False
    return not any(view["lag"] for view in health["views"] if view["state"] == "following")


def _not_ready(url: str) -> str | None:
    """The code with which `/ready` refuses, and its ledger; None if it does not refuse."""
    try:
        answer = httpx.get(f"{url}/ready", trust_env=False, timeout=5)
        problem: dict[str, Any] = answer.json()
    except (httpx.HTTPError, ValueError):
        return None
    if answer.status_code == 200:
        return None
    of = problem.get("fields", {}).get("ledger")
    return f"{problem['code']}{f' of ledger {of}' if of else ''} ({url}/health)"


@click.command()
@data_option
def project(data: Path | None) -> None:
    """Keep the views up to date, without serving requests.

    For a separate machine. Of all processes that do this, one folds each ledger; another takes
    over within a second if that one exits.
    """
    from projections.runner_process import new_runner

    stopped = threading.Event()
    with open_environment(settings_of(data)) as environment:
        environment.ledgers.check_keys()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopped.set())
        with new_runner(environment.dsn, environment.secrets):
            click.echo("keeping the views up to date")
            stopped.wait()


@click.command()
@data_option
def work(data: Path | None) -> None:
    """Do what is due by time alone, without serving requests.

    For a separate machine. Of all processes that do this, one does the work of each ledger;
    another takes over within a second if that one exits. What is due is found in the views, which
    `serve` or `project` keep up to date.
    """
    from api.worker.background_worker import BackgroundWorker
    from api.worker.erasure_comparison_job import ErasureComparisonJob
    from api.worker.file_deletion_job import FileDeletionJob
    from api.worker.key_renewal_job import KeyRenewalJob

    stopped = threading.Event()
    with open_environment(settings_of(data)) as environment:
        environment.ledgers.check_keys()
        environment.ensure_views()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopped.set())
        dsn, ledgers = environment.dsn, environment.ledgers
        with (
            ErasureComparisonJob(dsn, ledgers, environment.register),
            BackgroundWorker(dsn, ledgers),
            FileDeletionJob(dsn, ledgers, environment.blobs),
            KeyRenewalJob(dsn, environment.secrets),
        ):
            click.echo("doing what is due")
            stopped.wait()
