"""Devices that a person works on: they are given to no run, until the person says that they are back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from labd import clock
from labd.expr import did_you_mean
from labd.journal import Journal, NewEvent
from labd.lab.interlocks import GuardError, UnknownNameError
from labd.lab.lab import Lab
from labd.lab.models import Maintenance
from labd.lab.upkeep import Upkeep

KEPT = "maintenance/"


@dataclass(slots=True)
class Upkeeps:
    """Which devices of a lab are in maintenance.

    What was said at run time goes before what lab.yaml said then; what is written into lab.yaml later goes before that.

    Args:
        lab, journal: whose devices, and where it is told.
        using: the runs that have a device, by its id.
    """

    lab: Lab
    journal: Journal
    using: Callable[[str], list[str]]

    async def take_up(self) -> None:
        """What lab.yaml says, and what was said at run time before the daemon ended."""
        kept = await self.journal.kept(KEPT)
        for name, device in self.lab.config.devices.items():
            by_file = in_file(device.maintenance)
            said = kept.get(f"{KEPT}{name}")
            if said is not None and said["over"] == by_file:
                self._set(name, Upkeep(**said["upkeep"]) if said["upkeep"] is not None else None)
            elif by_file is not None:
                self._set(name, Upkeep(**by_file))

    async def say(self, name: str, reason: str | None, by: str) -> None:
        """Begins a device's maintenance, or (without a reason) ends it. Raises as those do."""
        if reason is not None:
            await self.begin(name, reason, by)
        else:
            await self.end(name, by)

    async def begin(self, name: str, reason: str, by: str) -> None:
        """Takes a device from runs; durable when this returns.

        Raises:
            UnknownNameError: there is no such device.
            GuardError: a run has it, or it is in maintenance already.
        """
        device = self._device(name)
        runs = self.using(name)
        if runs:
            raise GuardError(
                f"{', '.join(runs)} {'has' if len(runs) == 1 else 'have'} {name}: wait for the end, or stop it"
            )
        if self.lab.devices[name].upkeep is not None:
            raise GuardError(f"{self.lab.devices[name].upkeep}: end that first")
        upkeep = Upkeep(reason, by, clock.stamp())
        self._set(name, upkeep)  # before it is durable: no run is to take it meanwhile
        self._keep(name, upkeep, device.maintenance)
        await self._told(name, {"on": True, "reason": reason, "by": by})

    async def end(self, name: str, by: str) -> None:
        """Gives a device back to runs; durable when this returns. Raises as `begin` does."""
        device = self._device(name)
        if self.lab.devices[name].upkeep is None:
            raise GuardError(f"{name} is not in maintenance")
        self._keep(name, None, device.maintenance)
        await self._told(name, {"on": False, "reason": None, "by": by})
        self._set(name, None)

    def _device(self, name: str) -> Any:
        if name not in self.lab.devices:
            raise UnknownNameError(f"there is no device {name!r}; {did_you_mean(name, self.lab.devices, 'there is')}")
        return self.lab.config.devices[name]

    def _set(self, name: str, upkeep: Upkeep | None) -> None:
        device = self.lab.devices[name]
        device.work_on(upkeep)
        if upkeep is None:
            self.lab.barriers.lift(f"maintenance-{name}")
        else:
            self.lab.barriers.set(f"maintenance-{name}", f"{name} is {upkeep}", (name,))
        self.lab.bus.tell(device.state())

    def _keep(self, name: str, upkeep: Upkeep | None, written: Maintenance | None) -> None:
        told = asdict(upkeep) if upkeep is not None else None
        self.journal.keep(f"{KEPT}{name}", {"upkeep": told, "over": in_file(written)})

    async def _told(self, name: str, data: dict[str, Any]) -> None:
        await self.journal.append(NewEvent("device.maintenance", {"device": name, **data}))


def in_file(said: Maintenance | None) -> dict[str, str] | None:
    """What lab.yaml says of a device's maintenance, as the journal keeps it."""
    if said is None:
        return None
    return {"reason": said.reason, "by": said.by, "since": said.since.isoformat() if said.since else ""}
