"""Devices that are down for longer than a while: an alarm says so, until they are back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from labd import clock
from labd.lab.bus import DeviceState, Happening
from labd.lab.device import Device
from labd.lab.lab import Lab

PATIENCE = 60.0  # s


@dataclass(slots=True)
class Absences:
    """The alarms about devices that are down. One that is in maintenance is expected to be."""

    lab: Lab
    _down: dict[str, float] = field(default_factory=dict)  # since when, on the monotonic clock
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Watches until cancelled."""
        forget = self.lab.bus.subscribe(self._heard, DeviceState)
        try:
            while True:
                self._wake.clear()
                self._look()
                now = clock.monotonic()
                due = [rest for since in self._down.values() if (rest := since + PATIENCE - now) > 0]
                try:
                    async with asyncio.timeout(min(due, default=None)):
                        await self._wake.wait()
                except TimeoutError:
                    pass
        finally:
            forget()

    def _heard(self, happening: Happening) -> None:
        if isinstance(happening, DeviceState):
            self._look_at(self.lab.devices[happening.device])

    def _look(self) -> None:
        for device in self.lab.devices.values():
            self._look_at(device)

    def _look_at(self, device: Device) -> None:
        if device.health != "down" or device.upkeep is not None:
            self._down.pop(device.id, None)
            self.lab.alarms.end(alarm_of(device))
        elif device.id not in self._down:
            self._down[device.id] = clock.monotonic()
            self._wake.set()
        elif clock.monotonic() - self._down[device.id] >= PATIENCE:
            text = f"{device.id} is down: {device.problem}; runs that need it wait"
            self.lab.alarms.tell(alarm_of(device), "warning", device.id, text)


def alarm_of(device: Device) -> str:
    """The id of the alarm that it is down."""
    return f"device-{device.id}-down"
