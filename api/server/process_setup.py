"""What every process of the service does at its start: where its lines go, and its memory."""

from __future__ import annotations

import gc
import logging
import sys

from api.http.access_log import FORMAT, BufferedHandler


def settle_memory() -> None:
    """Take what the start made out of the collector's sight, and let it look less often.

    It stops everything while it looks: through all of our modules that takes long enough to be
    seen in the slowest answers, and finds nothing, for they stay.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def configure_logging() -> None:
    """One line a record to stderr, unless the program that starts us logs its own way."""
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
