"""What the bottles of a lab hold, by what is written on them.

A name is a stock solution (`LP57`), a neat liquid (`EMC`), or says itself what it is: `1.2 M LiPF6 in EC:EMC 3:7`,
`10% VC in EMC`, `LP57 + 2% FEC + 50 ppm water`. Shares of solvents and of additives are by mass. What nobody knows
is taken for the reference, LP57.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Solvent:
    """Molar mass in g/mol, density in g/mL, viscosity in mPa·s and relative permittivity near 25 °C."""

    molar_mass: float
    density: float
    viscosity: float
    permittivity: float


# Xu, Chem. Rev. 104 (2004) 4303, table 1; EC, which melts at 36 °C, as undercooled liquid.
SOLVENTS: Mapping[str, Solvent] = MappingProxyType(
    {
        "EC": Solvent(88.06, 1.32, 2.5, 89.8),
        "PC": Solvent(102.09, 1.20, 2.53, 64.9),
        "DMC": Solvent(90.08, 1.063, 0.585, 3.107),
        "EMC": Solvent(104.10, 1.006, 0.65, 2.958),
        "DEC": Solvent(118.13, 0.969, 0.748, 2.805),
    }
)
ADDITIVES: Mapping[str, float] = MappingProxyType({"VC": 1.36, "FEC": 1.45})
"""Densities, g/mL."""
SALTS: Mapping[str, float] = MappingProxyType({"LiPF6": 151.9, "LiFSI": 187.1, "LiTFSI": 287.1, "LiBF4": 93.7})
"""Molar masses, g/mol."""
SALT_VOLUME = 0.04  # L/mol that dissolving a salt adds
SOLVENT_WATER = 20.0  # ppm in a dry electrolyte

_STOCK: Mapping[str, str] = MappingProxyType(
    {
        "LP30": "1M LiPF6 in EC:DMC 1:1",
        "LP40": "1M LiPF6 in EC:DEC 1:1",
        "LP47": "1M LiPF6 in EC:DEC 3:7",
        "LP50": "1M LiPF6 in EC:EMC 1:1",
        "LP57": "1M LiPF6 in EC:EMC 3:7",
        "LP71": "1M LiPF6 in EC:DEC:DMC 1:1:1",
    }
)
REFERENCE = "LP57"


@dataclass(frozen=True, slots=True)
class Mixture:
    """One litre of a liquid, in g by substance; salts are counted by their mass as well."""

    grams: Mapping[str, float] = field(default_factory=dict)
    known: bool = True


_SALT_IN = re.compile(r"^\s*([\d.]+)\s*(M|m|mol/L|mol/kg)\s+(\w+)\s+in\s+(.+)$")
_SHARE_IN = re.compile(r"^\s*([\d.]+)\s*(%|wt%|ppm)\s*(\w+)\s+in\s+(.+)$")
_SHARE = re.compile(r"^\s*([\d.]+)\s*(%|wt%|ppm)\s*(\w+)\s*$")
_BLEND = re.compile(r"^\s*([A-Z]+(?:\s*[:/]\s*[A-Z]+)*)\s*\(?\s*([\d.]+(?:\s*[:/]\s*[\d.]+)*)?\s*\)?\s*$")


@lru_cache(maxsize=256)
def litre_of(name: str) -> Mixture:
    """What a litre of a material holds; the reference's, and `known` false, where the name says nothing."""
    found = _read(name)
    return found or Mixture(litre_of(REFERENCE).grams, known=False)


def _read(name: str) -> Mixture | None:
    base, *more = name.split("+")
    base = base.strip()
    base = _STOCK.get(base, base)
    if (match := _SALT_IN.match(base)) is not None:
        found = _salted(float(match[1]), match[2], match[3], match[4])
    elif (match := _SHARE_IN.match(base)) is not None:
        inner = _read(match[4])
        found = None if inner is None else _with(inner, match[3], float(match[1]), match[2])
    else:
        found = _neat(base)
    for each in more:
        share = _SHARE.match(each)
        found = None if share is None or found is None else _with(found, share[3], float(share[1]), share[2])
    return found


def _neat(name: str) -> Mixture | None:
    if name == "water":
        return Mixture({"water": 998.0})
    if name in ADDITIVES:
        return Mixture({name: 1000.0 * ADDITIVES[name]})
    match = _BLEND.match(name)
    if match is None:
        return None
    parts = re.split(r"\s*[:/]\s*", match[1])
    shares = [float(share) for share in re.split(r"\s*[:/]\s*", match[2])] if match[2] else [1.0] * len(parts)
    if len(shares) != len(parts) or any(part not in SOLVENTS for part in parts) or not sum(shares) > 0:
        return None
    return Mixture(_litre({part: share / sum(shares) for part, share in zip(parts, shares, strict=True)}))


def _litre(shares: Mapping[str, float]) -> dict[str, float]:
    kilo = sum(share / density(part) for part, share in shares.items())  # L of one kg
    return {part: 1000.0 * share / kilo for part, share in shares.items()}


def _salted(amount: float, unit: str, salt: str, rest: str) -> Mixture | None:
    inner = _read(rest)
    if inner is None or salt not in SALTS:
        return None
    if unit in ("m", "mol/kg"):
        swollen = amount * sum(inner.grams.values()) / 1000.0  # mol to a litre of solvent
        amount = swollen / (1.0 + SALT_VOLUME * swollen)
    left = max(0.1, 1.0 - SALT_VOLUME * amount)
    return Mixture({**{part: grams * left for part, grams in inner.grams.items()}, salt: SALTS[salt] * amount})


def _with(inner: Mixture, part: str, amount: float, unit: str) -> Mixture | None:
    if part not in ADDITIVES and part not in SOLVENTS and part != "water":
        return None
    share = amount * (1e-6 if unit == "ppm" else 1e-2)
    if not 0 <= share <= 1:
        return None
    grams = {each: mass * (1.0 - share) for each, mass in inner.grams.items()}
    grams[part] = grams.get(part, 0.0) + share * sum(inner.grams.values())
    return Mixture(grams)


def density(substance: str) -> float:
    """g/mL of a solvent, an additive or water."""
    if substance in SOLVENTS:
        return SOLVENTS[substance].density
    return ADDITIVES.get(substance, 0.998)
