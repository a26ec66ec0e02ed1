"""The physics of a formulation: what is in the electrolyte, how it conducts and flows, and how its cells last.

**Conductivity.** Concentration and temperature by the semi-empirical law of Landesfeind and Gasteiger, J. Electrochem.
Soc. 166 (2019) A3079, table II, for LiPF6 in EC:EMC 3:7: κ = p1 (1 + T - p2) c (1 + p3 √c + p4 (1 + p5 e^(1000/T)) c) /
(1 + p6 c⁴ e^(1000/T)), mS/cm. From one mixture of solvents to another it goes with the share of free ions, taken as
ε/(ε + 80), and against the viscosity to the power 1.2, which counts more in the cold; the maximum moves to less salt
in a thicker mixture. These four constants were fitted to CALiSol-23 (doi 10.1038/s41597-024-03575-8): LiPF6 in
mixtures of EC, PC, DMC, EMC and DEC, 253 to 335 K, 0.05 to 2.5 mol/L, 2910 values: the median error is 4 %, one in
ten is off by more than 15 %, and mixtures without any EC or PC conduct up to two times too little.

**Viscosity.** Solvents by Arrhenius' rule over mole fractions, the salt by an exponential, temperature by an
activation energy of 15 kJ/mol: LP57 has 2.8 mPa·s at 25 °C.

**Lasting.** A toy: its shape is what the field tells, its numbers are nobody's measurement. See `wear`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from simulators.cells.materials import (
    ADDITIVES,
    REFERENCE,
    SALT_VOLUME,
    SALTS,
    SOLVENT_WATER,
    SOLVENTS,
    density,
    litre_of,
)

_LAW = (5.21e-1, 2.28e2, -1.06, 3.53e-1, -3.59e-3, 1.48e-3)
_FREE_HALF = 80.0  # relative permittivity
_WALDEN, _COLD, _SHIFT = 1.2, 2.76, 0.325  # powers of the viscosity, its growth in the cold, the maximum's move
_SALT_THICKENS = 1.0  # L/mol; of the logarithm of the viscosity
_FLOW = 15000.0 / 8.314463  # K
_MOBILITY: Mapping[str, float] = {"LiPF6": 1.0, "LiFSI": 1.06, "LiTFSI": 0.85, "LiBF4": 0.45}
_DIFFUSIVITY = 1.7694e-10 / 0.949  # m²/s a S/m: Nyman's, in the reference


@dataclass(frozen=True, slots=True)
class Composition:
    """What an electrolyte is made of.

    Args:
        solvents: shares of the solvents' mass, which sum to one.
        salt: its name.
        molarity: of the salt, mol/L.
        molality: of the salt, mol per kg of solvent.
        additives: shares of the whole mass.
        water: ppm of the whole mass.
        unknown: names that were taken for the reference.
    """

    solvents: Mapping[str, float]
    salt: str = "LiPF6"
    molarity: float = 1.0
    molality: float = 1.0
    additives: Mapping[str, float] = field(default_factory=dict)
    water: float = SOLVENT_WATER
    unknown: tuple[str, ...] = ()


def of_materials(volumes: Mapping[str, float]) -> Composition:
    """What a mixture of materials is, from the volume of each (µL or any other unit)."""
    total = sum(volumes.values())
    if total <= 0:
        return of_materials({REFERENCE: 1.0})
    return _mixed(tuple(sorted((name, volume / total) for name, volume in volumes.items() if volume > 0)))


@lru_cache(maxsize=256)
def _mixed(shares: tuple[tuple[str, float], ...]) -> Composition:
    grams: dict[str, float] = {}
    for name, share in shares:
        for part, mass in litre_of(name).grams.items():
            grams[part] = grams.get(part, 0.0) + mass * share
    return _composition(grams, 1.0, tuple(name for name, _ in shares if not litre_of(name).known))


def of_point(point: Mapping[str, float | str]) -> Composition:
    """What a formulation is that names its parts: `{"EC": 0.3, "EMC": 0.7, "molality": 1.0, "VC": 0.02}`.

    Solvents are shares of their mass (of any sum), additives shares of the whole mass, `molality` in mol per kg of
    solvent (or `molarity` in mol/L), `water` in ppm, `salt` a name.

    Raises:
        ValueError: no solvent, a salt that nobody knows, a share below zero.
    """
    solvents = {part: float(point[part]) for part in SOLVENTS if part in point}
    additives = {part: float(point[part]) for part in ADDITIVES if part in point}
    salt = str(point.get("salt", "LiPF6"))
    if not sum(solvents.values()) > 0 or min([*solvents.values(), *additives.values(), 0.0]) < 0:
        raise ValueError(f"no mixture of solvents: {dict(solvents)}; name shares of {', '.join(SOLVENTS)}")
    if salt not in SALTS:
        raise ValueError(f"no salt {salt!r}; there are {', '.join(SALTS)}")
    added = sum(additives.values())
    if added >= 1:
        raise ValueError(f"additives take {added:.0%} of the mass; they are shares, 0.02 is 2 %")
    total = sum(solvents.values())
    litres = sum(share / total / density(part) for part, share in solvents.items())  # of one kg of solvent
    if "molarity" in point:
        moles = float(point["molarity"]) * litres / (1.0 - SALT_VOLUME * float(point["molarity"]))
    else:
        moles = float(point.get("molality", 1.0))
    grams = {part: 1000.0 * share / total for part, share in solvents.items()} | {salt: SALTS[salt] * moles}
    whole = sum(grams.values()) / (1.0 - added)
    grams |= {part: share * whole for part, share in additives.items()}
    grams["water"] = max(0.0, float(point.get("water", SOLVENT_WATER)) - SOLVENT_WATER) * 1e-6 * whole
    volume = litres + SALT_VOLUME * moles
    volume += sum(share * whole / 1000.0 / density(part) for part, share in additives.items())
    return _composition(grams, volume, ())


def _composition(grams: Mapping[str, float], litres: float, unknown: tuple[str, ...]) -> Composition:
    solvents = {part: grams[part] for part in SOLVENTS if grams.get(part, 0.0) > 0}
    whole, solvent = sum(grams.values()), sum(solvents.values())
    moles = {salt: grams[salt] / mass for salt, mass in SALTS.items() if grams.get(salt, 0.0) > 0}
    amount = sum(moles.values())
    return Composition(
        solvents={part: mass / solvent for part, mass in solvents.items()},
        salt=max(moles, key=moles.__getitem__) if moles else "LiPF6",
        molarity=amount / litres,
        molality=1000.0 * amount / solvent if solvent else 0.0,
        additives={part: grams[part] / whole for part in ADDITIVES if grams.get(part, 0.0) > 0},
        water=SOLVENT_WATER + 1e6 * grams.get("water", 0.0) / whole,
        unknown=unknown,
    )


# ── how it conducts and flows ────────────────────────────────────────────────────────────────────────────────────
def _blend(solvents: Mapping[str, float]) -> tuple[float, float]:
    """Viscosity in mPa·s and relative permittivity of the solvents alone, near 25 °C."""
    if not solvents:  # only additives or water
        return 1.5, 30.0
    moles = {part: share / SOLVENTS[part].molar_mass for part, share in solvents.items()}
    volumes = {part: share / SOLVENTS[part].density for part, share in solvents.items()}
    thick = sum(amount * math.log(SOLVENTS[part].viscosity) for part, amount in moles.items()) / sum(moles.values())
    polar = sum(amount * SOLVENTS[part].permittivity for part, amount in volumes.items()) / sum(volumes.values())
    return math.exp(thick), polar


_THICK, _POLAR = _blend({"EC": 0.3, "EMC": 0.7})


def _law(salt: float, kelvin: float) -> float:
    p1, p2, p3, p4, p5, p6 = _LAW
    cold = math.exp(1000.0 / kelvin)
    above = p1 * (1.0 + kelvin - p2) * salt * (1.0 + p3 * math.sqrt(salt) + p4 * (1.0 + p5 * cold) * salt)
    return above / (1.0 + salt**4 * p6 * cold)


def conductivity(composition: Composition, temperature: float = 25.0) -> float:
    """Conductivity, mS/cm, at a temperature in °C (valid from -20 to 60 °C, below 2.5 mol/L)."""
    kelvin = min(340.0, max(245.0, temperature + 273.15))
    if composition.molarity <= 0:
        return 1e-3
    thick, polar = _blend(composition.solvents)
    thicker = thick / _THICK
    free = polar / (polar + _FREE_HALF) / (_POLAR / (_POLAR + _FREE_HALF))
    shift = math.pow(thicker, _SHIFT)
    shape = _law(min(2.5, composition.molarity) * shift, kelvin) / _law(shift, kelvin) * _law(1.0, kelvin)
    flow = math.pow(thicker, -_WALDEN * (1.0 + _COLD * (298.15 / kelvin - 1.0)))
    foreign = math.exp(-1.5 * sum(composition.additives.values()))
    return max(1e-3, shape * flow * free * foreign * _MOBILITY[composition.salt])


def viscosity(composition: Composition, temperature: float = 25.0) -> float:
    """Viscosity, mPa·s, at a temperature in °C."""
    thick, _ = _blend(composition.solvents)
    kelvin = temperature + 273.15
    return thick * math.exp(_SALT_THICKENS * composition.molarity + _FLOW * (1.0 / kelvin - 1.0 / 298.15))


def diffusivity(composition: Composition, temperature: float = 25.0) -> float:
    """Of the salt, m²/s: as Nyman's at 1 mol/L, and with the conductivity from there."""
    return _DIFFUSIVITY * 0.1 * conductivity(composition, temperature) / max(0.05, composition.molarity)


# ── how its cells last ───────────────────────────────────────────────────────────────────────────────────────────
def wear(composition: Composition, temperature: float = 25.0) -> float:
    """Charge that a cycle loses, against LP57 at 25 °C: a toy law.

    Each factor has the sign and the order that the literature reports: VC halves the loss with a scale of 1 % of the
    mass, FEC takes a third of it with 3 %; water doubles it every 200 ppm (hydrolysis of LiPF6); without EC there is
    no film to protect graphite (five times as much), PC in EC's place peels it unless VC is there; much salt and
    little of it are both worse than 1 mol/L; warmth by 35 kJ/mol, and cold, below 10 °C, by plating.
    """
    vc, fec = (composition.additives.get(part, 0.0) for part in ("VC", "FEC"))
    ec, pc = (composition.solvents.get(part, 0.0) for part in ("EC", "PC"))
    coat = (1.0 - 0.5 * -math.expm1(-vc / 0.01)) * (1.0 - 0.35 * -math.expm1(-fec / 0.03))
    overdone = 1.0 + 8.0 * max(0.0, vc - 0.03) + 3.0 * max(0.0, fec - 0.12)
    water = math.exp2(min(6.0, (composition.water - SOLVENT_WATER) / 200.0))
    bare = 1.0 + 4.0 * math.exp(-ec / 0.06) + 6.0 * pc * pc * math.exp(-vc / 0.02)
    salt = 1.0 + 0.6 * (composition.molarity - 1.0) ** 2
    kelvin = temperature + 273.15
    warm = math.exp(35000.0 / 8.314463 * (1.0 / 298.15 - 1.0 / kelvin)) if temperature > 10 else 0.47
    plated = 1.0 + 0.15 * max(0.0, 10.0 - temperature)
    return coat * overdone * water * bare * salt * warm * plated / _REFERENCE_WEAR


def film(composition: Composition) -> float:
    """Charge that the first film costs, against LP57; a toy law like `wear`.

    Additives form a film of their own first, water and missing EC make it thicker.
    """
    vc, fec = (composition.additives.get(part, 0.0) for part in ("VC", "FEC"))
    ec = composition.solvents.get("EC", 0.0)
    wet = min(2.0, (composition.water - SOLVENT_WATER) / 1500.0)
    return (1.0 + 1.5 * vc + 0.8 * fec + wet + 0.9 * math.exp(-ec / 0.06)) / _REFERENCE_FILM


def resistance(composition: Composition) -> float:
    """Of the charge transfer through the film, against LP57; a toy law: additives beyond 2 % thicken it."""
    vc, fec = (composition.additives.get(part, 0.0) for part in ("VC", "FEC"))
    return 1.0 + 12.0 * max(0.0, vc - 0.01) + 3.0 * max(0.0, fec - 0.05)


_REFERENCE_WEAR = 1.0 + 4.0 * math.exp(-0.3 / 0.06)
_REFERENCE_FILM = 1.0 + 0.9 * math.exp(-0.3 / 0.06)
