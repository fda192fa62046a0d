"""The access log: a thread writes its lines in order, soon, and within a bounded buffer."""

from __future__ import annotations

import io
import logging
import time

import pytest

from api.http import access_log
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


def test_a_stop_writes_the_buffered_lines():
    stream = io.StringIO()
    handler = BufferedHandler(stream)
    handler.emit(record("last"))
    handler.close()
    assert stream.getvalue() == "last\n"


def test_lines_beyond_the_buffer_are_dropped_and_counted():
    stream = io.StringIO()
    handler = BufferedHandler(stream, lines_max=2, write_every_s=60)
    for number in range(5):
        handler.emit(record(f"line {number}"))
    handler.close()
    assert stream.getvalue().splitlines() == [
        "line 0",
        "line 1",
        "3 request lines dropped: the log buffer was full",
    ]


def test_a_closed_stream_is_ignored():
    stream = io.StringIO()
    handler = BufferedHandler(stream)
    stream.close()
    handler.emit(record("nobody reads this"))
    handler.close()
    assert not handler._lines


def test_a_line_is_the_same_with_and_without_a_log_record(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "certledger.requests")
    monkeypatch.setattr(time, "time", lambda: 1_790_000_000.25)
    stream, other = io.StringIO(), io.StringIO()
    buffered = BufferedHandler(stream)
    plain = logging.StreamHandler(other)
    for handler in (buffered, plain):
        handler.setFormatter(logging.Formatter(FORMAT))
        monkeypatch.setattr(access_log.log, "handlers", [handler])
        monkeypatch.setattr(access_log.log, "propagate", False)
        log_request("ab" * 16, "GET", "/v/{token}", 404, 0.00125, None)
    buffered.close()
    assert stream.getvalue() == other.getvalue()
    assert stream.getvalue().endswith('"status":404,"ms":1.2,"role":null}\n')


def test_the_access_log_can_be_turned_off(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING, "certledger.requests"):
        log_request("ab" * 16, "GET", "/v/{token}", 404, 0.00125, None)
    assert not caplog.records
