"""One order to the whole lab: hold, stop or abort everything. What makes safe goes out first and is recorded after."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import structlog

from labd.journal import NewEvent
from labd.lab.device import Device
from labd.lab.lab import Lab
from labd.lab.upkeep import LEFT_ALONE
from labd.run.engine import Engine
from labd.run.lifecycle import Command
from labd.run.scheduling.claims import UnitKey

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ordered:
    """What an order to the whole lab reached.

    Args:
        runs: those that took it.
        safe: by device that was told to make itself safe, what went wrong, or None. One that is down could not be told,
            and is as soon as it is back.
        left: why, by device that was not told: a person works on it.
    """

    runs: tuple[str, ...]
    safe: Mapping[str, str | None] = field(default_factory=dict)
    left: Mapping[str, str] = field(default_factory=dict)


async def order_all(engine: Engine, command: Command, *, by: str, cause: str | None = None) -> Ordered:
    """Gives every run a command that it can take now. An abort makes all devices safe, also those without a run.

    The queue is paused, too. None of it waits for the disk: runs and devices are told at once, what was ordered is
    durable when this returns. That is when the last device has answered, or its own time limit is over.

    Args:
        engine: the lab's runs.
        command: hold, stop or abort.
        by: who, or what, orders it.
        cause: why.
    """
    log.warning("ordered to the whole lab", command=command.value, by=by, cause=cause)
    ordered = [NewEvent("lab.ordered", {"command": command.value, "by": by, "cause": cause})]
    why = f"{command.value} of all runs"
    ordered.append(engine.queue.stop_starting(by=by, why=f"{why}, {cause}" if cause else why))
    if command is not Command.HOLD:
        engine.by_hand.end_all(why)
    runs, safe, told = await asyncio.gather(
        engine.command_all(command, by=by, cause=cause),
        make_all_safe(engine.lab, f"abort by {by}") if command is Command.ABORT else _nothing(),
        engine.journal.append(*ordered),
        return_exceptions=True,  # a journal that is broken must not keep a device from being told
    )
    for found in (runs, safe, told):
        if isinstance(found, BaseException):
            raise found
    assert not isinstance(runs, BaseException)
    assert not isinstance(safe, BaseException)
    await engine.journal.append(*(_made_safe(device, problem, by) for device, problem in safe.items()))
    left = {name: LEFT_ALONE for name in engine.lab.devices if command is Command.ABORT and name not in safe}
    return Ordered(tuple(runs), safe, left)


async def make_all_safe(lab: Lab, cause: str) -> dict[str, str | None]:
    """Makes every device safe, all at once; one that is down as soon as it is back.

    A safe state may move a device (it opens a ram): one that a person works on is left alone.

    Gives what went wrong with each, or None.
    """
    devices = [device for device in lab.devices.values() if device.upkeep is None]
    problems = await asyncio.gather(*(_make_safe(device, cause) for device in devices))
    return {device.id: problem for device, problem in zip(devices, problems, strict=True)}


async def _make_safe(device: Device, cause: str) -> str | None:
    if device.connected:
        return await device.make_safe(None, cause)
    away = f"it is down and could not be told ({device.problem}); it is made safe as soon as it is back"
    await device.make_safe(None, f"{cause}, while it was away")
    return away


async def make_safe_at_last(lab: Lab, spared: Collection[UnitKey]) -> None:
    """Makes every device safe that is there, but for those that a person works on and for units that are spared."""
    devices = [device for device in lab.devices.values() if device.connected and device.upkeep is None]
    await asyncio.gather(*(_make_rest_safe(device, spared) for device in devices))


async def _make_rest_safe(device: Device, spared: Collection[UnitKey]) -> None:
    kept = {unit for name, unit in spared if name == device.id}
    for unit in [unit for unit in device.driver.units if unit not in kept] if kept else [None]:
        await device.make_safe(unit, "labd ends", others=not kept)


async def _nothing() -> dict[str, str | None]:
    return {}


def _made_safe(device: str, problem: str | None, by: str) -> NewEvent:
    return NewEvent("device.safe_state", {"device": device, "unit": "", "problem": problem, "cause": f"abort by {by}"})
