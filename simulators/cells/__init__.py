"""Coin cells: how they were built, what is in them, and what they do under current and voltage.

Two models have one face, `step(dt, current=..., voltage=...) -> (V, A)` and `impedance(f)`: a light single-particle
model with electrolyte (`CellModel` for one cell without numpy, `simulators.cells.many.Cells` for many at once), and
PyBaMM's (`simulators.cells.heavy`, extra `physics`). Positive current charges.
"""

from simulators.cells.build import BEST_FORCE, CAPACITY, EVAPORATION, FREE_VOLUME
from simulators.cells.chen2020 import open_circuit_voltage
from simulators.cells.model import CellModel

__all__ = [
    "BEST_FORCE",
    "CAPACITY",
    "EVAPORATION",
    "FREE_VOLUME",
    "CellModel",
    "open_circuit_voltage",
]
