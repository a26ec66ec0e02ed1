"""How a cell was built, and what that makes of it: dose, force, waiting, damage, the electrolyte, and luck.

Orders of magnitude: a CR2032 full cell of 15 mm discs, about 2 mAh, formation efficiency 85-90 %; electrolyte doses
and press force as AutoBASS (35 µL), ODACell (45 µL) and Aurora (100 µL, 7.8 kN) use them; relative standard deviation
of the capacity of well-made cells about 2 % (ODACell); about one cell in twenty fails for no cause that anybody sees.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass

from simulators._kit.stack import Worth, worth
from simulators._kit.world import FAILED_CELLS, Cell
from simulators.cells import formulation, spme
from simulators.cells.chen2020 import COIN
from simulators.cells.formulation import Composition
from simulators.cells.spme import Electrolyte, Numbers

CAPACITY = 7.2  # C, 2 mAh: a well-made cell's between 2.5 and 4.2 V
BEST_FORCE = 7.8  # kN
FREE_VOLUME = 110.0  # µL; more is squeezed out at the crimp
EVAPORATION = 0.4 / 60  # µL/s from an open, wetted cell
LEAST_WETTED = 1e-3  # share of the electrodes without which nothing conducts
_PORES = 17.0  # µL; a third is dry with so much
BLANK_CONTACT = 0.02  # of the contact of a cell; steel on steel
BLANK_CONSTANT = COIN.separator / (COIN.porosity**1.5 * COIN.area)
"""Of a blank cell that is wetted through, 1/m: its resistance beside its contacts times the conductivity."""
_DRY_CONTACT = 3.7  # Ω; with the electrolyte's own 2.3 Ω some 6 Ω at high frequencies


@dataclass(frozen=True, slots=True)
class Build:
    """A cell as the lab made it.

    Args:
        closed: whether it is a cell at all: its parts in order, and crimped.
        dose: µL that are in it after waiting and crimp.
        nominal: C if all of it takes part.
        contact: Ω beside the cell's own.
        leak: µL/s through its seal.
        shunt: Ω between the electrodes.
        film: C that its first film costs.
        kinetics, diffusion: factors.
        composition: of its electrolyte.
        luck: a number of its own, for noise.
        blank: whether it has spacers in place of electrodes.
    """

    closed: bool
    dose: float
    nominal: float
    contact: float
    leak: float
    shunt: float
    film: float
    kinetics: float
    diffusion: float
    composition: Composition
    luck: float
    blank: bool = False


def build_of(
    cell: Cell, rng: random.Random, failures: float = FAILED_CELLS, liquid: Composition | None = None
) -> Build:
    """What a cell is worth as it was made.

    Args:
        cell: its parts, its electrolyte, and what was done to it.
        rng: seeded by the cell's id; decides the spread between cells, and is drawn the same number of times for every
            cell, so that a restart finds the same cell again.
        failures: share of cells that fail without a cause.
        liquid: its electrolyte, where its materials do not say that.
    """
    spread = [rng.gauss(0.0, 1.0) for _ in range(6)]
    luck, failing, how = rng.random(), rng.random(), rng.random()
    quality = worth(cell.parts)
    composition = liquid or formulation.of_materials(cell.electrolyte)
    force = cell.crimp_force or 0.0
    waited = max(0.0, (cell.crimped_at or 0.0) - (cell.wetted_at or 0.0)) if cell.wetted_at is not None else 0.0
    poured = max(0.0, cell.volume - EVAPORATION * waited)
    spilt = max(0.0, poured - FREE_VOLUME)
    # A crimp below about 6 kN does not close the gasket; electrolyte on the rim keeps it from closing too.
    openness = 1.0 / (1.0 + math.exp((force - 5.5) / 0.35)) + min(0.5, spilt / 60.0)
    contact = _DRY_CONTACT * math.exp(0.1 * spread[1]) + 1.5 * math.expm1(max(0.0, BEST_FORCE - force) / 1.4)
    nominal = CAPACITY * (1.0 + 0.02 * spread[0])
    # Solvent that evaporated leaves a richer salt: the film costs more.
    share = (0.09 + 0.008 * spread[4] + 0.06 * min(1.0, waited / 3600.0)) * formulation.film(composition)
    crushed = max(0.0, (force - 9.0) / 3.0)
    shorted = quality is Worth.SHORT or any("short" in word for word in cell.damage) or luck < crushed
    loose, dead = quality is Worth.LOOSE, quality is Worth.DEAD or cell.crimped_at is None
    # Ω; some 2 % of charge in half a year, if nothing is wrong
    shunt = 2500.0 * math.exp(1.2 * spread[5]) if shorted else 3.0e7 * math.exp(0.3 * spread[5])
    if failing < failures:
        if how < 0.4:  # a dendrite or a burr: 20 µA, which a hold still gets below, but a rest does not outlast
            shunt = min(shunt, 2.0e5 * math.exp(0.3 * spread[5]))
        loose, dead = loose or 0.4 <= how < 0.8, dead or how >= 0.8  # a disc that slipped; a tab that does not touch
    film = nominal * min(0.3, max(0.05, share))
    nominal *= max(0.4, 1.0 - 0.25 * crushed - 0.05 * len(cell.damage))
    return Build(
        closed=not dead and quality is not Worth.BLANK,
        dose=poured - spilt,
        nominal=nominal * (0.6 if loose else 1.0),
        contact=contact + (60.0 if loose else 0.0),
        leak=openness * 2.0 / 3600.0,
        shunt=shunt,
        film=film,
        kinetics=math.exp(0.08 * spread[2]) / formulation.resistance(composition),
        diffusion=math.exp(0.08 * spread[3]),
        composition=composition,
        luck=luck,
        blank=quality is Worth.BLANK and cell.crimped_at is not None and not dead,
    )


@dataclass(frozen=True, slots=True)
class Condition:
    """What a build comes to at one moment of its life.

    Args:
        wetted: share of the electrodes that takes part.
        wear: share of the charge that a cycle loses: 0.25 % at best, some percent in a starved or leaking cell.
        numbers: the model's.
    """

    wetted: float
    wear: float
    numbers: Numbers


def condition(build: Build, state: Mapping[str, float], temperature: float) -> Condition:
    """What is left of a cell.

    Args:
        build: as it was made.
        state: `lost`, µL of electrolyte, and `fade`, the share of the capacity that ageing took.
        temperature: °C.
    """
    volume = max(0.0, build.dose - state.get("lost", 0.0))
    wetted = 1.0 - math.exp(-((volume / _PORES) ** 2))
    share = max(wetted, 1e-6)
    mixture = build.composition
    worn = 0.0025 * formulation.wear(mixture, temperature)
    numbers = spme.numbers(
        COIN,
        capacity=build.nominal * share * (1.0 - state.get("fade", 0.0)),
        area=COIN.area * share * build.nominal / CAPACITY,
        electrolyte=Electrolyte(
            conductivity=0.1 * formulation.conductivity(mixture, temperature),
            diffusivity=formulation.diffusivity(mixture, temperature),
            salt=max(0.02, mixture.molarity),
        ),
        kinetics=build.kinetics,
        diffusion=build.diffusion,
        contact=build.contact,
        shunt=build.shunt,
        temperature=temperature,
    )
    wear = min(0.4, worn + 0.02 * (1.0 - wetted) + 0.01 * min(1.0, build.leak * 1800.0))
    return Condition(wetted, wear, numbers)


def blank_resistance(build: Build, now: Condition) -> float | None:
    """Ω between the two discs of steel of a wetted blank cell; None of any other."""
    if not build.blank or now.wetted <= LEAST_WETTED:
        return None
    return BLANK_CONTACT * build.contact + now.numbers.pores_s
