"""Telemetry's figures, ratios within one run: the bare client library, a loop by hand, a command, a stuck broker.

`python -m benchmarks.all mqtt`. The parts need mosquitto, and leave out what they cannot measure without it.
"""

from __future__ import annotations

import importlib

from benchmarks._figures import Figures

PARTS = ("bare", "stuck", "commanding", "whole")


def run(smoke: bool, figures: Figures) -> None:
    for part in PARTS:  # not imported above: the processes that they start are modules of this package, too
        importlib.import_module(f"benchmarks.mqtt.{part}").run(smoke, figures)
