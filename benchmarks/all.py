"""Runs the benchmarks, one area after the other: `python -m benchmarks.all [--smoke] [AREA …]`.

An area is a module here with `run(smoke, figures)`. Exit status 1 when one of them fails; a goal that is not reached
is told, and is no failure, since speeds depend on the machine: with `--strict` it is one. Exit status 3 when nothing
failed, and the data set of an area that was named is not there; where all areas run, it is told and left out.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
import traceback
from pathlib import Path

import structlog

from benchmarks._figures import Figures, MissingData

APART = {"all", "faults"}  # this module, and the one that `make faults` runs


def areas() -> list[str]:
    """The names of all areas, in order."""
    found = (module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return sorted(name for name in found if not name.startswith("_") and name not in APART)


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks", description="Measures labd's speeds, one figure a line.")
    parser.add_argument("--smoke", action="store_true", help="short: only shows that every figure comes about")
    parser.add_argument("--strict", action="store_true", help="exit status 1 when a goal is not reached")
    parser.add_argument("areas", nargs="*", metavar="AREA", help=f"some of: {', '.join(areas())}")
    asked = parser.parse_args()
    # only figures on standard output; what goes wrong is told beside them
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger("warning"),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    if unknown := set(asked.areas) - set(areas()):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(areas())}")
    failed: list[str] = []
    short: list[str] = []
    missing = False
    for area in asked.areas or areas():
        try:
            with Figures(area, smoke=asked.smoke) as figures:
                importlib.import_module(f"benchmarks.{area}").run(asked.smoke, figures)
            short += [f"{area}.{figure.name}" for figure in figures.figures if figure.ok is False]
        except MissingData as error:
            print(f"left out: {area}: {error}", file=sys.stderr)
            missing = True
        except Exception:  # noqa: BLE001 - told in full, and the other areas are still measured
            traceback.print_exc()
            failed.append(area)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    if short and asked.strict:
        print(f"short of their goal: {', '.join(short)}", file=sys.stderr)
    if failed or (short and asked.strict):
        return 1
    return MissingData.status if missing and asked.areas else 0


if __name__ == "__main__":
    sys.exit(main())
