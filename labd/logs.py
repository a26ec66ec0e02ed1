"""The daemon's log: where it goes and in which form. A log that cannot be written never ends what the lab does."""

from __future__ import annotations

import contextlib
import sys
from typing import Any, TextIO

import structlog

from labd import clock


class Line:
    """Writes each line to a stream, by default to whatever stderr is then.

    A stream that is closed or whose reader is gone loses the line and no more: journald may be restarted, a terminal
    closed, and runs go on.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def msg(self, message: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            print(message, file=self._stream or sys.stderr, flush=True)

    log = debug = info = warning = warn = error = critical = fatal = failure = exception = err = msg


def configure_logs(form: str | None, stream: TextIO | None = None) -> None:
    """Sets the log's form and place for the whole process.

    Args:
        form: `console` or `json`; None: console in a terminal, JSON lines elsewhere (under systemd journald).
        stream: where it goes; None: stderr.
    """
    colours = (stream or sys.stderr).isatty()
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        lambda _, __, event: {"at": clock.stamp(), **event},
        structlog.processors.format_exc_info,
    ]
    if (form or ("console" if colours else "json")) == "console":
        processors[-1:] = [structlog.dev.ConsoleRenderer(colors=colours)]
    else:
        processors.append(structlog.processors.JSONRenderer())
    structlog.configure(processors=processors, logger_factory=lambda *_: Line(stream))
