"""Power cuts: on a disk that has only what `fsync` reached, nothing that the journal acknowledged is lost.

A writer appends to labd's own journal on a FUSE file system that keeps writes in memory until they are synced. At an
instant by chance the power goes: what was not synced is gone, or some of its pages, as a disk without order leaves
them. The journal that is then on the disk is opened as the next start of labd would.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks._figures import Figures
from benchmarks.faults import sized
from benchmarks.faults.fuse import Image, Unsynced, mounted
from benchmarks.faults.mounts import needed
from labd import clock
from labd.journal import Journal, JournalError, NewEvent
from labd.journal.verify import check

MOST = 400  # acknowledged events after which the power goes at the latest; the WAL is emptied into the file before
FIRST = 0.03  # s; in which a journal is made, about


@dataclass(slots=True)
class Cut:
    """What was found out over all cuts of one kind."""

    rounds: int = 0
    acknowledged: int = 0
    lost: int = 0
    broken: int = 0
    told: list[str] = field(default_factory=list)

    def tell(self, figures: Figures, name: str) -> None:
        figures.add(f"{name}.cuts", self.rounds, "cuts")
        figures.add(f"{name}.acknowledged", self.acknowledged, "events")
        figures.add(f"{name}.acknowledged_lost", self.lost, "events", goal=0, better="lower")
        figures.add(f"{name}.journals_broken", self.broken, "journals", goal=0, better="lower")
        for line in self.told:
            print(f"{name}: {line}", file=sys.stderr)


class Writers:
    """The process that forks writers."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._orders, self._told = process.stdin, process.stdout

    def start(self, folder: Path, synchronous: str, seed: int) -> int:
        """Starts a writer; gives its process."""
        self._orders.write(f"{folder} {synchronous} {seed}\n")
        self._orders.flush()
        return int(self._told.readline().split()[1])

    def acknowledged(self, most: int) -> Iterator[tuple[int, str]]:
        """Seq and hash of what is acknowledged, so many, or until the writer is gone."""
        for _ in range(most):
            word, *about = self._told.readline().split()
            if word == "gone":
                raise RuntimeError("the writer ended by itself")
            yield int(about[0]), about[1]

    def rest(self) -> Iterator[tuple[int, str]]:
        """The same, from a writer that was killed."""
        while (line := self._told.readline()) != "gone\n":
            if line.startswith("ack ") and line.count(" ") == 2:
                yield int(line.split()[1]), line.split()[2]


@contextlib.contextmanager
def writers() -> Iterator[Writers]:
    command = [sys.executable, "-m", "benchmarks.faults.writer"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Writers(process)
        finally:
            process.kill()


def cut_once(
    folder: Path, ready: Writers, seed: int, image: Image, found: Cut, *, synchronous: str = "FULL", torn: bool = False
) -> Image:
    """One round: a writer at work on a disk until its power goes. Gives what is on the disk then.

    Args:
        folder: an empty one.
        ready: who starts writers.
        seed: of the instant, and of the pages that are left.
        image: what is on the disk at first.
        found: is added to.
        synchronous: SQLite's setting; labd's own is FULL.
        torn: whether some pages of what was not synced are left.
    """
    dice = random.Random(f"power/{seed}/{torn}")
    disk = Unsynced(image)
    with mounted(folder, disk):
        writer = ready.start(folder, synchronous, seed)
        count = int(MOST ** dice.random()) - 1
        told = list(ready.acknowledged(count))
        time.sleep(dice.uniform(0, FIRST if count == 0 else 0.003))
        left = disk.cut(dice if torn else None)
        os.kill(writer, signal.SIGKILL)
        told += ready.rest()  # with the power gone nothing is synced any more: what comes now was, before
    found.rounds += 1
    found.acknowledged += len(told)
    _judge(left, told, found, f"round {seed}")
    return left


def _judge(left: Image, told: list[tuple[int, str]], found: Cut, name: str) -> None:
    """Opens what is left as the next start of labd does."""
    with tempfile.TemporaryDirectory() as directory:
        for file, content in left.items():
            Path(directory, file).write_bytes(content)
        path = Path(directory, "journal.sqlite")
        try:
            kept = clock.run(_opened(path))
        except JournalError as error:
            found.broken += 1
            found.lost += len(told)
            found.told.append(f"{name}: {error}")
            return
        flaw = check(path).flaw
    lost = [seq for seq, hash_ in told if kept.get(seq) != hash_]
    found.lost += len(lost)
    found.broken += flaw is not None
    if lost or flaw:
        found.told.append(f"{name}: {len(lost)} of {len(told)} events lost; {flaw.text if flaw else 'chain whole'}")


async def _opened(path: Path) -> dict[int, str]:
    """Its events, after one more was written."""
    journal = await Journal.open(path)
    try:
        await journal.append(NewEvent("daemon.started", {}))
        return {event.seq: event.hash for event in await journal.events()}
    finally:
        await journal.close()


def cuts(rounds: int, *, synchronous: str = "FULL", torn: bool | None = None) -> Cut:
    """Many rounds, each second one on the disk that the one before left. Raises MountRefusedError.

    Args:
        rounds: how many.
        synchronous: SQLite's setting.
        torn: whether pages that were not synced may be left; None: in every second round.
    """
    found, image = Cut(), Image()
    with writers() as ready, tempfile.TemporaryDirectory() as directory:
        for seed in range(rounds):
            folder = Path(directory, str(seed))
            folder.mkdir()
            here = seed % 4 >= 2 if torn is None else torn
            image = cut_once(folder, ready, seed, image, found, synchronous=synchronous, torn=here)
            image = image if seed % 2 == 0 else Image()
    return found


def run(smoke: bool, figures: Figures, *, long: bool = False, may_skip: bool = False) -> None:
    with needed(figures, "power", may_skip=may_skip):
        cuts(sized(smoke, long, (20, 200, 2000))).tell(figures, "power")
        # A disk that loses nothing of a journal that does not sync would prove nothing about one that does.
        mutant = cuts(5 if smoke else 20, synchronous="NORMAL", torn=False)
        figures.add("power.mutant_acknowledged", mutant.acknowledged, "events")
        figures.add("power.mutant_acknowledged_lost", mutant.lost, "events", goal=1)
