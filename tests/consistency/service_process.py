"""The service in its own process, which tests can kill and start again at the same address.

Run with `python -m tests.consistency.service_process SETTINGS`, settings as JSON; it prints its
address.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from api.server.main import serve
from api.settings import load_settings

ROOT = Path(__file__).parents[2]


class ServiceProcess:
    """A service process. url: the same after every start."""

    def __init__(self, **settings: Any) -> None:
        """settings: of `load_settings`, JSON values. Starts at once, on a free port."""
        self._settings = {"port": 0} | settings
        self.url = ""
        self.start()

    def start(self) -> None:
        """Start, and wait until it answers."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.consistency.service_process", json.dumps(self._settings)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        self._process.stdout.close()
        assert self.url.startswith("http"), "the service did not start"
        self._settings["port"] = urlsplit(self.url).port

    def kill(self) -> None:
        """Kill it without warning."""
        self._process.kill()
        self._process.wait(20)

    def stop(self) -> None:
        """Ask it to stop, and wait."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)


def main(settings: str) -> None:
    serve(load_settings(**json.loads(settings)), lambda url: print(url, flush=True))


if __name__ == "__main__":
    main(sys.argv[1])
