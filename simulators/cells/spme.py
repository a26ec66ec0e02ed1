"""A single-particle model with electrolyte as a handful of numbers, and the step of one cell in plain Python.

Each electrode is one particle whose surface stands above its mean by three exponentials; the salt in the pores has two
more. Between two looks a current is constant, so all eight go on exactly, whatever the step: nothing can become
unstable, and a step costs some microseconds. `many.py` steps whole arrays of cells by the same formulas.

Currents are positive when they charge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from simulators.cells import chen2020 as chen
from simulators.cells.chen2020 import ANODE, CATHODE, DX, DY, GRAPHITE, LOW, NMC, POINTS, STEP, X0, Y0

MODES = 8  # of the anode's surface 3, of the cathode's 3, of the salt 2
_LAST = POINTS - 2
THIN = 1e-3  # the least that x (1 - x) is taken for: an empty or full surface still passes some current
DRIED = 0.05  # the least share of its salt that a layer is taken to have
PRECISION = 1e-6  # V that an imposed voltage is met to
TURNS = 60  # of Newton at most; three as a rule


@dataclass(frozen=True, slots=True)
class Electrolyte:
    """What the model needs to know of it.

    Args:
        conductivity: S/m as filled.
        diffusivity: m²/s as filled.
        salt: mol/L as filled.
    """

    conductivity: float = chen.NYMAN_CONDUCTIVITY
    diffusivity: float = chen.NYMAN_DIFFUSIVITY
    salt: float = 1.0


class Numbers(NamedTuple):
    """All that a step needs of a cell besides its state. Plain floats here, arrays in `many.py`."""

    capacity: float  # C between 2.5 and 4.2 V
    drive_x: float  # stoichiometry a C
    drive_y: float
    taus: tuple[float, ...]  # s, of the modes
    gains: tuple[float, ...]  # of the modes, per A: stoichiometries, then A/m²
    salt_n: tuple[float, float, float]  # share of the salt, per A/m² of each mode and (A/m²)² of the first
    salt_s: tuple[float, float, float]
    salt_p: tuple[float, float, float]
    kinetic_n: float  # 1/A, half the inverse of the exchange current, over the root of x (1 - x)
    kinetic_p: float
    thermal: float  # V, 2RT/F
    diffusive: float  # V, of the salt's gradient
    fixed: float  # Ω: contacts and solids
    pores_n: float  # Ω, of the electrolyte as filled
    pores_s: float
    pores_p: float
    shunt: float  # Ω


def numbers(
    geometry: chen.Geometry = chen.M50,
    *,
    capacity: float | None = None,
    area: float | None = None,
    electrolyte: Electrolyte | None = None,
    kinetics: float = 1.0,
    diffusion: float = 1.0,
    contact: float = 0.0,
    shunt: float = math.inf,
    temperature: float = 25.0,
) -> Numbers:
    """The numbers of a cell.

    Args:
        geometry: thicknesses.
        capacity: C that it has now; the area's own by default.
        area: m² that take part; the geometry's own by default.
        electrolyte: Nyman's 1 mol/L LiPF6 in EC:EMC 3:7 by default.
        kinetics: factor on the exchange currents.
        diffusion: factor on the diffusivities in the particles.
        contact: Ω beside those of the cell itself.
        shunt: Ω between the electrodes.
        temperature: °C; the electrolyte is told at it already.
    """
    area = geometry.area if area is None else area
    capacity = geometry.areal * area if capacity is None else capacity
    liquid = electrolyte or Electrolyte()
    kelvin = temperature + 273.15
    cold = (1.0 / chen.WARM - 1.0 / kelvin) / chen.GAS
    solid = diffusion * math.exp(chen.DIFFUSION_ACTIVATION * cold)
    salt = chen.salt_modes(geometry)
    taus, gains = [], []
    for electrode, span in ((ANODE, DX), (CATHODE, DY)):
        time = electrode.radius**2 / (electrode.diffusivity * solid)
        for gain, tau in chen.particle_modes():
            taus.append(tau * time)
            gains.append(gain * time * span / capacity)
    taus += [each / liquid.diffusivity for each in salt.times]
    gains += [1.0 / area] * 2
    filled = 1000.0 * liquid.salt
    steep = chen.NYMAN_SLOPE * liquid.salt / filled / liquid.diffusivity**2
    shares = [
        (
            salt.gains[0][layer] / liquid.diffusivity / filled,
            salt.gains[1][layer] / liquid.diffusivity / filled,
            salt.bend[layer] * steep / filled,
        )
        for layer in range(3)
    ]
    thermal = 2.0 * chen.GAS * kelvin / chen.FARADAY
    fibres = liquid.conductivity * area
    return Numbers(
        capacity=capacity,
        drive_x=DX / capacity,
        drive_y=DY / capacity,
        taus=tuple(taus),
        gains=tuple(gains),
        salt_n=shares[0],
        salt_s=shares[1],
        salt_p=shares[2],
        kinetic_n=0.5 / (_exchange(ANODE, geometry.anode, filled, cold) * kinetics * area),
        kinetic_p=0.5 / (_exchange(CATHODE, geometry.cathode, filled, cold) * kinetics * area),
        thermal=thermal,
        diffusive=thermal * (1.0 - chen.TRANSFERENCE),
        fixed=contact + (geometry.anode / ANODE.electronic + geometry.cathode / CATHODE.electronic) / (3.0 * area),
        pores_n=geometry.anode / (3.0 * fibres * ANODE.porosity**1.5),
        pores_s=geometry.separator / (fibres * geometry.porosity**1.5),
        pores_p=geometry.cathode / (3.0 * fibres * CATHODE.porosity**1.5),
        shunt=shunt,
    )


def _exchange(electrode: chen.Electrode, thickness: float, filled: float, cold: float) -> float:
    """A/m² of the cell's area where x (1 - x) is one."""
    surface = 3.0 * electrode.active / electrode.radius * thickness
    return surface * electrode.rate * math.exp(electrode.activation * cold) * math.sqrt(filled) * electrode.most


class Pace(NamedTuple):
    """What a step of one length does to the modes."""

    dt: float
    kept: tuple[float, ...]
    added: tuple[float, ...]  # per A


def pace(cell: Numbers, dt: float) -> Pace:
    """What a step of dt seconds does."""
    kept = tuple(math.exp(-dt / tau) for tau in cell.taus)
    return Pace(dt, kept, tuple(gain * (1.0 - left) for gain, left in zip(cell.gains, kept, strict=True)))


class Ended(NamedTuple):
    """How a step ends: V at the terminals, A through them, A through the electrodes, and the modes."""

    voltage: float
    applied: float
    inner: float
    modes: list[float]


A, B, D = chen.NYMAN


def resting_voltage(cell: Numbers, q: float, modes: list[float]) -> float:
    """The voltage without current at this moment, V."""
    n1, n2, n3, p1, p2, p3, e1, e2 = modes
    soc = q / cell.capacity
    up = chen.tabled(NMC, Y0 - DY * soc - p1 - p2 - p3)
    un = chen.tabled(GRAPHITE, X0 + DX * soc + n1 + n2 + n3)
    zn, zp = _share(cell.salt_n, e1, e2), _share(cell.salt_p, e1, e2)
    return up - un + cell.diffusive * math.log(zp / zn)


def _share(gains: tuple[float, float, float], e1: float, e2: float) -> float:
    return max(DRIED, 1.0 + gains[0] * e1 + gains[1] * e2 + gains[2] * e1 * e1)


def advance(  # noqa: PLR0915 - one step in one go: calls would cost half of it
    cell: Numbers,
    step: Pace,
    q: float,
    modes: list[float],
    guess: float,
    stored: float,
    voltage: float | None,
) -> Ended:
    """One step of one cell, under a current or to a voltage.

    Args:
        cell: its numbers.
        step: what its length does.
        q: C in the anode at its beginning.
        modes: at its beginning.
        guess: the current, A; with a voltage the last one, by which the salt is foreseen.
        stored: share of the current that goes into the particles.
        voltage: V at its end, or None.
    """
    dt, kept, (a1, a2, a3, a4, a5, a6, a7, a8) = step
    (
        _, drive_x, drive_y, _, _, salt_n, salt_s, salt_p, kinetic_n, kinetic_p,
        thermal, diffusive, fixed, pores_n, pores_s, pores_p, shunt,
    ) = cell  # fmt: skip
    n1, n2, n3, p1, p2, p3, e1, e2 = [mode * left for mode, left in zip(modes, kept, strict=True)]
    # The salt at the end.
    f1, f2 = e1 + a7 * guess, e2 + a8 * guess
    b1, b2, b3 = salt_n
    zn = 1.0 + b1 * f1 + b2 * f2 + b3 * f1 * f1
    b1, b2, b3 = salt_s
    zs = 1.0 + b1 * f1 + b2 * f2 + b3 * f1 * f1
    b1, b2, b3 = salt_p
    zp = 1.0 + b1 * f1 + b2 * f2 + b3 * f1 * f1
    if zn < DRIED or zp < DRIED or zs < DRIED:
        zn, zs, zp = max(DRIED, zn), max(DRIED, zs), max(DRIED, zp)
    root_n, root_p = math.sqrt(zn), math.sqrt(zp)
    ohms = fixed + _TOTAL * (
        pores_n / (zn * (A + B * root_n + D * zn * zn))
        + pores_s / (zs * (A + B * math.sqrt(zs) + D * zs * zs))
        + pores_p / (zp * (A + B * root_p + D * zp * zp))
    )
    base = diffusive * math.log(zp / zn)
    # The surfaces at the end are linear in the current.
    share = stored * dt
    x0, y0 = X0 + drive_x * q + n1 + n2 + n3, Y0 - drive_y * q - p1 - p2 - p3
    xi, yi = stored * (a1 + a2 + a3) + share * drive_x, stored * (a4 + a5 + a6) + share * drive_y
    inner, low, high = guess, -math.inf, math.inf
    turns = 0
    while True:
        turns += 1
        x, y = x0 + xi * inner, y0 - yi * inner
        at = (x - LOW) / STEP
        index = int(at)
        if index < 0 or index > _LAST:
            index = 0 if at < 0 else _LAST
        un = GRAPHITE[index]
        slope_n = GRAPHITE[index + 1] - un
        un += (at - index) * slope_n
        at = (y - LOW) / STEP
        index = int(at)
        if index < 0 or index > _LAST:
            index = 0 if at < 0 else _LAST
        up = NMC[index]
        slope_p = NMC[index + 1] - up
        up += (at - index) * slope_p
        half_n, half_p = x * (1.0 - x), y * (1.0 - y)
        kn = kinetic_n / (root_n * math.sqrt(max(THIN, half_n)))
        kp = kinetic_p / (root_p * math.sqrt(max(THIN, half_p)))
        un_i, up_i = kn * inner, kp * inner
        volts = up - un + base + ohms * inner + thermal * (math.asinh(un_i) + math.asinh(up_i))
        rise = (
            ohms
            - (slope_p * yi + slope_n * xi) / STEP
            + thermal * (kn / math.sqrt(1.0 + un_i * un_i) + kp / math.sqrt(1.0 + up_i * up_i))
        )
        if voltage is None:
            # What the shunt takes, in one go: it is little, or the cell is lost anyway.
            bent = -(volts / shunt) / (1.0 + rise / shunt)
            inner += bent
            volts += rise * bent
            applied = guess
            break
        off = voltage - volts
        # The voltage grows with the current, but it bends: where Newton would leave what is known, halve that.
        if off > 0:
            low = inner
        else:
            high = inner
        inner += off / rise
        if not low <= inner <= high:
            inner = 0.5 * (low + high)
        if -PRECISION < off < PRECISION or turns == TURNS:
            volts, applied = voltage, inner + voltage / shunt
            break
    through = stored * inner
    after = [
        n1 + a1 * through, n2 + a2 * through, n3 + a3 * through,
        p1 + a4 * through, p2 + a5 * through, p3 + a6 * through,
        e1 + a7 * inner, e2 + a8 * inner,
    ]  # fmt: skip
    return Ended(volts, applied, inner, after)


_TOTAL = A + B + D
