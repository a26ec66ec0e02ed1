"""One device over /api/v1: what a person does with it by hand."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from labd.api.errors import UnknownDeviceError
from labd.api.holding import released
from labd.lab.device import Device
from labd.run.engine import Engine


class ClockModel(BaseModel):
    """s that a device's clock is ahead of the daemon's machine; None where it has none, or does not answer."""

    offset: float | None


def device_routes(api: APIRouter, engine: Engine) -> None:
    """Adds the routes."""
    devices = engine.lab.devices

    def known(name: str) -> Device:
        if name not in devices:
            raise UnknownDeviceError(f"there is no device {name!r}; there are: {', '.join(devices)}")
        return devices[name]

    @api.get("/devices/{device_id}/clock")
    async def device_clock(device_id: str) -> ClockModel:
        """Asks a device for its own time."""
        with released():
            return ClockModel(offset=await known(device_id).clock_offset())
