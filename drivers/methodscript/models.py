"""What each instrument can do, and what the range numbers in its data mean.

Limits: PalmSens' specifications of EmStat4 HR and LR, Nexus and EmStat Pico. Names in the version string and numbers of
the ranges: PalmSens/MethodSCRIPT_Examples bd1a44a (instrument.py, mscript.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

ModelName = Literal["emstat4_hr", "emstat4_lr", "nexus", "pico"]


@dataclass(frozen=True, slots=True)
class Model:
    """One kind of instrument: least and greatest potential (V), current (A), frequency (Hz)."""

    name: str
    firmware: tuple[str, ...]  # how its version string begins
    baudrate: int
    xonxoff: bool
    voltage: tuple[float, float]
    current: float
    least_range: float
    frequency: tuple[float, float]
    galvanostat: bool
    ranges: Mapping[int, str]


_PICO_RANGES = dict(enumerate(("100 nA", "2 µA", "4 µA", "8 µA", "16 µA", "32 µA", "63 µA", "125 µA"))) | {
    8: "250 µA",
    9: "500 µA",
    10: "1 mA",
    11: "5 mA",
    **dict(enumerate(("100 nA", "1 µA", "6 µA", "13 µA", "25 µA", "50 µA", "100 µA", "200 µA", "1 mA", "5 mA"), 128)),
}
_EMSTAT4_RANGES = {
    3: "1 nA",
    6: "10 nA",
    9: "100 nA",
    12: "1 µA",
    15: "10 µA",
    18: "100 µA",
    21: "1 mA",
    24: "10 mA",
    27: "100 mA",
}
_DECADES = ("1 nA", "10 nA", "100 nA", "1 µA", "10 µA", "100 µA", "1 mA", "10 mA", "1 mA", "10 mA", "100 mA", "1 A")
_NEXUS_RANGES = {16: "100 pA", **dict(enumerate(_DECADES)), **dict(enumerate(_DECADES, 32))}

MODELS: dict[ModelName, Model] = {
    "emstat4_hr": Model(
        name="EmStat4 HR",
        firmware=("es4_hr", "mes4hr"),
        baudrate=921600,
        xonxoff=False,
        voltage=(-6.0, 6.0),
        current=0.2,
        least_range=100e-9,
        frequency=(1e-5, 200e3),
        galvanostat=True,
        ranges=_EMSTAT4_RANGES,
    ),
    "emstat4_lr": Model(
        name="EmStat4 LR",
        firmware=("es4_lr", "mes4lr"),
        baudrate=921600,
        xonxoff=False,
        voltage=(-3.0, 3.0),
        current=0.03,
        least_range=1e-9,
        frequency=(1e-5, 200e3),
        galvanostat=True,
        ranges=_EMSTAT4_RANGES,
    ),
    "nexus": Model(
        name="Nexus",
        firmware=("nexus",),
        baudrate=921600,
        xonxoff=False,
        voltage=(-10.0, 10.0),
        current=1.0,
        least_range=100e-12,
        frequency=(1e-5, 1e6),
        galvanostat=True,
        ranges=_NEXUS_RANGES,
    ),
    "pico": Model(
        name="EmStat Pico",
        firmware=("espico", "senswb"),
        baudrate=230400,
        xonxoff=True,
        voltage=(-1.7, 2.0),
        current=0.003,
        least_range=100e-9,
        frequency=(0.016, 200e3),
        galvanostat=False,
        ranges=_PICO_RANGES,
    ),
}


def lacks(model: Model) -> Mapping[str, str]:
    """The actions of a potentiostat that a model cannot do, each with why."""
    why = f"an {model.name} is a potentiostat and cannot drive a current"
    return {} if model.galvanostat else {"constant_current": why, "cycle": why}


def model_of(version: str) -> Model | None:
    """The model that a version string (`espico1304#Oct 22 2021 14:38:26`) belongs to; None for an unknown one."""
    return next((model for model in MODELS.values() if version.startswith(model.firmware)), None)
