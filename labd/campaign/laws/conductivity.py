"""Conductivity of LiPF6 in carbonates, from composition, concentration and temperature.

Three published fits and one published maximum are joined by Walden's rule (conductivity × viscosity of the solvent):

- J. Landesfeind, H. A. Gasteiger, J. Electrochem. Soc. 166 (2019) A3079, table II: LiPF6 in EC:DMC 1:1,
  EC:EMC 3:7 and EMC:FEC 19:1 by weight, 0.1-4 mol/L, -10-50 °C.
- S. Hwang et al., J. Phys. Chem. C 122 (2018) 19438: LiPF6 in PC has its maximum of 6.2 mS/cm at 0.8 mol/L; since its
  Walden product is constant (K. Kondo et al., J. Phys. Chem. B 104 (2000) 5040) the curve is c·exp(-c/0.8).

The Walden product is a parabola in the mole share of cyclic carbonates through EMC:FEC, EC:EMC and PC. EC:DMC lies
above it by a factor that is DMC's own; DEC, as far from EMC on its other side, has the inverse. The viscosity of a
mixture is the geometric mean of its solvents' by mole shares. No constant was fitted to
anything but what is named here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from labd.campaign.laws.carbonates import SOLVENTS, Basis, concentration, mass_shares, mole_shares
from labd.campaign.problem import CampaignError, Point

Fit = tuple[float, float, float, float, float, float]

EC_DMC: Fit = (0.798, 228.0, -1.22, 0.509, -0.004, 0.00379)
EC_EMC: Fit = (0.521, 228.0, -1.06, 0.353, -0.00359, 0.00148)
EMC_FEC: Fit = (0.0251, 175.0, 1.23, 0.205, -0.0881, 0.00283)
PC_MAXIMUM, PC_AT = 6.2, 0.8  # mS/cm at 25 °C, mol/L

ROOM = 298.15  # K


def landesfeind(fit: Fit, c: float, kelvin: float) -> float:
    """Conductivity in mS/cm of one of the published solvents; c in mol/L, temperature in K."""
    p1, p2, p3, p4, p5, p6 = fit
    heat = math.exp(1000 / kelvin)
    slope = p1 * (1 + (kelvin - p2))
    return slope * c * (1 + p3 * math.sqrt(c) + p4 * (1 + p5 * heat) * c) / (1 + p6 * heat * c**4)


def _pc(c: float, kelvin: float) -> float:
    warmth = landesfeind(EC_DMC, PC_AT, kelvin) / landesfeind(EC_DMC, PC_AT, ROOM)
    return PC_MAXIMUM * warmth * (c / PC_AT) * math.exp(1 - c / PC_AT)


@dataclass(frozen=True, slots=True)
class _Anchor:
    """A solvent whose conductivity is published, with its share of cyclic carbonates and its viscosity."""

    cyclic: float
    viscosity: float


def viscosity(by_mole: Mapping[str, float]) -> float:
    """Of the solvent without salt at room temperature, in mPa·s."""
    return math.exp(sum(share * math.log(SOLVENTS[name].viscosity) for name, share in by_mole.items()))


def _cyclic(by_mole: Mapping[str, float]) -> float:
    return sum(share for name, share in by_mole.items() if SOLVENTS[name].cyclic)


def _anchor(**by_mass: float) -> _Anchor:
    moles = mole_shares(mass_shares(by_mass))
    return _Anchor(_cyclic(moles), viscosity(moles))


_FEC, _EMC, _PC, _DMC = _anchor(EMC=19, FEC=1), _anchor(EC=3, EMC=7), _anchor(PC=1), _anchor(EC=1, DMC=1)


@lru_cache(maxsize=4096)  # a law's doubts ask for the same concentration again and again
def _known(c: float, kelvin: float) -> tuple[tuple[float, float], ...]:
    """Shares of cyclic carbonates, with the Walden products that are known there."""
    return (
        (_FEC.cyclic, landesfeind(EMC_FEC, c, kelvin) * _FEC.viscosity),
        (_EMC.cyclic, landesfeind(EC_EMC, c, kelvin) * _EMC.viscosity),
        (_PC.cyclic, _pc(c, kelvin) * _PC.viscosity),
    )


@lru_cache(maxsize=4096)
def _excess(c: float, kelvin: float) -> float:
    """What EC:DMC has before a mixture with EMC of the same share of cyclic carbonates."""
    excess = landesfeind(EC_DMC, c, kelvin) * _DMC.viscosity / _walden(_DMC.cyclic, c, kelvin)
    return min(1.4, max(1.0, excess))


def _walden(cyclic: float, c: float, kelvin: float) -> float:
    """Conductivity × viscosity in mixtures with EMC, by the share of cyclic carbonates; never below half the least."""
    (x1, y1), (x2, y2), (x3, y3) = _known(c, kelvin)
    total = (
        y1 * (cyclic - x2) * (cyclic - x3) / ((x1 - x2) * (x1 - x3))
        + y2 * (cyclic - x1) * (cyclic - x3) / ((x2 - x1) * (x2 - x3))
        + y3 * (cyclic - x1) * (cyclic - x2) / ((x3 - x1) * (x3 - x2))
    )
    return max(total, min(y1, y2, y3) / 2)


def conductivity(
    by_mass: Mapping[str, float],
    c: float,
    kelvin: float = ROOM,
    *,
    strength: float = 0.0,
    thickness: float = 0.0,
    parting: float = 0.0,
    slimness: float = 0.0,
) -> float:
    """In mS/cm, of LiPF6 in a mixture of carbonates.

    Args:
        by_mass: mass shares of the solvents.
        c: mol of salt in a litre of solution.
        kelvin: temperature in K.
        strength: relative change of the concentration that counts: where the maximum lies.
        thickness: relative change of the exponent of the viscosity.
        parting: relative change of the share of cyclic carbonates that counts.
        slimness: relative change of what DMC has before EMC, and EMC before DEC.
    """
    c = c / (1 + strength)
    moles = mole_shares(by_mass)
    linear = max(1e-9, 1 - _cyclic(moles))
    slim = (moles.get("DMC", 0.0) - moles.get("DEC", 0.0)) / linear
    cyclic = min(1.0, _cyclic(moles) * (1 + parting))
    walden = _walden(cyclic, c, kelvin) * _excess(c, kelvin) ** (slim * (1 + slimness))
    return float(walden / viscosity(moles) ** (1 + thickness))


@dataclass(frozen=True, slots=True)
class Conductivity:
    """The law for points of a campaign: their solvents' shares, their salt, and their temperature in °C.

    Args:
        solvents: the solvent of each dimension, where a name is not the solvent's own.
        basis: what the shares are of.
        salt: the dimension of the salt's amount.
        per: mol in a kilogram of solvent or in a litre of solution.
        temperature: °C, or the dimension that tells it.
    """

    solvents: Mapping[str, str] = field(default_factory=dict)
    basis: Basis = "mass"
    salt: str = "molality"
    per: Literal["kg", "L"] = "kg"
    temperature: float | str = 25.0

    @property
    def doubts(self) -> Mapping[str, float]:
        return {"strength": 0.1, "thickness": 0.15, "parting": 0.15, "slimness": 0.5}

    def __call__(self, point: Point, **changed: float) -> float:
        shares = {self.solvents.get(name, name): float(value) for name, value in point.items() if _number(value)}
        if self.salt not in point:
            raise CampaignError(f"law conductivity: points have no {self.salt!r}; name the salt's dimension: `salt: …`")
        by_mass = mass_shares(shares, self.basis)
        amount = float(point[self.salt])
        c = amount if self.per == "L" else concentration(amount, by_mass)
        celsius = float(point[self.temperature] if isinstance(self.temperature, str) else self.temperature)
        return conductivity(by_mass, max(c, 1e-6), celsius + 273.15, **changed)


def _number(value: float | str) -> bool:
    return not isinstance(value, str)
