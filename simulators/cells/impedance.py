"""The impedance of a cell, from the same numbers that its steps use."""

from __future__ import annotations

import cmath
import math

from simulators.cells.chen2020 import (
    ANODE,
    CATHODE,
    DOUBLE_LAYER,
    DX,
    DY,
    GRAPHITE,
    NMC,
    STEP,
    X0,
    Y0,
    Electrode,
    tabled,
)
from simulators.cells.spme import THIN, Numbers

DISPERSED = 0.9  # exponent of the double layers: no surface is even
LEADS = 2e-7  # H
AIR = 2e-12  # F between leads that touch nothing
STEEL, STEEL_DISPERSED = 4e-5, 0.93  # of two discs of 15 mm, some 40 µF/cm² each: nearly a capacitor
_FIRST = 4.493409458**2  # of a sphere's first time constant


def of_leads(frequency: float) -> complex:
    """Impedance, Ω, where there is no cell."""
    return 1.0 / complex(1e-11, 2.0 * math.pi * frequency * AIR)


def of_blank(ohms: float, frequency: float) -> complex:
    """Impedance, Ω, of an electrolyte between two discs of steel, which block."""
    s = 2j * math.pi * frequency
    blocked: complex = 1.0 / (STEEL * s**STEEL_DISPERSED)
    return ohms + blocked + s * LEADS


def impedance(cell: Numbers, soc: float, frequency: float) -> complex:
    """Impedance, Ω, at rest, at a state of charge and a frequency in Hz.

    Leads, contacts, the electrolyte, the charge transfer and diffusion in both electrodes, diffusion of the salt; the
    imaginary part of a capacitive cell is negative.
    """
    s = 2j * math.pi * frequency
    x, y = X0 + DX * soc, Y0 - DY * soc
    slope_x = (tabled(GRAPHITE, x + STEP) - tabled(GRAPHITE, x - STEP)) / (2 * STEP)
    slope_y = (tabled(NMC, y + STEP) - tabled(NMC, y - STEP)) / (2 * STEP)
    salt = cell.diffusive * sum(
        (cell.salt_p[mode] - cell.salt_n[mode]) * cell.gains[6 + mode] / (1.0 + s * cell.taus[6 + mode])
        for mode in (0, 1)
    )
    inner = cell.fixed + cell.pores_n + cell.pores_s + cell.pores_p + salt
    inner += _electrode(s, ANODE, cell.kinetic_n, cell.thermal, x, -slope_x * cell.drive_x, cell.taus[0])
    inner += _electrode(s, CATHODE, cell.kinetic_p, cell.thermal, y, -slope_y * cell.drive_y, cell.taus[3])
    total: complex = inner / (1.0 + inner / cell.shunt) + s * LEADS
    return total


def _electrode(
    s: complex, electrode: Electrode, kinetic: float, thermal: float, filling: float, rise: float, first: float
) -> complex:
    transfer = thermal * kinetic / math.sqrt(max(THIN, filling * (1.0 - filling)))
    # RT/F over the exchange current a m² of particles, filled by half, is the time constant: the area drops out.
    surface = DOUBLE_LAYER * thermal / 2.0 / (electrode.rate * 1000.0**0.5 * electrode.most)
    layer = (s * surface / math.sqrt(max(THIN, filling * (1.0 - filling)))) ** DISPERSED / transfer
    time = first * _FIRST
    z = cmath.sqrt(s * time)
    t = cmath.tanh(z) if abs(z) < 30.0 else 1.0
    inside = max(0.0, rise) * time / 3.0 * t / (z - t)
    total: complex = 1.0 / (layer + 1.0 / (transfer + inside))
    return total
