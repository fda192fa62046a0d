"""Finds the Chromium for the browser tests."""

import os
import shutil

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str | None:
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


def require_chromium() -> str:
    """Its path; without one the test fails, or is skipped where CERTLEDGER_ALLOW_NO_BROWSER=1."""
    path = chromium()
    if path is None:
        message = f"needs Chromium, found none of: {', '.join(PROGRAMS)}"
        if os.environ.get("CERTLEDGER_ALLOW_NO_BROWSER") == "1":
            pytest.skip(message)
        pytest.fail(f"{message}; CERTLEDGER_ALLOW_NO_BROWSER=1 skips these tests", pytrace=False)
    return path
