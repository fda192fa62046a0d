"""`certledger serve` and `certledger project`: what runs until it is told to stop."""

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

from api.cli.environment import data_option, open_database, open_store, settings_of
from api.cli.import_ import load_example
from api.settings import Settings

ANSWERS_S = 60.0
"""How long the views may take to come up to date before `ready` is said all the same, seconds."""
LOOK_EVERY_S = 0.5


@click.command()
@click.option("--host", help="Address to listen on (CERTLEDGER_HOST, 127.0.0.1).")
@click.option("--port", type=click.IntRange(0, 65535), help="TCP port; 0: any free one (8000).")
@data_option
@click.option("--empty", is_flag=True, help="Do not load the example cohort into an empty journal.")
@click.option("--demo", is_flag=True, help="Insist on the embedded database and its own keys.")
def serve(host: str | None, port: int | None, data: Path | None, empty: bool, demo: bool) -> None:
    """Serve the HTTP interface and the pages, and keep the views up to date.

    Without a database setting an embedded PostgreSQL is started in the data directory; if its
    journal is empty, the example cohort is loaded into the ledger omc. Prints `ready URL` once
    everything answers. SIGTERM stops it and loses nothing.
    """
    settings = settings_of(data, host=host, port=port)
    if demo and not settings.embedded:
        raise click.UsageError("--demo needs the embedded database: unset CERTLEDGER_DATABASE_URL.")
    if host or port:
        settings = _at_home(settings, host, port, data)
    _ensure_free(settings)
    # Here, because the service's modules take half a second that `--help` should not wait for.
    from api.server.main import serve as run

    serving = threading.Event()
    signal.signal(signal.SIGTERM, lambda n, _: sys.exit(0 if serving.is_set() else 128 + n))
    with ExitStack() as closing:
        if settings.embedded:
            # Held until the end, so that the database is not stopped between loading and serving.
            closing.enter_context(open_database(settings))
            if not empty:
                with open_store(settings) as store:
                    load_example(store)
        serving.set()  # from here on a SIGTERM is answered by a whole, clean stop
        run(settings, ready=_say_ready)


def _ensure_free(settings: Settings) -> None:
    """Say that a port is taken before anything is started. Raises: ClickException, OSError."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except socket.gaierror:
            raise click.ClickException(f"{settings.host} is no address of this machine") from None
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            place = f"port {settings.port} of {settings.host}"
            raise click.ClickException(f"{place} is taken; choose another with --port") from None


def _at_home(settings: Settings, host: str | None, port: int | None, data: Path | None) -> Settings:
    """Links point to where the service listens, unless a setting says otherwise."""
    if "public_base_url" in settings.model_fields_set or not settings.port:
        return settings
    shown = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"http://{shown}:{settings.port}"
    return settings_of(data, host=host, port=port, public_base_url=url)


def _say_ready(url: str) -> None:
    """Print `ready URL` once the views answer too; the event loop is not kept waiting."""
    logging.getLogger("httpx").setLevel(logging.WARNING)

    def wait() -> None:
        deadline = time.monotonic() + ANSWERS_S
        while time.monotonic() < deadline and not _answers(url):
            time.sleep(LOOK_EVERY_S)
        click.echo(f"ready {url}")

    threading.Thread(target=wait, name="ready", daemon=True).start()


def _answers(url: str) -> bool:
    """Whether commands can be recorded and no view is behind."""
    try:
        if httpx.get(f"{url}/ready", trust_env=False, timeout=5).status_code != 200:
            return False
        health: dict[str, Any] = httpx.get(f"{url}/health", trust_env=False, timeout=5).json()
    except (httpx.HTTPError, ValueError):
        return False
    return not any(view["lag"] for view in health["views"] if view["state"] == "following")


@click.command()
@data_option
def project(data: Path | None) -> None:
    """Keep the views up to date, and nothing else.

    For a machine of its own beside the service. Of all processes that do this, one folds each
    ledger; another takes over within a second when it dies.
    """
    from projections.runner_process import new_runner

    stopped = threading.Event()
    with open_store(settings_of(data)) as store:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopped.set())
        with new_runner(store.dsn, store.secrets):
            click.echo("views are being kept up to date")
            stopped.wait()
