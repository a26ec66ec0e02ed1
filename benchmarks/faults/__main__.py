"""Runs the parts, some at a time. Exit status 1 when a goal is not reached: these are no speeds."""

from __future__ import annotations

import argparse
import importlib
import inspect
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks._figures import RESULTS, Figures
from benchmarks.faults import quiet
from benchmarks.faults.watch import ends_within

PARTS = ("lost", "outages", "estops", "kills", "timeouts", "links", "clocks", "disk", "power")
LONG = ("links", "kills", "lost")  # these take the most time
LIMIT = {"smoke": 300.0, "long": 6 * 3600.0}  # s in which a part must be over
NORMAL = 480.0  # s; likewise, of every change

SIZES = ("smoke", "long", "may-skip")


def at_once(parts: Sequence[str], jobs: int, options: Sequence[str]) -> int:
    """Each part in a process of its own, so many at a time, the long ones first; tells each when it has ended."""
    order = sorted(parts, key=lambda part: part not in LONG)

    def one(part: str) -> int:
        with tempfile.TemporaryDirectory() as results:
            command = [sys.executable, "-m", "benchmarks.faults", *options, "--results", results, part]
            ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        print(ended.stdout, end="", flush=True)
        if ended.returncode != 0:
            print(f"# {part}: exit status {ended.returncode}", file=sys.stderr, flush=True)
        return ended.returncode

    with ThreadPoolExecutor(jobs) as lanes:
        return max(lanes.map(one, order))


def main() -> int:
    parser = argparse.ArgumentParser(prog="faults", description="Faults and crashes on purpose, one figure a line.")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--smoke", action="store_true", help="short: fewer rounds of each")
    size.add_argument("--long", action="store_true", help="a night's: as many rounds as are promised")
    parser.add_argument(
        "--may-skip", action="store_true", help="a part that this machine cannot do, for want of mounts, is no failure"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="so many parts at a time")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the figures as JSON")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of: {', '.join(PARTS)}")
    asked = parser.parse_args()
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    parts = asked.parts or PARTS
    if asked.jobs > 1 and len(parts) > 1:
        return at_once(parts, asked.jobs, [f"--{name}" for name in SIZES if getattr(asked, name.replace("-", "_"))])
    quiet()
    with Figures("faults", smoke=asked.smoke, results=asked.results) as figures:
        for part in parts:
            size = next((name for name in LIMIT if getattr(asked, name)), "")
            watch = ends_within(LIMIT.get(size, NORMAL), part)
            run = importlib.import_module(f"benchmarks.faults.{part}").run
            taken = inspect.signature(run).parameters
            more = {"long": asked.long, "may_skip": asked.may_skip}
            run(asked.smoke, figures, **{name: value for name, value in more.items() if name in taken})
            watch.cancel()
    return 1 if any(figure.ok is False for figure in figures.figures) else 0


if __name__ == "__main__":
    sys.exit(main())
