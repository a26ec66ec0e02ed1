"""Names for expressions under test: a force, a crimp's result, and what else a protocol has."""

from __future__ import annotations

from typing import Any

from labd.expr import BOOLEAN, INTEGER, NUMBER, Text, Type, compile_expression, measure, record_of
from labd.sdk import ROLES

TYPES: dict[str, Type] = {
    "peak": measure("kN"),
    "force": measure("kN"),
    "volume": measure("µL"),
    "time": measure("s"),
    "charge": measure("mAh"),
    "current": measure("mA"),
    "warm": measure("°C"),
    "rise": measure("K"),
    "oxygen": measure("ppm"),
    "visits": INTEGER,
    "ratio": NUMBER,
    "sound": BOOLEAN,
    "tip": Text(("always", "once", "never")),
    "pressed": record_of("crimp result", ROLES["crimper"].actions["crimp"].result),
    "formed": record_of("cycle result", ROLES["potentiostat"].actions["cycle"].result),
}

VALUES: dict[str, Any] = {
    "peak": 7.0,
    "force": 7.8,
    "volume": 35.0,
    "time": 5.0,
    "charge": 2.0,
    "current": 0.001,
    "warm": 25.0,
    "rise": 3.0,
    "oxygen": 50.0,
    "visits": 1,
    "ratio": 0.0,
    "sound": True,
    "tip": "always",
    "pressed": {"peak_force": 7.31, "dwell": 2.0, "displacement": None, "cycles": 3},
    "formed": {"capacities": [1.0, 2.0], "coulombic_efficiencies": [], "capacity": 2.0, "reason": "done"},
}


def value_of(text: str) -> Any:
    return compile_expression(text, TYPES)(VALUES)
