"""A pytest plugin: `pytest --labd-driver mypackage:DRIVER` holds a driver to its contract."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from labd.testing.subject import Subject

SUITE = Path(__file__).parent / "suite.py"
SUBJECTS: pytest.StashKey[list[Subject]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options."""
    group = parser.getgroup("labd", "the contract of labd's drivers")
    group.addoption(
        "--labd-driver",
        action="append",
        default=[],
        metavar="NAME",
        help="hold a driver to its contract: its name in lab.yaml, or `mypackage.module:DRIVER`; may be given again",
    )
    group.addoption(
        "--labd-simulator",
        metavar="PLACE",
        help="its simulator, `mypackage.simulator:SIMULATOR` (default: by the driver's name, also in labd.simulators)",
    )
    group.addoption(
        "--labd-transcripts", metavar="DIR", help="its recordings (default: tests/transcripts, where that is)"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Adds the suite to what is collected; alone, where no other tests were named."""
    names = config.getoption("labd_driver")
    if not names:
        return
    from labd.testing.subject import NoSubject, subject

    here = str(config.invocation_params.dir)
    if here not in sys.path:  # as for `python -m pytest`: a package that is not installed yet stands right here
        sys.path.insert(0, here)
    given = config.getoption("labd_transcripts")
    folder = Path(given) if given else config.rootpath / "tests" / "transcripts"
    transcripts = folder if folder.is_dir() else None
    try:
        config.stash[SUBJECTS] = [subject(name, config.getoption("labd_simulator"), transcripts) for name in names]
    except NoSubject as error:
        raise pytest.UsageError(f"--labd-driver {error}") from error
    named = config.args_source is pytest.Config.ArgsSource.ARGS
    config.args = [*(config.args if named else ()), str(SUITE)]
