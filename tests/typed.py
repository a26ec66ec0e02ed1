"""`labd` as a person types it, in the test's own process: a new one costs a second, many on a busy machine."""

from __future__ import annotations

from typer.testing import CliRunner, Result

from labd.cli.app import app


def labd(*arguments: object) -> Result:
    """How a command ended, and all that it said; what it raised by mistake is raised."""
    ended = CliRunner().invoke(app, [str(one) for one in arguments])
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    return ended
