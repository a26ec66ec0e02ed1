"""Chen2020: what is known of the LG M50's two electrodes, and the coin cell that is punched from thinner ones.

All parameters: Chen et al., J. Electrochem. Soc. 167 (2020) 080534, as PyBaMM's parameter set `Chen2020` has them;
the electrolyte's concentration dependence in them is Nyman's, Electrochim. Acta 53 (2008) 6356. Nothing here needs
numpy: a simulated instrument with one cell goes without.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

FARADAY = 96485.33  # C/mol
GAS = 8.314463  # J/(mol K)
WARM = 298.15  # K, of all parameters

# Stoichiometries at 2.5 V and 4.2 V, from the lithium that the parameter set starts with.
X0, X1 = 0.0263458, 0.9106180
Y0, Y1 = 0.8539747, 0.2638452
DX, DY = X1 - X0, Y0 - Y1

TRANSFERENCE = 0.2594


@dataclass(frozen=True, slots=True)
class Electrode:
    """One porous electrode. SI units; `radius` of its particles, `rate` in A/m² (m³/mol)^1.5, `activation` in J/mol."""

    active: float
    porosity: float
    radius: float
    diffusivity: float
    most: float  # mol/m³
    rate: float
    activation: float
    electronic: float  # S/m


ANODE = Electrode(0.75, 0.25, 5.86e-6, 3.3e-14, 33133.0, 6.48e-7, 35000.0, 215.0)
CATHODE = Electrode(0.665, 0.335, 5.22e-6, 4e-15, 63104.0, 3.42e-6, 17800.0, 0.18)
DOUBLE_LAYER = 0.2  # F/m² of particle surface
DIFFUSION_ACTIVATION = 30000.0  # J/mol; the set has none, this is the order of what O'Regan et al. (2022) measured


@dataclass(frozen=True, slots=True)
class Geometry:
    """Thicknesses in m, porosity of the separator, area in m²."""

    anode: float
    separator: float
    cathode: float
    porosity: float
    area: float

    @property
    def areal(self) -> float:
        """Charge between 2.5 V and 4.2 V, C/m²."""
        return self.anode * ANODE.active * ANODE.most * FARADAY * DX


M50 = Geometry(85.2e-6, 12e-6, 75.6e-6, 0.47, 0.1027)
_DISC = math.pi / 4 * 0.015**2
_THIN = 7.2 / _DISC / M50.areal
COIN = Geometry(85.2e-6 * _THIN, 260e-6, 75.6e-6 * _THIN, 0.9, _DISC)
"""Discs of 15 mm with 2 mAh: a quarter of the M50's thickness, and a glass fibre of 260 µm between them."""


# ── open circuit ─────────────────────────────────────────────────────────────────────────────────────────────────
def _graphite(x: float) -> float:
    return (
        1.9793 * math.exp(-39.3631 * x)
        + 0.2482
        - 0.0909 * math.tanh(29.8538 * (x - 0.1234))
        - 0.04478 * math.tanh(14.9159 * (x - 0.2769))
        - 0.0205 * math.tanh(30.4444 * (x - 0.6103))
    )


def _nmc(y: float) -> float:
    volts = (
        -0.8090 * y
        + 4.4875
        - 0.0428 * math.tanh(18.5138 * (y - 0.5542))
        - 17.7326 * math.tanh(15.7890 * (y - 0.3117))
        + 17.5842 * math.tanh(15.9308 * (y - 0.3120))
    )
    return volts + 15.0 * max(0.0, Y1 - 0.012 - y) ** 2  # overcharged


def _pristine(x: float) -> float:
    """Graphite; below what it has at 2.5 V the steep way up to one that was never charged (a cell of 0.1 V)."""
    if x >= X0:
        return _graphite(x)
    soc = (x - X0) / DX
    start = _nmc(Y0) - _graphite(X0)
    return _nmc(Y0 - DY * soc) - (0.1 + (start - 0.1) * math.exp(soc / 0.008) + 2.0 * soc)


STEP, POINTS = 5e-4, 2401
LOW = X0 - 250 * STEP
"""The grid of the tabled open-circuit potentials, in stoichiometry; graphite's bend at 2.5 V is one of its points."""
GRAPHITE = [_pristine(LOW + STEP * index) for index in range(POINTS)]
NMC = [_nmc(LOW + STEP * index) for index in range(POINTS)]


def tabled(table: Sequence[float], stoichiometry: float) -> float:
    """A potential, V, by linear interpolation."""
    position = (stoichiometry - LOW) / STEP
    index = min(max(int(position), 0), POINTS - 2)
    return table[index] + (position - index) * (table[index + 1] - table[index])


def open_circuit_voltage(soc: float) -> float:
    """Open-circuit voltage, V, at a state of charge (0: 2.5 V, 1: 4.2 V); grows everywhere."""
    return tabled(NMC, Y0 - DY * soc) - tabled(GRAPHITE, X0 + DX * soc)


# ── diffusion as a few exponentials ──────────────────────────────────────────────────────────────────────────────
Mode = tuple[float, float]
"""Gain (what it comes to, for a unit drive) and time constant, s."""


def particle_modes() -> tuple[Mode, Mode, Mode]:
    """Of a sphere's surface above its mean, for a drive of one mean stoichiometry a unit of R²/D; times in R²/D.

    The first two are exact, from tan β = β; the third holds all others, by their sum and first moment.
    """
    first = [(2.0 / (3.0 * beta**2), 1.0 / beta**2) for beta in (4.493409458, 7.725251837)]
    gain = 1.0 / 15.0 - sum(each for each, _ in first)
    moment = 1.0 / 525.0 - sum(each * tau for each, tau in first)
    return first[0], first[1], (gain, moment / gain)


@dataclass(frozen=True, slots=True)
class Salt:
    """Means of the salt in anode, separator and cathode, for 1 A/m² of charging current and a diffusivity of 1 m²/s.

    Two modes, each with its gains in mol/m³ and its time constant in s; `bend`: what the diffusivity's fall with
    concentration adds at rest, per (A/m²)² and per D'/D in m³/mol.
    """

    gains: tuple[tuple[float, float, float], tuple[float, float, float]]
    times: tuple[float, float]
    bend: tuple[float, float, float]


_NODES = 40  # of a layer


@lru_cache(maxsize=8)
def salt_modes(geometry: Geometry) -> Salt:
    """Solves the salt's diffusion through the three layers by finite volumes, and keeps its first mode and the rest."""
    layers = (
        (geometry.anode, ANODE.porosity, -1.0 / geometry.anode),
        (geometry.separator, geometry.porosity, 0.0),
        (geometry.cathode, CATHODE.porosity, 1.0 / geometry.cathode),
    )
    width = [length / _NODES for length, _, _ in layers for _ in range(_NODES)]
    pores = [porosity for _, porosity, _ in layers for _ in range(_NODES)]
    source = [(1.0 - TRANSFERENCE) / FARADAY * share for _, _, share in layers for _ in range(_NODES)]
    count = len(width)
    resistance = [  # between the middles of neighbours, for D = 1
        0.5 * width[k] / pores[k] ** 1.5 + 0.5 * width[k + 1] / pores[k + 1] ** 1.5 for k in range(count - 1)
    ]
    held = sum(w * e for w, e in zip(width, pores, strict=True))

    def levelled(field: list[float]) -> list[float]:
        mean = sum(w * e * c for w, e, c in zip(width, pores, field, strict=True)) / held
        return [c - mean for c in field]

    def settled(drive: list[float]) -> list[float]:
        """The field at rest under a drive whose sum is nothing."""
        field, flux = [0.0], 0.0
        for k in range(count - 1):
            flux += drive[k] * width[k]
            field.append(field[-1] - flux * resistance[k])
        return levelled(field)

    def means(field: list[float]) -> tuple[float, float, float]:
        a, b, c = (sum(field[k : k + _NODES]) / _NODES for k in (0, _NODES, 2 * _NODES))
        return a, b, c

    still = settled(source)
    shape, time = still, 0.0
    for _ in range(30):
        following = settled([e * c for e, c in zip(pores, shape, strict=True)])
        time = max(map(abs, following)) / max(map(abs, shape))
        size = max(map(abs, following))
        shape = [c / size for c in following]
    weight = [w * e for w, e in zip(width, pores, strict=True)]
    part = sum(w * c * s for w, c, s in zip(weight, still, shape, strict=True)) / sum(
        w * s * s for w, s in zip(weight, shape, strict=True)
    )
    all_gains, first = means(still), means([part * s for s in shape])
    rest = tuple(g - f for g, f in zip(all_gains, first, strict=True))
    second = means(settled([e * c for e, c in zip(pores, still, strict=True)]))
    moment = [m - f * time for m, f in zip(second, first, strict=True)]
    # Kirchhoff's potential is linear in the flux: at rest D c + D' c²/2 stays what D c alone would be.
    bend = means(levelled([-0.5 * c * c for c in still]))
    return Salt(
        gains=(first, (rest[0], rest[1], rest[2])),
        times=(time, (moment[2] - moment[0]) / (rest[2] - rest[0])),
        bend=bend,
    )


# ── the electrolyte as Nyman has it ──────────────────────────────────────────────────────────────────────────────
NYMAN = (3.329, -2.51, 0.1297)
"""Conductivity, S/m: a c + b c^1.5 + d c³, with c in mol/L."""
NYMAN_CONDUCTIVITY = sum(NYMAN)  # S/m at 1 mol/L
NYMAN_DIFFUSIVITY = 1.7694e-10  # m²/s at 1 mol/L
NYMAN_SLOPE = (2 * 0.8794 - 3.972) / 1.7694  # of the diffusivity, relative, a mol/L
