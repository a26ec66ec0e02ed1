"""What a series of samples says of a cell: cycles, rests, dQ/dV, and impedance. Pure; heavy libraries where used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from typing import Any

from labd.records.analysis.curves import Curve, Curves, curves
from labd.records.analysis.cycling import (
    AnalysisError,
    Cycle,
    Half,
    cycles,
    grouped,
    halves,
    known,
    resolution,
    resting,
)
from labd.records.analysis.differential import SMOOTHING, Slope, slopes
from labd.records.analysis.spectra import KramersKronig, Spectrum, spectrum

__all__ = [
    "SMOOTHING",
    "AnalysisError",
    "Curve",
    "Curves",
    "Cycle",
    "Half",
    "KramersKronig",
    "Slope",
    "Spectrum",
    "analyse",
    "curves",
    "cycles",
    "grouped",
    "halves",
    "known",
    "resolution",
    "resting",
    "slopes",
    "spectrum",
    "version",
]

VERSION = "2"  # of the methods: another number has everything computed anew


def version(names: Sequence[str]) -> str:
    """What the analysis of columns of these names depends on besides their values, `1 impedance 1.7.1`."""
    if "z_real" not in names:
        return VERSION
    try:
        return f"{VERSION} impedance {installed('impedance')}"
    except PackageNotFoundError:
        return f"{VERSION} without impedance"


def analyse(columns: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """What a series says, as JSON values; `kind` is `cycling`, `rest`, `impedance` or `none`.

    What cannot be told is in `problem`, in words; it is then not an error, since another series may be sound.

    Args:
        columns: `time`, `voltage`, `current` and perhaps `cycle`; or `frequency`, `z_real`, `z_imag`. s, V, A, Hz, Ω.
    """
    try:
        if {"frequency", "z_real", "z_imag"} <= columns.keys():
            found = spectrum(columns["frequency"], columns["z_real"], columns["z_imag"])
            return {"kind": "impedance", **found.told()}
        if {"time", "voltage", "current"} <= columns.keys():
            return _cycled(columns)
    except AnalysisError as error:
        kind = "impedance" if "z_real" in columns else "cycling"
        return {"kind": kind, "problem": str(error)}
    return {"kind": "none"}


def _cycled(columns: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    time, voltage, current = (columns[name] for name in ("time", "voltage", "current"))
    found = cycles(time, voltage, current, columns.get("cycle"))
    if not found:
        return {"kind": "rest", **resting(time, voltage)}
    peaks = [
        {
            "cycle": slope.cycle,
            "way": slope.way,
            "peaks": [{"voltage": at, "height": high} for at, high in slope.peaks()],
        }
        for slope in slopes(time, voltage, current, columns.get("cycle"))
    ]
    told = [asdict(cycle) for cycle in found]
    return {"kind": "cycling", "cycles": told, "dqdv": {"smoothing": SMOOTHING, "halves": peaks}}
