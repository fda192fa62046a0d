"""Request lines are written by a thread: in order, soon, and not at any price."""

from __future__ import annotations

import io
import logging
import time

import pytest

from api.http import access_log as log_lines
from api.http.access_log import FORMAT, BufferedHandler, log_request


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("x", logging.INFO, __file__, 1, text, None, None)


def test_lines_are_written_soon_and_in_order():
    stream = io.StringIO()
    handler = BufferedHandler(stream)
    for number in range(5):
        handler.emit(record(f"line {number}"))
    deadline = time.monotonic() + 5
    while not stream.getvalue() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert stream.getvalue().splitlines() == [f"line {number}" for number in range(5)]
    handler.close()


def test_a_stop_writes_what_waits():
    stream = io.StringIO()
    handler = BufferedHandler(stream)
    handler.emit(record("last"))
    handler.close()
    assert stream.getvalue() == "last\n"


def test_too_many_lines_are_counted_and_left_out(monkeypatch):
    monkeypatch.setattr(log_lines, "LINES_MAX", 2)
    monkeypatch.setattr(log_lines, "WRITE_EVERY_S", 60)
    stream = io.StringIO()
    handler = BufferedHandler(stream)
    for number in range(5):
        handler.emit(record(f"line {number}"))
    handler.close()
    assert stream.getvalue().splitlines() == [
        "line 0",
        "line 1",
        "3 request lines were left out",
    ]


def test_a_reader_that_is_gone_does_no_harm():
    stream = io.StringIO()
    handler = BufferedHandler(stream)
    stream.close()
    handler.emit(record("nobody reads this"))
    handler.close()
    assert not handler._lines


def test_a_request_s_line_reads_as_any_other_whoever_writes_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "certledger.requests")
    monkeypatch.setattr(time, "time", lambda: 1_790_000_000.25)
    stream, other = io.StringIO(), io.StringIO()
    later = BufferedHandler(stream)
    plain = logging.StreamHandler(other)
    for handler in (later, plain):
        handler.setFormatter(logging.Formatter(FORMAT))
        monkeypatch.setattr(log_lines.log, "handlers", [handler])
        monkeypatch.setattr(log_lines.log, "propagate", False)
        log_request("ab" * 16, "GET", "/v/{token}", 404, 0.00125, None)
    later.close()
    assert stream.getvalue() == other.getvalue()
    assert stream.getvalue().endswith('"status":404,"ms":1.2,"role":null}\n')


def test_lines_of_requests_can_be_turned_off(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING, "certledger.requests"):
        log_request("ab" * 16, "GET", "/v/{token}", 404, 0.00125, None)
    assert not caplog.records
