"""Measured conductivities as a pool: the rows of CALiSol-23 that a campaign may choose from, and what came of each.

CALiSol-23: P. de Blasio et al., Sci. Data 11 (2024) 750, DOI 10.1038/s41597-024-03575-8, CC BY 4.0.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks._figures import MissingData
from labd.campaign.laws import carbonates
from labd.campaign.problem import Mixture, Point, Range, Space

DOI = "10.1038/s41597-024-03575-8"
SOLVENTS = ("EC", "PC", "DMC", "EMC", "DEC")
LEFT_OUT = {"10.1007/s10008-002-0300-9", "10.1016/S0378-7753(01)00697-8"}  # look mis-scaled: the data's README
LAWS_OWN = "10.1149/2.0571912jes"
_OTHERS = slice(8, None)  # columns: no, doi, k, T, c, salt, c units, solvent ratio type, then all solvents
_BASIS = {"w": "mass", "v": "volume", "mol": "mole"}


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Formulations with their measured conductivities in mS/cm."""

    points: tuple[Point, ...]
    values: tuple[float, ...]
    top: frozenset[int]  # the best hundredth
    own: frozenset[int]  # from the paper whose measurements the law's constants were fitted to

    def space(self) -> Space:
        salt = [float(point["molality"]) for point in self.points]
        warm = [float(point["temperature"]) for point in self.points]
        mixture = Mixture("solvents", SOLVENTS, (0.0,) * len(SOLVENTS), (1.0,) * len(SOLVENTS))
        return Space(
            (
                mixture,
                Range("molality", min(salt), max(salt), "mol/kg"),
                Range("temperature", min(warm), max(warm), "°C"),
            ),
            pool=self.points,
        )


def read(folder: Path, salt: str = "LiPF6", kelvin: tuple[float, float] = (293.0, 303.0)) -> Pool:
    """All formulations of one salt in carbonates alone; measurements of the same one are averaged.

    Raises:
        MissingData: the folder has no `calisol23.csv`.
    """
    path = folder / "calisol23.csv"
    if not path.is_file():
        raise MissingData(f"{path} is not there: CALiSol-23 is at https://doi.org/{DOI} (CC BY 4.0); --data FOLDER")
    same: dict[tuple[object, ...], list[tuple[float, float, str]]] = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        names = next(rows)
        for row in rows:
            shares = {name: float(value or 0) for name, value in zip(names[_OTHERS], row[_OTHERS], strict=True)}
            if _wanted(row, shares, salt, kelvin):
                total = sum(shares.values())
                parts = tuple(round(shares[name] / total, 4) for name in SOLVENTS)
                same[(*parts, round(float(row[4]), 4), row[6], row[7])].append((float(row[2]), float(row[3]), row[1]))
    points = [_point(name, sum(kelvin for _, kelvin, _ in rows) / len(rows)) for name, rows in same.items()]
    values = [sum(value for value, _, _ in rows) / len(rows) for rows in same.values()]
    own = {at for at, rows in enumerate(same.values()) if any(doi == LAWS_OWN for _, _, doi in rows)}
    return Pool(tuple(points), tuple(values), best(values), frozenset(own))


def best(values: Sequence[float]) -> frozenset[int]:
    """The places of the best hundredth."""
    order = sorted(range(len(values)), key=lambda at: -values[at])
    return frozenset(order[: max(1, round(len(order) / 100))])


def part(pool: Pool, kept: Sequence[int]) -> Pool:
    """Some of a pool, with a best hundredth of its own."""
    values = tuple(pool.values[at] for at in kept)
    own = frozenset(new for new, at in enumerate(kept) if at in pool.own)
    return Pool(tuple(pool.points[at] for at in kept), values, best(values), own)


def _wanted(row: list[str], shares: dict[str, float], salt: str, kelvin: tuple[float, float]) -> bool:
    others = any(value for name, value in shares.items() if name not in SOLVENTS)
    fits = row[5].strip() == salt and kelvin[0] <= float(row[3]) <= kelvin[1] and row[1] not in LEFT_OUT
    return bool(row[2]) and fits and not others and sum(shares.values()) > 0 and float(row[4]) > 0


def _point(name: tuple[object, ...], kelvin: float) -> Point:
    """Shares by mass, mol/kg of solvent and °C, whatever the paper told."""
    *parts, amount, unit, basis = name
    shares = dict(zip(SOLVENTS, (float(str(part)) for part in parts), strict=True))
    by_mass = carbonates.mass_shares(shares, _BASIS[str(basis)])  # type: ignore[arg-type]
    molality = float(str(amount)) if unit == "mol/kg" else carbonates.molality(float(str(amount)), by_mass)
    return {
        **{solvent: by_mass.get(solvent, 0.0) for solvent in SOLVENTS},
        "molality": molality,
        "temperature": kelvin - 273.15,
    }


def random_median(size: int, top: int) -> int:
    """How many draws without putting back it takes by chance, in one of two cases, until one of the best is drawn."""
    missed = 1.0
    for drawn in range(1, size + 1):
        missed *= (size - top - drawn + 1) / (size - drawn + 1)
        if missed <= 0.5:
            return drawn
    return size
