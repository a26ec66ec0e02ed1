"""A run that warms a bath and weighs what a robot doses onto a balance under its deck: the whole lab, on its wires."""

from __future__ import annotations

import asyncio
from pathlib import Path

from labd import clock
from labd.daemon import Daemon
from labd.journal import Journal
from labd.lab.config import load_lab

LAB = """\
labd: 1
lab: bench
store: store
seed: 7
clock: virtual
devices:
  ot2:
    driver: opentrons
    settings: {address: "http://127.0.0.1:0", pipettes: {left: p20_single_gen2, right: p300_single_gen2}}
    simulator: {pipette_error: {right: -0.04}}
  balance:
    driver: mt_sics
    settings: {address: "tcp://127.0.0.1:0", pan: ot2/6}
    simulator: {}
  bath:
    driver: julabo
    settings: {address: ports/bath, max_temperature: 60 degC}
    limits: {set_temperature.temperature: {max: 45 degC}}
    simulator: {}
deck:
  - {place: ot2/1, labware: opentrons_96_tiprack_20ul}
  - {place: ot2/4, labware: opentrons_96_tiprack_300ul}
  - {place: ot2/2, labware: vials_8x20ml, contents: {A1: {material: water, volume: 12 mL, dead: 1 mL}}}
  - {place: ot2/6, labware: vials_8x20ml}
"""
PROTOCOL = """\
labd: 1
protocol: weigh_a_dose
version: 1.0.0
summary: Weigh what the robot calls 100 µL of water, at 25 °C.
parameters:
  volume: {type: quantity, default: 100 µL, min: 20 µL, max: 300 µL}
  warm: {type: quantity, default: 25 degC, min: 15 degC, max: 40 degC}
roles: {robot: pipetting_robot, scales: balance, bath: thermostat}
start: set
states:
  set:
    summary: Set the bath.
    do: bath.set_temperature
    with: {temperature: =warm}
    next: warm_up
  warm_up:
    summary: Look once a minute whether it is there.
    steps:
      - wait: 1 min
    max_visits: {times: 60, otherwise: missed}
    next:
      - {if: bath.temperature > warm - 0.2 K, go: dose}
      - {go: warm_up}
  dose:
    summary: Dose onto the balance.
    steps:
      - do: scales.tare
      - do: robot.transfer
        with: {source: water, destination: ot2/6/A1, volume: =volume}
      - do: scales.weigh
        with: {settle: 10 s}
        as: weighed
    next:
      - {if: not weighed.stable, go: missed}
      - {if: weighed.mass < 0.09 g, go: missed}
      - {go: done}
  done: {end: complete}
  missed: {end: scrapped}
"""


async def test_a_dose_is_weighed_on_the_balance_under_the_deck_once_the_bath_is_warm(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(LAB)
    async with Daemon(load_lab(tmp_path / "lab.yaml")).open() as daemon:
        began = clock.monotonic()
        await asyncio.gather(*(device.wait_ready() for device in daemon.lab.devices.values()))
        run = await daemon.engine.start(PROTOCOL, "weigh_a_dose.yaml", {}, by="test")
        assert (await daemon.engine.wait(run.id)).outcome == "complete"
        assert 60 < clock.monotonic() - began < 1800
        assert daemon.lab.devices["balance"].health == "ok"
        assert daemon.lab.devices["bath"].signals["status"].v == "03 REMOTE START"
    journal = await Journal.open(tmp_path / "store" / "journal.sqlite")
    events = await journal.events()
    await journal.close()
    results = [event.data["result"] for event in events if event.kind == "action.done" and event.data.get("result")]
    (mass,) = [result["mass"]["v"] for result in results if "mass" in result]
    assert abs(mass - 0.96 * 0.0998) < 0.003  # the pipette gives 4 % too little


EVIDENCE = """
evidence:
  - {{name: dosed_mass, after: ot2.transfer, to: ot2/6, mass: balance, density: 1 g/mL, within: {within}}}
"""
DOSE = """\
labd: 1
protocol: dose
version: 1.0.0
summary: Give water to a vial on the balance, and to one beside it.
roles: {robot: pipetting_robot}
start: dose
states:
  dose:
    summary: Both.
    steps:
      - do: robot.transfer
        with: {source: water, destination: ot2/2/B1, volume: 50 µL}
      - do: robot.transfer
        with: {source: water, destination: ot2/6/A1, volume: 100 µL}
    next: done
  done: {end: complete}
"""


async def test_a_dose_that_the_balance_saw_is_done(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(LAB + EVIDENCE.format(within="10 %"))
    async with Daemon(load_lab(tmp_path / "lab.yaml")).open() as daemon:
        await asyncio.gather(*(device.wait_ready() for device in daemon.lab.devices.values()))
        run = await daemon.engine.start(DOSE, "dose.yaml", {}, by="test")
        assert (await daemon.engine.wait(run.id)).outcome == "complete"
        intended = await daemon.journal.events(run=run.id, kinds={"action.intended"})
        elsewhere, weighed = (event.data["baseline"]["evidence"] for event in intended)
        assert "dosed_mass" not in elsewhere
        assert abs(weighed["dosed_mass"]) < 0.01


async def test_a_dose_that_the_balance_saw_too_little_of_is_a_persons_to_judge(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(LAB + EVIDENCE.format(within="2 %"))
    async with Daemon(load_lab(tmp_path / "lab.yaml")).open() as daemon:
        await asyncio.gather(*(device.wait_ready() for device in daemon.lab.devices.values()))
        run = await daemon.engine.start(DOSE, "dose.yaml", {}, by="test")
        while (question := (await daemon.engine.state(run.id)).question) is None:
            await asyncio.sleep(1)
        said = str(question["text"])
        assert "dosed_mass: 100 µL weigh 100 mg, and balance saw 9" in said
        assert "where 2 % are allowed" in said
        assert question["choices"] == ["done", "not done", "scrap"]
