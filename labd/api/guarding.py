"""What guards a lab, over /api/v1: alarms, interlocks, and devices in maintenance."""

from __future__ import annotations

from fastapi import APIRouter

from labd.api.holding import released
from labd.api.models import AlarmModel, ByRequest, DeviceModel, InterlockModel, MaintenanceRequest
from labd.lab.guards import Guards


def guard_routes(api: APIRouter, guards: Guards) -> None:
    """Adds the routes."""
    watches = guards.interlocks.watches

    @api.get("/alarms")
    async def alarms() -> list[AlarmModel]:
        """The alarms that have not ended, the oldest first."""
        return [AlarmModel.of(alarm) for alarm in guards.lab.alarms.active]

    @api.post("/alarms/{alarm_id}/acknowledge")
    async def acknowledge(alarm_id: str, request: ByRequest) -> AlarmModel:
        """Says that a person has seen an alarm; it goes on until what it is about is over."""
        return AlarmModel.of(await guards.acknowledge(alarm_id, request.by))

    @api.get("/interlocks")
    async def interlocks() -> list[InterlockModel]:
        return [InterlockModel.of(watch) for watch in watches.values()]

    @api.post("/interlocks/{name}/clear")
    async def clear(name: str, request: ByRequest) -> InterlockModel:
        """Clears a latched interlock whose condition is over; it is durable when this answers."""
        with released():
            return InterlockModel.of(await guards.interlocks.clear(name, request.by))

    @api.post("/devices/{device_id}/maintenance")
    async def maintenance(device_id: str, request: MaintenanceRequest) -> DeviceModel:
        """Takes a device from runs, or gives it back; it is durable when this answers."""
        await guards.upkeeps.say(device_id, request.reason if request.on else None, request.by)
        return DeviceModel.of(guards.lab.devices[device_id])
