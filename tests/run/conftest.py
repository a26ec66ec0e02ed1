"""A lab of toys at work, with a real journal."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from labd.journal import Event, Journal, SignalStore
from labd.lab.background import background
from labd.lab.lab import Lab
from labd.run.engine import Engine
from labd.sdk import Driver, Unreachable
from tests.toys import TOYS, Toy, toy_lab

ASSEMBLE = """\
labd: 1
protocol: assemble
version: 1.0.0
summary: Carry a cell to the press, crimp it, and rest it.
parameters:
  force: {type: quantity, default: 7.8 kN, min: 1 kN, max: 10 kN}
roles: {press: crimper, arm: arm, stat: potentiostat}
start: to_press
states:
  to_press:
    summary: Carry it to the press.
    steps:
      - do: press.open
        within: 20 s
      - do: arm.pick
        with: {place: =sample.position}
        as: picked
      - do: arm.place
        with: {place: =press.place}
    next: crimp
  crimp:
    summary: Press it shut.
    do: press.crimp
    with: {force: =force}
    within: 60 s
    as: pressed
    next:
      - {if: pressed.peak_force < 0.95 * force, go: look}
      - {go: to_stat}
  look:
    summary: Ask.
    ask: The press reached only {pressed.peak_force}. Is the cell sound?
    choices: {keep it: to_stat, scrap it: scrap}
    within: 30 min
    otherwise: scrap
  to_stat:
    summary: Carry it to its channel.
    steps:
      - do: arm.pick
        with: {place: =sample.position}
      - do: arm.place
        with: {place: =stat.place}
    next: rest
  rest:
    summary: Rest.
    do: stat.open_circuit
    with: {duration: 1 h, interval: 60 s}
    as: ocv
    next: done
  done: {end: complete}
  scrap: {end: scrapped}
"""


class Bench:
    """A started lab of toys, and what its journal says."""

    def __init__(self, lab: Lab, engine: Engine, journal: Journal) -> None:
        self.lab = lab
        self.engine = engine
        self.journal = journal

    def toy(self, name: str) -> Toy:
        driver = self.lab.devices[name].driver
        assert isinstance(driver, Toy)
        return driver

    async def start(
        self,
        source: str = ASSEMBLE,
        position: str = "tray/cells/A1",
        called: Mapping[str, str] | None = None,
        **parameters: Any,
    ) -> str:
        run = await self.engine.start(source, "assemble.yaml", parameters, position=position, by="test", called=called)
        return run.id

    async def events(self, run: str, *kinds: str) -> list[Event]:
        return await self.journal.events(run=run, kinds=set(kinds) or None)

    async def states(self, run: str) -> list[str]:
        """The protocol's states that were entered, and the one that it ended in."""
        return [event.data["state"] for event in await self.events(run, "protocol.entered", "protocol.ended")]

    async def happened(self, run: str, *kinds: str) -> list[str]:
        """What the journal says of actions: `done press.crimp`, in order."""
        names: dict[str, str] = {}
        told: list[str] = []
        for event in await self.events(run):
            action, data = event.data.get("action_id"), event.data
            if event.kind == "action.intended":
                names[action] = f"{data['role']}.{data['action']}"
            if action is not None and event.kind.removeprefix("action.") in kinds:
                told.append(f"{event.kind.removeprefix('action.')} {names[action]}")
        return told

    async def packml(self, run: str) -> list[str]:
        return [event.data["to"] for event in await self.events(run, "run.state")]


BenchMaker = Callable[..., AbstractAsyncContextManager[Bench]]


DEVICES = {"press": "press", "arm": "arm", "stat1": "stat", "stat2": "stat"}


@contextlib.asynccontextmanager
async def at_work(
    path: Path,
    devices: dict[str, str],
    toys: Mapping[str, type[Driver]] = TOYS,
    *,
    wait: bool = True,
    missing: Collection[str] = (),
    lab_yaml: Mapping[str, Any] | None = None,
    resume: bool = True,
    begin: bool = True,
) -> AsyncIterator[Bench]:
    """A lab of toys for the time of a block; the same folder again is the same lab after a restart.

    Args:
        path: its folder.
        devices: kind by name.
        toys: driver by kind.
        wait: until all devices are there.
        missing: devices that do not answer.
        lab_yaml: more of lab.yaml.
        resume: whether runs of before go on.
        begin: whether the engine is at work when the block begins.
    """
    deck = [{"place": "tray/cells", "labware": "cell_tray_36"}]
    lab = toy_lab(path, devices, toys, **{"deck": deck, **(lab_yaml or {})})
    async with contextlib.AsyncExitStack() as stack:
        journal = await Journal.open(path / "journal.sqlite")
        stack.push_async_callback(journal.close)
        signals = await SignalStore.open(path / "signals.sqlite")
        stack.push_async_callback(signals.close)
        for device in lab.devices.values():
            await stack.enter_async_context(background(device.run(), device.id))
            if device.id in missing:
                device.driver.refuse_connect = Unreachable("nobody answers")  # type: ignore[attr-defined]
            elif wait:
                await device.wait_ready()
        engine = Engine(lab, journal, signals, resume=resume)
        if begin:
            await stack.enter_async_context(background(engine.run(), "engine"))
            await engine.ready.wait()
        yield Bench(lab, engine, journal)


@pytest.fixture
def bench(tmp_path: Path) -> BenchMaker:
    """Starts a lab of toys for the time of a block; the same folder again is the same lab after a restart.

    `lab_yaml` is more of lab.yaml; devices that are `missing` do not answer.
    """

    @contextlib.asynccontextmanager
    async def make(
        lab_yaml: Mapping[str, Any] | None = None, missing: Collection[str] = (), **devices: str
    ) -> AsyncIterator[Bench]:
        async with at_work(tmp_path, devices or DEVICES, missing=missing, lab_yaml=lab_yaml) as lab:
            yield lab

    return make
