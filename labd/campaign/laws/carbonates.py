"""Carbonates with LiPF6: neat properties, and compositions between weight, volume, moles, mol/kg and mol/L.

Viscosities, permittivities and densities: K. Xu, Chem. Rev. 104 (2004) 4303, table 1 (EC at 40 °C, DMC at 20 °C, the
others at 25 °C). FEC: values of data sheets, 25 °C.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Basis = Literal["mass", "volume", "mole"]


@dataclass(frozen=True, slots=True)
class Solvent:
    """Molar mass in g/mol, density in g/cm^3, viscosity in mPa·s; cyclic ones part salts, linear ones flow."""

    molar_mass: float
    density: float
    viscosity: float
    cyclic: bool


SOLVENTS: Mapping[str, Solvent] = {
    "EC": Solvent(88.06, 1.321, 1.90, cyclic=True),
    "PC": Solvent(102.09, 1.200, 2.53, cyclic=True),
    "FEC": Solvent(106.05, 1.485, 4.1, cyclic=True),
    "DMC": Solvent(90.08, 1.063, 0.59, cyclic=False),
    "EMC": Solvent(104.10, 1.006, 0.65, cyclic=False),
    "DEC": Solvent(118.13, 0.969, 0.75, cyclic=False),
}
LIPF6 = 151.905  # g/mol
SALT_VOLUME = 0.045  # L/mol that LiPF6 adds to its solvent: from the density of LP57, 1.19 g/cm^3 at 1 mol/L


def mass_shares(shares: Mapping[str, float], basis: Basis = "mass") -> dict[str, float]:
    """Solvents' shares by mass, sum 1, from shares by mass, volume (before mixing) or moles.

    Raises:
        ValueError: no share is above zero.
    """
    masses: dict[str, float] = {}
    for name, share in shares.items():
        if name in SOLVENTS and share > 0:
            solvent = SOLVENTS[name]
            factor = 1.0 if basis == "mass" else solvent.density if basis == "volume" else solvent.molar_mass
            masses[name] = float(share) * factor
    total = sum(masses.values())
    if total <= 0:
        raise ValueError("no solvent: at least one share has to be above zero")
    return {name: mass / total for name, mass in masses.items()}


def mole_shares(by_mass: Mapping[str, float]) -> dict[str, float]:
    """Solvents' shares by moles, sum 1."""
    moles = {name: mass / SOLVENTS[name].molar_mass for name, mass in by_mass.items()}
    total = sum(moles.values())
    return {name: one / total for name, one in moles.items()}


def density(by_mass: Mapping[str, float]) -> float:
    """Of the solvent without salt, in g/cm^3; volumes add."""
    return 1 / sum(mass / SOLVENTS[name].density for name, mass in by_mass.items())


def concentration(molality: float, by_mass: Mapping[str, float]) -> float:
    """Moles of salt in a litre of solution, from mol in a kilogram of solvent."""
    return molality / (1 / density(by_mass) + molality * SALT_VOLUME)


def molality(concentration: float, by_mass: Mapping[str, float]) -> float:
    """Moles of salt in a kilogram of solvent, from mol in a litre of solution."""
    return concentration / density(by_mass) / (1 - concentration * SALT_VOLUME)
