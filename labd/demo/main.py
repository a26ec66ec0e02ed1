"""`labd demo`: a folder of its own, the lab at work in it, and what came out."""

from __future__ import annotations

import asyncio
import importlib.util
import signal
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.text import Text

from labd import clock
from labd.daemon import first_of
from labd.demo import discovering
from labd.demo.play import Played, furnish, near, play
from labd.demo.show import Show
from labd.files import InputErrors
from labd.journal import JournalError
from labd.lab.config import LabConfig, LabError, load_lab
from labd.logs import configure_logs
from labd.telemetry.broker import BrokerError

PLACES = 8
"""How many cells the demo's trays hold."""
NEEDS = ("amqtt", "matplotlib")
CAMPAIGN_NEEDS = (*NEEDS, "numpy", "scipy", "rocrate")
ROUNDS = 5
PIPE_WIDTH = 120  # columns where no terminal tells
INTERRUPTED = 130

_T = TypeVar("_T")


class DemoError(Exception):
    """The demo cannot be played; the text says why and how to mend it."""


def demo(
    seed: int = 7,
    cells: int = PLACES,
    directory: Path | None = None,
    watch: bool = False,
    plain: bool = False,
    campaign: bool = False,
) -> int:
    """Plays the demo in a folder of its own (default: a new one under `demo-lab/`). Gives the exit status.

    With `campaign` the closed loop: ROUNDS rounds of eight cells, each proposed from what came of those before.

    Raises:
        DemoError: a folder that is in use or cannot be written, more cells than there are places, a missing extra.
    """
    if not 1 <= cells <= PLACES:
        raise DemoError(f"the demo's trays hold 1 to {PLACES} cells, not {cells}")
    needs = CAMPAIGN_NEEDS if campaign else NEEDS
    missing = [name for name in needs if importlib.util.find_spec(name) is None]
    if missing:
        raise DemoError(f"this demo needs {' and '.join(missing)}: pip install 'labd[all]'")
    folder = _own_folder(directory)
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)
    with _log_in(folder / "labd.log"):
        if campaign:
            return _discover(discovering.furnish(folder, seed), seed, console, live=console.is_terminal and not plain)
        return _play(furnish(folder, seed), seed, cells, console, watch=watch, live=console.is_terminal and not plain)


def _play(lab: Path, seed: int, cells: int, console: Console, *, watch: bool, live: bool) -> int:
    config = load_lab(lab)
    devices = len(config.devices)
    many = "coin cells" if cells > 1 else "coin cell"
    console.print(f"A lab of {devices} simulated devices builds and cycles {cells} {many} (seed {seed}).")
    work = play(lab, cells, Show(console, live=live), watch=watch, console=console)
    played = _carried_out(work, config, console)
    return INTERRUPTED if played is None else _status(played, console)


def _discover(lab: Path, seed: int, console: Console, *, live: bool) -> int:
    config = load_lab(lab)
    console.print(
        f"A campaign of {ROUNDS} rounds in a lab of {len(config.devices)} simulated devices (seed {seed}): of six "
        "stock solutions, which mixture gives cells that lose least charge and least energy?",
        soft_wrap=True,
    )
    found = _carried_out(discovering.discover(lab, ROUNDS, Show(console, live=live), console), config, console)
    if found is None:
        return INTERRUPTED
    if found.best is None:
        console.print(Text(f"nothing was found: {found.why or 'see labd.log'}", "red"))
    return 0 if found.best is not None else 1


def _carried_out(work: Coroutine[Any, Any, _T], config: LabConfig, console: Console) -> _T | None:
    """What the work gives; None when somebody ended it. Raises DemoError: it cannot be done."""
    timeline = clock.timeline_of(config.clock_kind, config.directory)
    try:
        return clock.run(_until_term(work), timeline)
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print(
            f"Interrupted: the lab was stopped in order. What it did stands in {near(config.directory)}", soft_wrap=True
        )
        return None
    except (InputErrors, LabError, JournalError, BrokerError) as error:
        raise DemoError(str(error)) from error
    except BaseExceptionGroup as group:
        told = first_of(group, (InputErrors, LabError, JournalError, BrokerError))
        if told is None:
            raise
        raise DemoError(str(told)) from group


def _status(played: Played, console: Console) -> int:
    """0 when every cell came to the end that its protocol foresees."""
    bad = [row for row in played.rows if row.outcome not in ("complete", "scrapped")]
    for row in bad:
        console.print(Text(f"{row.sample} ({row.run}): {row.outcome}: {row.note or 'see labd.log'}", "red"))
    return 1 if bad else 0


async def _until_term(work: Coroutine[Any, Any, _T]) -> _T:
    """SIGTERM ends the work in order, as Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await work


def _own_folder(named: Path | None) -> Path:
    """A new folder, or the empty one that was named: a lab.yaml or journal that is there is never written over."""
    try:
        if named is not None:
            named.mkdir(parents=True, exist_ok=True)
            if any(named.iterdir()):
                raise DemoError(f"{named} is not empty; name a new folder, or leave --directory away")
            return named
        stem = Path("demo-lab") / clock.now().strftime("%Y%m%d-%H%M%S")
        for number in range(1, 100):
            folder = stem if number == 1 else stem.with_name(f"{stem.name}-{number}")
            folder.parent.mkdir(exist_ok=True)
            try:
                folder.mkdir()
            except FileExistsError:
                continue  # another demo of the same second
            return folder
    except OSError as error:
        where = named or Path("demo-lab").absolute()
        raise DemoError(f"{where}: cannot be written: {error.strerror}; name a folder with --directory") from error
    raise DemoError(f"{stem} and many after it are taken; name a folder with --directory")


@contextmanager
def _log_in(file: Path) -> Iterator[None]:
    """The daemon's log goes to a file meanwhile: on the terminal it would tear the page apart."""
    with file.open("w", encoding="utf-8") as stream:
        configure_logs("json", stream)
        try:
            yield
        finally:
            configure_logs(None)
