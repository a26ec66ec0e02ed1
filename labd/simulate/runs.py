"""Dry runs: each in a lab of its own, with its own seed, as many at a time as the machine has cores."""

from __future__ import annotations

import asyncio
import concurrent.futures
import multiprocessing
import os
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from labd import clock
from labd.daemon import Daemon, first_of
from labd.files import InputErrors
from labd.lab.bus import RunState
from labd.lab.config import LabConfig, LabError, load_lab
from labd.lab.equipment import find_driver
from labd.lab.samples import Noted
from labd.logs import configure_logs
from labd.run.attention import Attention
from labd.run.engine import EngineError
from labd.run.facts import facts_of
from labd.run.lifecycle import Command, CommandRefusedError
from labd.simulate.plan import Dry, DryRunError, dry_lab, needed
from labd.simulate.story import Story, read_story

READY_LIMIT = 300.0  # s of lab time for all devices to be there
LOOKS = 120.0  # s of lab time that a person takes to answer
HOLDS = 3  # how often a held run is sent on before it is given up
BY = "labd simulate"
SAMPLE = "cell-0001"
USUAL = {"active_mass": 0.012, "about": {"specific_capacity": "160 mAh/g"}}
"""What a dry run's cell is said to be, for protocols that ask: as much as the simulated one holds."""


def simulate(dries: Sequence[Dry], jobs: int | None = None) -> Iterator[Story]:
    """Makes dry runs; gives each as it ends, in any order.

    Raises:
        DryRunError: a lab or a protocol that cannot be run.
    """
    jobs = min(jobs or os.cpu_count() or 1, len(dries))
    if jobs <= 1:
        for dry in dries:
            yield one_run(dry)
        return
    context = multiprocessing.get_context("spawn")  # a fork would take the event loop's threads with it
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=context) as pool:
        waiting = [pool.submit(one_run, dry) for dry in dries]
        try:
            for done in concurrent.futures.as_completed(waiting):
                yield done.result()
        except concurrent.futures.BrokenExecutor:
            raise DryRunError(f"a dry run was killed, perhaps for want of memory: try --jobs {jobs // 2}") from None
        finally:
            for future in waiting:
                future.cancel()


def one_run(dry: Dry) -> Story:
    """One dry run on virtual time. Raises DryRunError."""
    with tempfile.TemporaryDirectory(prefix="labd-dry-") as folder, Path(folder, "labd.log").open("w") as log:
        configure_logs("json", log)
        try:
            whole = load_lab(dry.lab)
            drivers = {name: find_driver(device.driver).role for name, device in whole.devices.items()}
            keep, calm = needed(whole, drivers, dry), dry.faults is None
            config = dry_lab(whole, Path(folder), dry.seed, keep, calm=calm)
            return clock.run(_run(config, dry), clock.timeline_of(config.clock_kind, config.directory))
        except (InputErrors, LabError, EngineError) as error:
            raise DryRunError(str(error)) from None
        except BaseExceptionGroup as group:
            told = first_of(group, (InputErrors, LabError, EngineError, DryRunError))
            if told is None:
                raise
            raise DryRunError(str(told)) from None
        finally:
            configure_logs(None)


async def _run(config: LabConfig, dry: Dry) -> Story:
    daemon = Daemon(config, outward=False, faults=dry.faults)
    async with daemon.open():
        await daemon.lab.wait_ready(READY_LIMIT)
        _lay_cell(daemon, dry.position)
        await daemon.lab.samples.note(SAMPLE, Noted(USUAL), by=BY)
        operator = Operator(daemon, random.Random(f"{dry.seed}/operator"))
        began = clock.monotonic()
        run = await daemon.engine.start(
            dry.source,
            dry.name,
            dry.parameters,
            sample=SAMPLE,
            position=dry.position,
            called=dry.called,
            by=BY,
        )
        async with asyncio.TaskGroup() as group:
            answering = group.create_task(operator.answer_all())
            state = await daemon.engine.wait(run.id)
            answering.cancel()
        seconds = clock.monotonic() - began
        events = await daemon.journal.events(run=run.id)
        materials = facts_of(daemon.lab).material_at or {}
        outcome = "held" if operator.gave_up else str(state.outcome)
        story = read_story(events, dry.seed, outcome, operator.gave_up or state.cause, seconds, materials)
        return replace(story, faults=dict(daemon.host.plan.counts))


def _lay_cell(daemon: Daemon, position: str | None) -> None:
    """A sample that begins in a channel is a finished cell: somebody has put a well-made one there."""
    channels = {daemon.lab.place_of(device, unit) for device, unit in daemon.lab.units_for("potentiostat")}
    if position in channels:
        daemon.host.world.lay_cell(position, clock.now().timestamp())


class Operator:
    """Answers what is asked with any of the choices, so that all ways are seen; sends held runs on a few times."""

    def __init__(self, daemon: Daemon, dice: random.Random) -> None:
        self.gave_up: str | None = None
        self._daemon = daemon
        self._dice = dice
        self._attention = Attention(daemon.lab.bus)
        self._holds = 0

    async def answer_all(self) -> None:
        """Answers until cancelled."""
        while True:
            state = await self._attention.next()
            await asyncio.sleep(LOOKS)
            try:
                await (self._answer(state) if state.question is not None else self._send_on(state))
            except CommandRefusedError:
                continue  # the run went on meanwhile

    async def _answer(self, state: RunState) -> None:
        question: Any = state.question
        choice = self._dice.choice(question["choices"]) if question["choices"] else ""
        value = self._value(question["input"]) if question["input"] is not None else None
        await self._daemon.engine.answer(state.run, choice, value=value, by=BY)

    def _value(self, asked: Any) -> Any:
        low, high = asked["min"], asked["max"]
        low = low if low is not None else (high - 1 if high is not None else 0)
        high = high if high is not None else low + 1
        match asked["type"]:
            case "quantity":
                return {"v": self._dice.uniform(low, high), "u": asked["unit"]}
            case "number":
                return self._dice.uniform(low, high)
            case "integer":
                return self._dice.randint(int(low), int(high))
            case "boolean":
                return self._dice.random() < 0.5
            case "choice":
                return self._dice.choice(list(asked["choices"]))
            case _:
                return "as it should be"

    async def _send_on(self, state: RunState) -> None:
        self._holds += 1
        at = None
        run = self._daemon.engine.held_at(state.run)
        if run:
            at = self._dice.choice(run)
        if self._holds <= HOLDS:
            try:
                await self._daemon.engine.command(state.run, Command.UNHOLD, by=BY, at=at)
            except CommandRefusedError:
                self._holds = HOLDS + 1
            else:
                return
        self.gave_up = state.cause or "held"
        await self._daemon.engine.command(state.run, Command.STOP, by=BY, cause=state.cause)
