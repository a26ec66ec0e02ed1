"""Daemons that kill themselves: `labd serve` in a process of its own that sends itself SIGKILL at a journal boundary.

`python -m benchmarks.faults.mortal` loads labd once and forks a daemon for each line that it reads, `Fate` as JSON; it
says `started`, and `ended <status>` after its end. The line `kill` kills it from outside; the end of the input, too.
So a life costs what a start does, without the second that a fresh interpreter takes to load everything; each is a
process with nothing in it from the one before. What decides about a death stands here, and nothing of it in labd.
"""

from __future__ import annotations

import contextlib
import faulthandler
import hashlib
import importlib
import json
import os
import select
import signal
import sqlite3
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

BEFORE, AFTER = "before", "after"
_WHOLE = 1 << 32
LOADED = (
    *("labd.daemon", "labd.api.server", "labd.lab.check", "labd.run.shipped"),
    *(f"drivers.{driver}" for driver in ("opentrons", "meca500", "plc_crimper", "julabo")),
)
"""What a daemon loads on its way, and no life has to."""
ORDERS = {"end": signal.SIGTERM, "abort": signal.SIGABRT}  # the last one says in the log where its threads are
NEVER = 1 << 30  # starts that may die young before labd takes up nothing more: here they die on purpose


@dataclass(frozen=True, slots=True)
class Fate:
    """One life of a daemon.

    Args:
        lab: its lab.yaml.
        log: where its log goes.
        hits: the file of the boundaries at which lives of this lab have ended: none is hit twice.
        seed: of the choice of boundaries.
        share: of all boundaries that are to be hit, 0 to 1; 0: it does not kill itself.
    """

    lab: str
    log: str
    hits: str
    seed: int = 0
    share: float = 0.0


@dataclass(slots=True)
class Boundaries:
    """What a commit makes durable, in words that are the same in every life, and whether a life is to end there."""

    fate: Fate
    hit: set[str] = field(default_factory=set)
    steps: dict[str, str] = field(default_factory=dict)  # step and action, by the action's id
    last: str = "the start"

    @classmethod
    def of(cls, fate: Fate) -> Boundaries:
        """Knows what earlier lives have hit, and the actions in their journal."""
        told = cls(fate)
        path = Path(fate.hits)
        if path.exists():
            told.hit |= {place for line in path.read_text().splitlines() for place in json.loads(line)["places"]}
        journal = Path(fate.lab).parent / "store" / "journal.sqlite"
        if journal.exists():
            with contextlib.closing(sqlite3.connect(f"{journal.absolute().as_uri()}?mode=ro", uri=True)) as reader:
                for (data,) in reader.execute("SELECT data FROM events WHERE kind = 'action.intended'"):
                    told.learn(json.loads(data))
        return told

    def learn(self, intended: dict[str, Any]) -> None:
        self.steps[intended["action_id"]] = f"{intended['step']} {intended['action']}"

    def places(self, drained: Sequence[Any]) -> list[str]:
        """What a commit of the journal holds."""
        found = []
        for work in drained:
            for _, run, kind, data in work.events:
                found.append(f"{run} {kind} {self._detail(kind, json.loads(data))}")
                self.last = found[-1]
            if work.keep and not work.events:
                found.append(f"{self.last}, kept")
        return list(dict.fromkeys(found))

    def _detail(self, kind: str, data: dict[str, Any]) -> str:
        if kind == "action.intended":
            self.learn(data)
        if "action_id" in data:
            return self.steps.get(data["action_id"], "?")
        keys = ("state", "visits", "from", "to", "command", "step", "held", "choice", "what", "device")
        return " ".join(str(data[key]) for key in keys if key in data)

    def dies(self, places: Sequence[str], side: str) -> bool:
        """Whether this is the place; then it stands in the file of hits."""
        mine = [f"{place} {side}" for place in places]
        if not any(self._chosen(place) and place not in self.hit for place in mine):
            return False
        line = json.dumps({"side": side, "places": mine}) + "\n"
        with open(self.fate.hits, "a", encoding="utf-8") as hits:  # noqa: PTH123 - one write, at the very end
            hits.write(line)
        return True

    def _chosen(self, place: str) -> bool:
        told = hashlib.sha256(f"{self.fate.seed}/{place}".encode()).digest()
        return int.from_bytes(told[:4]) < self.fate.share * _WHOLE


def mortal(commit: Callable[[Any, Sequence[Any]], Any], boundaries: Boundaries) -> Callable[[Any, Sequence[Any]], Any]:
    """The journal's commit, in which the process ends right before or right after it at the places that are due."""

    def commit_or_die(journal: Any, drained: Sequence[Any]) -> Any:
        places = boundaries.places(drained)
        if boundaries.dies(places, BEFORE):
            os.kill(os.getpid(), signal.SIGKILL)
        written = commit(journal, drained)
        if boundaries.dies(places, AFTER):
            os.kill(os.getpid(), signal.SIGKILL)  # durable, and nobody has been told
        return written

    return commit_or_die


def live(fate: Fate) -> int:
    """`labd serve`, for as long as it lasts."""
    from labd import daemon
    from labd.journal.writer import Writer

    log = os.open(fate.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number in (1, 2):
        os.dup2(log, number)
    faulthandler.enable()
    os.close(0)
    setattr(daemon, "DEATHS", NEVER)  # noqa: B010 - for this process only
    if fate.share > 0:
        setattr(Writer, "commit", mortal(Writer.commit, Boundaries.of(fate)))  # noqa: B010 - likewise
    return daemon.serve(Path(fate.lab), simulators=False, log_format="json")


def _fork(fate: Fate) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        status = live(fate)
    except BaseException:  # noqa: BLE001 - what is below belongs to the parent
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def attend(pid: int) -> int:
    """Waits for the end of a life; kills it when it is told to, or when nobody is there any more. Gives its status."""
    end = os.pidfd_open(pid)
    orders: list[int] = [0]
    while True:
        ready, _, _ = select.select([end, *orders], [], [])
        if end in ready:
            os.close(end)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        order = os.read(0, 64).decode()
        os.kill(pid, ORDERS.get(order.strip(), signal.SIGKILL))
        if not order:
            orders.clear()


def main() -> None:
    """Reads fates until the input ends."""
    for module in LOADED:
        importlib.import_module(module)
    buffer = b""
    print("ready", flush=True)
    while read := os.read(0, 65536):
        buffer += read
        while b"\n" in buffer:
            line, _, buffer = buffer.partition(b"\n")
            if not line.startswith(b"{"):
                continue  # an order for a life that had ended already
            pid = _fork(Fate(**json.loads(line)))
            print("started", flush=True)
            print(f"ended {attend(pid)}", flush=True)


def line_of(fate: Fate) -> str:
    """A fate as it is read here."""
    return json.dumps(asdict(fate)) + "\n"


if __name__ == "__main__":
    main()
