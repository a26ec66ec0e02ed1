"""The log: it follows stderr, and what reads it may go away."""

from __future__ import annotations

import io
import os

import pytest
import structlog

from labd.logs import configure_logs


def test_it_follows_stderr(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    gone = io.StringIO()
    monkeypatch.setattr("sys.stderr", gone)
    configure_logs("json")
    structlog.get_logger("labd").info("before")
    gone.close()
    monkeypatch.undo()
    structlog.get_logger("labd").info("after", device="press")
    assert '"device": "press", "event": "after"' in capsys.readouterr().err


def test_a_stream_that_is_closed_loses_its_lines_and_no_more() -> None:
    stream = io.StringIO()
    configure_logs("console", stream)
    log = structlog.get_logger("labd")
    log.warning("it is full", disk="/")
    assert "it is full" in stream.getvalue()
    stream.close()
    log.error("nobody reads this")


def test_a_reader_that_is_gone_ends_nothing() -> None:
    reading, writing = os.pipe()
    stream = os.fdopen(writing, "w")
    configure_logs("json", stream)
    os.close(reading)
    structlog.get_logger("labd").error("nobody reads this either")
    with pytest.raises(BrokenPipeError):
        stream.close()
