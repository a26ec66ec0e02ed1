"""The instruments: what they call themselves, what they reach, their current and potential ranges.

Range codes and device names as PalmSens' public MethodSCRIPT examples list them.
"""

from __future__ import annotations

from dataclasses import dataclass

# Status bits of a value.
TIMING, OVERLOAD, UNDERLOAD, OVERLOAD_WARNING = 1, 2, 4, 8


@dataclass(frozen=True)
class Model:
    """One kind of instrument. Currents in A, potentials in V, times in s.

    Args:
        headroom: how far beyond a range's name it still reads: a 1 mA range of an EmStat4 measures to 3 mA.
        interval: shortest interval of a measurement loop.
    """

    firmware: str
    serial: str
    potential: tuple[float, float]
    current: float
    ranges: tuple[tuple[float, int], ...]
    potential_ranges: tuple[tuple[float, int], ...]
    galvanostat: bool
    headroom: float = 3.0
    max_frequency: float = 200e3
    max_amplitude: float = 0.9
    interval: float = 400e-6
    xon: bool = False

    def range_for(self, size: float, low: float, high: float) -> tuple[float, int]:
        """The finest range between two that reads a current of this size; the highest when none does."""
        top = self.ranges[0]
        for nominal, code in self.ranges:
            if nominal * self.headroom < low:
                continue
            top = (nominal, code)
            if size <= nominal * self.headroom * 0.82 or nominal * self.headroom >= high:
                return top
        return top


_ES4 = tuple((10.0 ** (-7 + index), 9 + 3 * index) for index in range(7))
_ES4_POTENTIAL = ((0.05, 2), (0.1, 3), (0.2, 4), (0.5, 5), (1.0, 6))

MODELS: dict[str, Model] = {
    "emstat4_hr": Model(
        firmware="es4_hr1304#Mar  4 2024 10:12:55",
        serial="ES4HR",
        potential=(-6.0, 6.0),
        current=0.2,
        ranges=_ES4,
        potential_ranges=_ES4_POTENTIAL,
        galvanostat=True,
    ),
    "emstat4_lr": Model(
        firmware="es4_lr1304#Mar  4 2024 10:12:31",
        serial="ES4LR",
        potential=(-3.0, 3.0),
        current=0.03,
        ranges=((1e-9, 3), (1e-8, 6), *_ES4[:6]),
        potential_ranges=_ES4_POTENTIAL,
        galvanostat=True,
    ),
    "emstat_pico": Model(
        firmware="espico1304#Oct 22 2021 14:38:26",
        serial="ESPI",
        potential=(-1.7, 2.0),
        current=3e-3,
        ranges=(
            (1e-7, 0x80),
            (1e-6, 0x81),
            (6.25e-6, 0x82),
            (12.5e-6, 0x83),
            (25e-6, 0x84),
            (50e-6, 0x85),
            (1e-4, 0x86),
            (2e-4, 0x87),
            (1e-3, 0x88),
            (5e-3, 0x89),
        ),
        potential_ranges=(),
        galvanostat=False,
        headroom=1.0,
        max_amplitude=0.25,
        xon=True,
    ),
    "nexus": Model(
        firmware="nexus11102#Sep  9 2024 09:01:17",
        serial="NX1",
        potential=(-10.0, 10.0),
        current=1.0,
        ranges=(
            (1e-10, 16),
            (1e-9, 0),
            (1e-8, 1),
            (1e-7, 2),
            (1e-6, 3),
            (1e-5, 4),
            (1e-4, 5),
            (1e-3, 8),
            (1e-2, 9),
            (0.1, 10),
            (1.0, 11),
        ),
        potential_ranges=((0.001, 3), (0.01, 2), (0.1, 1), (1.0, 0)),
        galvanostat=True,
        max_frequency=1e6,
    ),
}
ALIASES = {"pico": "emstat_pico", "espico": "emstat_pico", "emstat4": "emstat4_hr", "es4_hr": "emstat4_hr"}


def model_of(name: str) -> Model:
    """The instrument of a name in lab.yaml's `settings.model`. Raises ValueError, naming those that there are."""
    key = ALIASES.get(name, name)
    if key not in MODELS:
        raise ValueError(f"settings.model: {name!r} is none of: {', '.join(MODELS)}")
    return MODELS[key]
