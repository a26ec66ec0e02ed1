"""The drivers that are installed, by where their devices are looked for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from labd.lab.bounded import bounded
from labd.lab.equipment import find_driver, known_drivers
from labd.lab.models import LabError
from labd.sdk import About, DeviceError, Driver

PORT = "{port}"
"""In an address of `Driver.found_at`: a serial port of this machine."""
ASK_LIMIT = 6.0  # s that a driver may take to identify what is at an address


@dataclass(frozen=True, slots=True)
class Kinds:
    """Drivers by name."""

    drivers: Mapping[str, type[Driver]]

    @classmethod
    def installed(cls) -> Kinds:
        """All that can be imported here."""
        found: dict[str, type[Driver]] = {}
        for name in known_drivers():
            try:
                found[name] = find_driver(name)
            except LabError:
                continue  # a package that it needs is not installed; `labd doctor` tells that of a lab that names it
        return cls(found)

    @property
    def ports(self) -> tuple[int, ...]:
        """The TCP ports at which devices of these drivers listen."""
        return tuple(sorted({port for cls in self.drivers.values() for port in cls.found_at.values() if port}))

    def at(self, host: str, port: int) -> dict[str, str]:
        """The addresses that drivers would get for what listens there, by the driver's name."""
        shown = f"[{host}]" if ":" in host else host
        return {
            name: template.replace("{host}", shown)
            for name, cls in self.drivers.items()
            for template, own in cls.found_at.items()
            if own == port
        }

    def speaking(self, scheme: str, host: str, port: int) -> dict[str, str]:
        """The addresses for what speaks a protocol (`modbus`, `http`) at a port that is not the usual one."""
        shown = f"[{host}]" if ":" in host else host
        return {
            name: template.replace("{host}", shown).replace(f":{own}", f":{port}")
            for name, cls in self.drivers.items()
            for template, own in cls.found_at.items()
            if template.startswith(f"{scheme}://") and template.endswith(f":{own}")
        }

    def serial(self, path: str) -> dict[str, str]:
        """The addresses that drivers of serial devices would get for a port, by the driver's name."""
        return {
            name: template.replace(PORT, path)
            for name, cls in self.drivers.items()
            for template in cls.found_at
            if PORT in template
        }

    def certain(self, usb: str) -> tuple[str, ...]:
        """The drivers of which a USB port of that kind (`vid:pid:product`) certainly is."""
        return tuple(
            name for name, cls in self.drivers.items() if any(usb.lower().startswith(one.lower()) for one in cls.usb)
        )

    async def ask(self, name: str, address: str) -> About | None:
        """What a driver finds out at an address; None where it is no device of it."""
        try:
            return await bounded(self.drivers[name].identify(address), ASK_LIMIT)
        except (DeviceError, ValueError, OSError, TimeoutError, asyncio.IncompleteReadError):
            return None
