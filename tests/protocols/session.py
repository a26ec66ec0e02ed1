"""One session in the simulated lab: every shipped protocol runs, some with faults; what came of it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labd.journal import Event
from labd.lab.samples import Noted
from labd.run.lifecycle import Command
from labd.run.run import Run
from simulators._kit.world import Cell, Part
from tests.protocols.agreement import disagreements
from tests.protocols.bench import Bench, Hook, Ran, bench, parts

SUPPER = 1500.0  # s; longer than the time window lasts


async def session(directory: Path) -> tuple[dict[str, Ran], dict[str, Any], list[str]]:
    """All runs by what they show; what the world was like afterwards, by place; where the inventory says otherwise."""
    async with bench(directory) as lab:
        ran = {"self_test": await lab.run("lab_self_test", position="ot2/6/B4")}
        ran |= await _liquids(lab)
        for load in (_assembled, _missed, _lost, _too_late, _stopped, _too_weak):
            ran |= await load(lab)
        ran |= await _cycled(lab)
        items = {place: item.model_copy(deep=True) for place, item in lab.world.items()}
        wells = {place: well.model_copy(deep=True) for place, well in lab.world.wells()}
        return ran, {**wells, **items}, disagreements(lab.daemon.lab, lab.world)


# ── liquids ──────────────────────────────────────────────────────────────────────────────────────────────────────
async def _liquids(lab: Bench) -> dict[str, Ran]:
    blend = {"vial": "ot2/6/A1", "first": "EC", "second": "EMC", "second_volume": "700 µL", "third": "DMC"}
    blend |= {"first_density": "1.32 g/mL", "second_density": "1.01 g/mL", "third_density": "1.07 g/mL"}
    wrong = {**blend, "vial": "ot2/6/B1", "first": "DMC"}  # the density is EC's
    light = {"vial": "ot2/6/A2", "doses": 4, "density": "1.1 g/mL"}
    return {
        "mixed": await lab.run("electrolyte_mixing", {**blend, "third_volume": "300 µL"}, position="ot2/6/A1"),
        "mixed_wrong": await lab.run("electrolyte_mixing", wrong, position="ot2/6/B1", answers=["keep it"]),
        "calibrated": await lab.run("pipette_calibration", {"vial": "ot2/6/A2"}, sample="p300", position="ot2/6/A2"),
        "calibrated_off": await lab.run("pipette_calibration", light, sample="p300", answers=["take it out"]),
    }


# ── cells from single parts ──────────────────────────────────────────────────────────────────────────────────────
async def _build(lab: Bench, well: str, answers: Sequence[str] = (), meanwhile: Hook | None = None) -> Ran:
    return await lab.run(
        "autobass_cr2032",
        parts(well),
        sample=f"auto-{well.lower()}",
        position=f"ot2/3/{well}",
        answers=answers,
        meanwhile=meanwhile,
    )


async def _assembled(lab: Bench) -> dict[str, Ran]:
    mine = parts("B1")
    names = {"bottom": "anode_case", "lower_spacer": "anode_spacer", "electrode": "anode", "separator": "separator"}
    names |= {"counter_electrode": "cathode", "upper_spacer": "cathode_spacer", "spring": "spring"}
    names |= {"top": "cathode_case", "store_at": "store_at"}
    aurora = {theirs: mine[ours] for theirs, ours in names.items()}
    return {
        "autobass": await _build(lab, "A1"),
        "aurora": await lab.run("aurora_cr2032", aurora, sample="aurora-b1", position="ot2/3/B1"),
    }


async def _missed(lab: Bench) -> dict[str, Ran]:
    lab.miss_next(2)
    once = await _build(lab, "A2")
    lab.miss_next(4, 5, 6)
    thrice = await _build(lab, "A3", answers=["it is put right"])
    lab.miss_next()
    return {"missed_once": once, "missed_thrice": thrice}


async def _lost(lab: Bench) -> dict[str, Ran]:
    """The separator falls just after it was gripped; somebody lays a new one where it was."""
    place = parts("A4")["separator"]
    picks: set[str] = set()

    def heard(events: Sequence[Event]) -> None:
        for event in events:
            if event.kind == "action.intended" and event.data["parameters"].get("place") == place and not picks:
                picks.add(event.data["action_id"])
            if event.kind == "action.done" and event.data["action_id"] in picks:
                lab.drop()
                lab.world.put(place, Part(id="separator:new", name="separator"))

    forget = lab.daemon.journal.on_commit(heard)
    ran = await _build(lab, "A4", answers=["another one lies there", "refilled"])
    forget()
    return {"lost": ran}


async def _too_late(lab: Bench) -> dict[str, Ran]:
    async def supper(run: Run) -> None:
        while run.machine.state != "upper_half":
            await asyncio.sleep(1)
        await lab.engine.command(run.id, Command.HOLD, by="test", cause="supper")
        await asyncio.sleep(SUPPER)
        await lab.engine.command(run.id, Command.UNHOLD, by="test")

    ran = await _build(lab, "B2", meanwhile=supper)
    await _clear(lab, ran)
    return {"too_late": ran}


async def _stopped(lab: Bench) -> dict[str, Ran]:
    async def stop(run: Run) -> None:
        while run.machine.state != "wet":
            await asyncio.sleep(1)
        await asyncio.sleep(5)
        await lab.engine.command(run.id, Command.STOP, by="test", cause="fire drill")

    ran = await _build(lab, "B3", meanwhile=stop)
    await _clear(lab, ran)
    return {"stopped": ran}


async def _too_weak(lab: Bench) -> dict[str, Ran]:
    lab.faults("press")["force_short"] = 0.8
    ran = await _build(lab, "B4", answers=["scrap it"])
    del lab.faults("press")["force_short"]
    await _clear(lab, ran)
    return {"too_weak": ran}


async def _clear(lab: Bench, ran: Ran) -> None:
    """A person takes away what a run has left: the cell, and what is in the gripper."""
    place = lab.daemon.lab.places.place_of(ran.sample)
    if place is not None:
        lab.world.take(place)
    lab.free_gripper()
    await lab.engine.command(ran.id, Command.CLEAR, by="test")


# ── cells in their channels ──────────────────────────────────────────────────────────────────────────────────────
def _crimped(name: str) -> Cell:
    built = {"parts": ["half_cell", "lid"], "electrolyte": {"LP57": 40.0}, "wetted_at": 0.0}
    return Cell(id=name, **built, crimp_force=7.8, crimp_dwell=2.0, crimped_at=240.0)  # type: ignore[arg-type]


async def _cycled(lab: Bench) -> dict[str, Ran]:
    """Side by side: they wait for hours, and disturb one another in nothing."""
    for number in (1, 2, 3):
        lab.world.put(f"stat{number}/cell", _crimped(f"cell{number}"))
    formed = {"lid": "tray/lids/A1", "store_at": "tray/lids/B4", "rest": "1 h", "cycles": 1}
    lab.world.take("tray/lids/B4")
    await lab.daemon.lab.inventory.unload("tray/lids/B4", by="test")
    ladder = {"capacity": "6 mAh", "soak": "10 min", "pause": "1 min"}  # three times what it has: fast
    by_mass = {"specific_capacity": "500 mAh/g", "soak": "10 min", "pause": "1 min"}
    await lab.daemon.lab.samples.note("cell1", Noted({"active_mass": 0.012}), by="test")
    tasks = {
        "formed": lab.run("cr2032_dose_crimp_form", formed, sample="formed", position="ot2/5/A1"),
        "ladder": lab.run("ladder_by_active_mass", by_mass, sample="cell1", position="stat1/cell"),
        "unsafe": lab.run(
            "formation_c_rate_ladder", ladder, sample="cell2", position="stat2/cell", meanwhile=_reversed(lab)
        ),
        "spectrum": lab.run("eis_after_rest", sample="cell3", position="stat3/cell"),
    }
    found = await asyncio.gather(*tasks.values())
    ran = dict(zip(tasks, found, strict=True))
    ran["first_steps"] = await lab.run("first_steps", sample="cell3", position="stat3/cell")
    return ran


def _reversed(lab: Bench) -> Hook:
    async def reverse(run: Run) -> None:
        """While it is charged the cell turns its polarity: the instrument's own limits do not see that."""
        while run.machine.state != "ladder":
            await asyncio.sleep(60)
        await asyncio.sleep(3600)
        cell = lab.world.cell("stat2/cell")
        assert cell is not None
        while run.machine.state == "ladder":
            cell.physics["q"] = -7.2
            await asyncio.sleep(10)

    return reverse
