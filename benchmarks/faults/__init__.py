"""Faults and crashes on purpose, on the whole loop: `python -m benchmarks.faults [--smoke | --long] [PART …]`.

`make faults` is the size of every change, `make faults-long` that of a night.

The real engine, journal and drivers work over the real wires with the real simulators. What really happened is counted
in the simulators' world, never in what the drivers say.
"""

from __future__ import annotations

import sys

import structlog


def sized(smoke: bool, long: bool, sizes: tuple[int, int, int]) -> int:
    """How many rounds: of a short run, of that of every change, of a night's."""
    return sizes[0] if smoke else sizes[2 if long else 1]


def quiet() -> None:
    """The log is full of the faults that were ordered: only what is worse is told."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger("critical"),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
