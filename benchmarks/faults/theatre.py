"""A lab whose simulators and whose daemons are processes of their own: what the kill matrix plays in."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from benchmarks.faults.mortal import Fate, line_of
from benchmarks.faults.person import Api
from benchmarks.faults.scripts import Script, write_lab
from simulators._kit.world import World

SCALE = 30.0  # lab seconds a machine second
ANSWERS = 120.0  # s; whoever of a lab's processes has not answered by then, hangs


class Theatre:
    """Simulators and daemons of one lab, each a process; the daemons one after the other."""

    def __init__(self, directory: Path, script: Script, seed: int) -> None:
        self.directory = directory
        self.lab = directory / "lab.yaml"
        self.raw = script.lab(directory, seed) | {"clock": {"scaled": SCALE}}
        self.ended: int | None = None  # the status of the last life, once it is over
        write_lab(self.lab, self.raw)
        self._stage = self._spawn("stage", str(self.lab))
        self._mortal = self._spawn("mortal")
        for name, settings in json.loads(self._line(self._stage)).items():
            self.raw["devices"][name]["settings"] |= settings
        write_lab(self.lab, self.raw)
        assert self._line(self._mortal) == "ready"
        self._waiter: threading.Thread | None = None

    def _spawn(self, module: str, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", f"benchmarks.faults.{module}", *arguments]
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
        with (self.directory / f"{module}.log").open("a") as log:
            return subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
            )

    def _line(self, process: subprocess.Popen[str], most: float | None = ANSWERS) -> str:
        """What a process says next; one that says nothing within `most` s is ended, which is told."""
        assert process.stdout is not None
        silent = threading.Timer(most or 0.0, process.send_signal, [signal.SIGABRT])
        if most is not None:
            silent.start()
        line = process.stdout.readline().strip()
        silent.cancel()
        if not line:
            raise RuntimeError(f"{process.args} has ended; its log: {self._logs()}")
        return line

    def _logs(self) -> str:
        return "\n".join(path.read_text()[-3000:] for path in sorted(self.directory.glob("*.log")))

    @staticmethod
    def _order(process: subprocess.Popen[str], line: str) -> None:
        assert process.stdin is not None
        process.stdin.write(line)
        process.stdin.flush()

    # ── the simulators ───────────────────────────────────────────────────────────────────────────────────────────
    def look(self) -> World:
        """The world as it is now."""
        self._order(self._stage, "look\n")
        assert self._line(self._stage) == "done"
        return World(1, self.directory / "store" / "simulators" / "world.json")

    def bare(self) -> None:
        """Takes used tips off the robot, by hand."""
        self._order(self._stage, "bare\n")
        assert self._line(self._stage) == "done"

    # ── the daemon ───────────────────────────────────────────────────────────────────────────────────────────────
    @property
    def api(self) -> Api:
        return Api(self.directory / "store" / "labd.sock")

    @property
    def journal(self) -> Path:
        return self.directory / "store" / "journal.sqlite"

    def live(self, seed: int, share: float) -> None:
        """A daemon begins to live."""
        here = self.directory
        fate = Fate(str(self.lab), str(here / "labd.log"), str(self.hits), seed, share)
        self.ended = None
        self._order(self._mortal, line_of(fate))
        assert self._line(self._mortal) == "started"
        self._waiter = threading.Thread(target=self._wait)
        self._waiter.start()

    def _wait(self) -> None:
        self.ended = int(self._line(self._mortal, most=None).removeprefix("ended "))

    @property
    def hits(self) -> Path:
        return self.directory / "hits"

    def kill(self) -> None:
        """From outside, at once."""
        if self.ended is None:
            self._order(self._mortal, "kill\n")

    def end(self) -> None:
        """In order."""
        if self.ended is None:
            self._order(self._mortal, "end\n")

    def join(self) -> None:
        """Waits for the end of the daemon."""
        if self._waiter is not None:
            self._waiter.join(ANSWERS)
            if self._waiter.is_alive():
                self._order(self._mortal, "abort\n")
                self._waiter.join(ANSWERS)
                raise RuntimeError(f"a daemon that was told to end did not; its log: {self._logs()}")

    def close(self) -> None:
        for process in (self._mortal, self._stage):
            with contextlib.suppress(BrokenPipeError):
                assert process.stdin is not None
                process.stdin.close()
            process.wait(timeout=60)
            assert process.stdout is not None
            process.stdout.close()
        self.join()


@contextlib.contextmanager
def theatre(directory: Path, script: Script, seed: int) -> Iterator[Theatre]:
    """A lab's processes, which end with the block."""
    opened = Theatre(directory, script, seed)
    try:
        yield opened
    finally:
        opened.close()
