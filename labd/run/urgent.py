"""One order to the whole lab: hold, stop or abort everything. What makes safe goes out first and is recorded after."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import structlog

from labd.journal import NewEvent
from labd.lab.device import Device
from labd.lab.lab import Lab
from labd.run.engine import Engine
from labd.run.lifecycle import Command
from labd.run.reservations import UnitKey

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ordered:
    """What an order to the whole lab reached.

    Args:
        runs: those that took it.
        safe: by device that was told to make itself safe, what went wrong, or None. Those that are down are not told.
    """

    runs: tuple[str, ...]
    safe: Mapping[str, str | None] = field(default_factory=dict)


async def order_all(engine: Engine, command: Command, *, by: str, cause: str | None = None) -> Ordered:
    """Gives every run a command that it can take now. An abort makes all devices safe, also those without a run.

    Neither waits for the disk: runs and devices are told at once, what was ordered is durable when this returns. That
    is when the last device has answered, or its own time limit is over.

    Args:
        engine: the lab's runs.
        command: hold, stop or abort.
        by: who, or what, orders it.
        cause: why.
    """
    log.warning("ordered to the whole lab", command=command.value, by=by, cause=cause)
    runs, safe, told = await asyncio.gather(
        engine.command_all(command, by=by, cause=cause),
        make_all_safe(engine.lab) if command is Command.ABORT else _nothing(),
        engine.journal.append(NewEvent("lab.ordered", {"command": command.value, "by": by, "cause": cause})),
        return_exceptions=True,  # a journal that is broken must not keep a device from being told
    )
    for found in (runs, safe, told):
        if isinstance(found, BaseException):
            raise found
    assert not isinstance(runs, BaseException)
    assert not isinstance(safe, BaseException)
    await engine.journal.append(*(_made_safe(device, problem, by) for device, problem in safe.items()))
    return Ordered(tuple(runs), safe)


async def make_all_safe(lab: Lab, spared: Collection[UnitKey] = ()) -> dict[str, str | None]:
    """Makes every device safe that is there, all at once, but for the units that are spared.

    Gives what went wrong with each, or None.
    """
    devices = [device for device in lab.devices.values() if device.connected]
    problems = await asyncio.gather(*(_make_safe(device, spared) for device in devices))
    return {device.id: problem for device, problem in zip(devices, problems, strict=True)}


async def _make_safe(device: Device, spared: Collection[UnitKey]) -> str | None:
    kept = {unit for name, unit in spared if name == device.id}
    if not kept:
        return await device.safe_state()
    problems = [await device.safe_state(unit) for unit in device.driver.units if unit not in kept]
    return "; ".join(problem for problem in problems if problem is not None) or None


async def _nothing() -> dict[str, str | None]:
    return {}


def _made_safe(device: str, problem: str | None, by: str) -> NewEvent:
    return NewEvent("device.safe_state", {"device": device, "unit": "", "problem": problem, "cause": f"abort by {by}"})
