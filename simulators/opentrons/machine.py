"""What the robot server tells of the machine itself."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from simulators._kit.http import Reply, Request
from simulators.opentrons.errors import Refusal, invalid
from simulators.opentrons.hardware import Robot
from simulators.opentrons.pipettes import Kind
from simulators.opentrons.wire import body

VERSION = "8.1.0"


class Machine:
    """Routes that read the robot, its door, lights and deck. Arguments as in `RobotServer`."""

    def __init__(self, name: str, robot: Robot, faults: MutableMapping[str, Any], *, door_blocks: bool) -> None:
        self._name = name
        self._robot = robot
        self._faults = faults
        self._door_blocks = door_blocks

    async def health(self, _request: Request) -> Reply:
        """Who it is."""
        flex = self._robot.is_flex
        logs = ["/logs/serial.log", "/logs/api.log", "/logs/server.log", "/logs/update_server.log"]
        links = {
            "apiLog": "/logs/api.log",
            "serialLog": "/logs/serial.log",
            "serverLog": "/logs/server.log",
            "apiSpec": "/openapi.json",
            "systemTime": "/system/time",
        }
        return Reply(
            200,
            {
                "name": self._name,
                "robot_model": "OT-3 Standard" if flex else "OT-2 Standard",
                "api_version": VERSION,
                "fw_version": "57" if flex else "Virtual Smoothie",
                "board_revision": "C.2" if flex else "2.1",
                "logs": logs,
                "system_version": "0.0.0",
                "maximum_protocol_api_version": [2, 20],
                "minimum_protocol_api_version": [2, 15] if flex else [2, 0],
                "robot_serial": f"simulator-{self._name}",
                "links": links,
            },
        )

    async def instruments(self, _request: Request) -> Reply:
        """The pipettes on its mounts; a Flex also tells whether a tip is on."""
        data = [self._instrument(mount, kind) for mount, kind in sorted(self._robot.pipettes.items())]
        return many(data)

    def _instrument(self, mount: str, kind: Kind) -> dict[str, Any]:
        told = {
            "mount": mount,
            "instrumentType": "pipette",
            "instrumentModel": kind.model,
            "serialNumber": f"{self._name}-{mount}",
            "subsystem": f"pipette_{mount}",
            "ok": True,
            "data": {"channels": kind.channels, "min_volume": float(kind.least), "max_volume": float(kind.most)},
            "instrumentName": kind.name,
        }
        return told | ({"state": {"tipDetected": self._robot.tip_on(mount)}} if self._robot.is_flex else {})

    async def modules(self, _request: Request) -> Reply:
        """None."""
        return many([])

    async def pipettes(self, _request: Request) -> Reply:
        """The mounts, as older clients ask for them."""
        axes = {"left": ("z", "b"), "right": ("a", "c")}
        told = {}
        for mount, (axis, plunger) in axes.items():
            kind = self._robot.pipettes.get(mount)
            known: dict[str, str | None] = {"model": None, "name": None, "id": None}
            if kind is not None:
                known = {"model": kind.model, "name": kind.name, "id": f"{self._name}-{mount}"}
            told[mount] = {**known, "mount_axis": axis, "plunger_axis": plunger}
        return Reply(200, told)

    async def door(self, _request: Request) -> Reply:
        """Open or closed."""
        status = "open" if self._faults.get("door_open") else "closed"
        return Reply(200, {"data": {"status": status, "doorRequiredClosedForProtocol": self._door_blocks}})

    async def lights(self, _request: Request) -> Reply:
        """On or off."""
        return Reply(200, {"on": bool(self._robot.memory.get("lights"))})

    async def set_lights(self, request: Request) -> Reply:
        """Switches them. Raises Refusal."""
        on = body(request).get("on")
        if not isinstance(on, bool):
            raise invalid("field required", pointer="/on")
        self._robot.memory["lights"] = on
        return Reply(200, {"on": on})

    async def estop(self, _request: Request) -> Reply:
        """A Flex's button. Raises Refusal on an OT-2."""
        if not self._robot.is_flex:
            detail = "This route is only available on a Flex."
            raise Refusal(403, "NotSupportedOnOT2", "Not Supported On OT-2", detail)
        pressed = bool(self._faults.get("estop"))
        told = {
            "status": "physicallyEngaged" if pressed else "disengaged",
            "leftEstopPhysicalStatus": "engaged" if pressed else "disengaged",
            "rightEstopPhysicalStatus": "notPresent",
        }
        return Reply(200, {"data": told})

    async def deck_configuration(self, _request: Request) -> Reply:
        """What is mounted in which cutout."""
        return Reply(200, {"data": {"cutoutFixtures": [dict(one) for one in self._robot.deck.fixtures]}})


def many(data: list[dict[str, Any]]) -> Reply:
    return Reply(200, {"data": data, "meta": {"cursor": 0, "totalLength": len(data)}})
