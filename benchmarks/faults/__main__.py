"""Runs the parts, one after the other. Exit status 1 when a goal is not reached: these are no speeds."""

from __future__ import annotations

import argparse
import importlib
import inspect
import sys

import structlog

from benchmarks._figures import Figures

PARTS = ("lost", "outages", "estops", "kills", "timeouts", "links", "clocks", "disk", "power")


def main() -> int:
    parser = argparse.ArgumentParser(prog="faults", description="Faults and crashes on purpose, one figure a line.")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--smoke", action="store_true", help="short: fewer rounds of each")
    size.add_argument("--long", action="store_true", help="a night's: as many rounds as are promised")
    parser.add_argument(
        "--may-skip", action="store_true", help="a part that this machine cannot do, for want of mounts, is no failure"
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of: {', '.join(PARTS)}")
    asked = parser.parse_args()
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    # the log is full of the faults that were ordered
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger("critical"),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    with Figures("faults", smoke=asked.smoke) as figures:
        for part in asked.parts or PARTS:
            run = importlib.import_module(f"benchmarks.faults.{part}").run
            taken = inspect.signature(run).parameters
            more = {"long": asked.long, "may_skip": asked.may_skip}
            run(asked.smoke, figures, **{name: value for name, value in more.items() if name in taken})
    return 1 if any(figure.ok is False for figure in figures.figures) else 0


if __name__ == "__main__":
    sys.exit(main())
