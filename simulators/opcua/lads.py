"""The nodes of one functional unit by LADS 1.0 (OPC 30500), http://opcfoundation.org/UA/LADS/.

A unit that is Stopped takes StartProgram; while it is Running, RunningStateMachine says the rest.
"""

from __future__ import annotations

from typing import Any, ClassVar

from asyncua import ua

from simulators._kit.opcua import UaServer
from simulators.opcua.machine import Machine

_UNIT = "di:DeviceSet/Device/l:FunctionalUnitSet/Unit"
_STATE = f"{_UNIT}/l:FunctionalUnitState"
_RUNNING = f"{_STATE}/l:RunningStateMachine"
_PROGRAMS = f"{_UNIT}/l:ProgramManager"
_ACTIVE = f"{_PROGRAMS}/l:ActiveProgram"
_OUTER = ("Stopping", "Stopped", "Aborting", "Aborted", "Clearing")
_ORDERS = {
    _STATE: ("Stop", "Abort", "Clear"),
    _RUNNING: ("Reset", "Hold", "Unhold", "Suspend", "Unsuspend", "ToComplete"),
}
_READY = frozenset({"Stopped", "Idle"})


class LadsNodes:
    """Adds the nodes and tells the unit's state in them."""

    namespaces: ClassVar = {
        "m": "urn:labd:device",
        "di": "http://opcfoundation.org/UA/DI/",
        "l": "http://opcfoundation.org/UA/LADS/",
    }

    def __init__(self, server: UaServer, machine: Machine) -> None:
        self._server = server
        self._machine = machine

    async def add(self) -> None:
        """All of them."""
        server = self._server
        for path in (_STATE, _RUNNING):
            await server.variable(f"{path}/0:CurrentState", "", "LocalizedText")
        for path, orders in _ORDERS.items():
            for order in orders:
                await server.method(f"{path}/l:{order}", self._method(order))
        inputs = (
            "ProgramTemplateId: String",
            "Properties: ExtensionObject[]",
            "SupervisoryJobId: String",
            "SupervisoryTaskId: String",
            "Samples: ExtensionObject[]",
        )
        await server.method(f"{_STATE}/l:StartProgram", self._start, inputs, ["DeviceProgramRunId: String"])
        await server.variable(f"{_ACTIVE}/l:DeviceProgramRunId", "", "String")
        await server.variable(f"{_ACTIVE}/l:CurrentRuntime", 0.0, "Double")
        for name in self._machine.programs:
            await server.variable(f"{_PROGRAMS}/l:ProgramTemplateSet/{name}/l:DeviceTemplateId", name, "String")
        for counter in ("Made", "Defective"):
            await server.variable(f"{_UNIT}/{counter}", 0, "UInt32")

    def _method(self, order: str) -> Any:
        async def act(*_: Any) -> Any:
            return None if self._machine.order(order) else ua.StatusCode(ua.StatusCodes.BadInvalidState)

        return act

    async def _start(self, template: Any = "", *_: Any) -> Any:
        machine = self._machine
        if template and template not in machine.programs:
            return ua.StatusCode(ua.StatusCodes.BadInvalidArgument)
        before = machine.runs
        if not machine.order("Start", ready=_READY):
            return ua.StatusCode(ua.StatusCodes.BadInvalidState)
        if template and machine.runs > before:
            machine.begin(template)
        return [ua.Variant(self._run_id(), ua.VariantType.String)]

    def _run_id(self) -> str:
        return f"run-{self._machine.runs}" if self._machine.runs else ""

    def tell(self, epoch: float) -> None:
        """Puts what holds now; `epoch` is what the machine's clock began at, lab s."""
        machine, put = self._machine, self._server.put
        since = epoch + machine.since
        outer = machine.state in _OUTER
        put(f"{_STATE}/0:CurrentState", machine.state if outer else "Running", since)
        put(f"{_RUNNING}/0:CurrentState", "" if outer else machine.state, since)
        put(f"{_ACTIVE}/l:DeviceProgramRunId", self._run_id())
        put(f"{_ACTIVE}/l:CurrentRuntime", machine.runtime * 1000)  # a Duration is in ms
        put(f"{_UNIT}/Made", machine.made)
        put(f"{_UNIT}/Defective", machine.defective)
