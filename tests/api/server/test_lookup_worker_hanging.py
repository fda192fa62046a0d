"""A lookup process that neither answers nor ends."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from api.server import lookup_worker_pool as elsewhere
from domain.store.embedded.server import EmbeddedPostgres
from tests.api.server.test_connection import NOWHERE, connected
from tests.api.server.test_lookup_worker_pool import watched
from tests.support.lookup_workers import wait_for_lookup_workers, with_lookup_worker
from tests.support.waiting import wait_until


def test_a_lookup_process_that_hangs_is_replaced_and_its_clients_need_not_wait(
    postgres: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(elsewhere, "SILENT_LOOKS_MAX", 3)
    with watched(postgres, tmp_path, with_lookup_worker) as service:
        with connected(service.url) as lost:
            service.ask_often(lost)
            wait_until(lambda: service.elsewhere == 1)
            hanging = service.pid
            assert hanging is not None
            time.sleep(5)
            assert service.pid == hanging, "who has nothing to do does not hang"
            os.kill(hanging, signal.SIGSTOP)
            lost.sendall(NOWHERE)
            lost.settimeout(20)
            with suppress(ConnectionResetError):
                assert lost.recv(1) == b""
        wait_until(lambda: service.pid not in (None, hanging), timeout_s=20)
        wait_for_lookup_workers(service.url, 1)
        assert service.elsewhere == 0
        with connected(service.url) as other:
            service.ask_often(other)
            wait_until(lambda: service.elsewhere == 1)
