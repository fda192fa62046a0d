"""Start-up of every process of the service: logging and garbage collection."""

from __future__ import annotations

import gc
import logging
import sys

from api.http.access_log import FORMAT, BufferedHandler


def freeze_gc() -> None:
    """Exempt the objects made at start-up from garbage collection, and collect less often.

    A collection stops the process. Through all imported modules it takes long enough to show in
    the slowest responses, and frees nothing, because they stay loaded.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def configure_logging() -> None:
    """Log one line a record to stderr, unless logging is configured already."""
    if logging.getLogger().handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(FORMAT))
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    requests = BufferedHandler(sys.stderr)
    requests.setFormatter(handler.formatter)
    logging.getLogger("certledger.requests").addHandler(requests)
    logging.getLogger("certledger.requests").propagate = False
