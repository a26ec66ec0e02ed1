"""The nodes of a machine by PackML 1.01 (OPC 30050), http://opcfoundation.org/UA/PackML/.

State machines lie in each other: BaseStateMachine says Cleared or that it aborts; in Cleared MachineState says Running
or that it stops; in Running ExecuteState says the rest. Recipe and counters are the machine's own.
"""

from __future__ import annotations

from typing import Any, ClassVar

from asyncua import ua

from simulators._kit.opcua import UaServer
from simulators.opcua.machine import NUMBERS, Machine

CLEARED, RUNNING = 19, 18  # of the node set, beside TR88's own numbers
_BASE = "Machine/ml:BaseStateMachine"
_MACHINE = f"{_BASE}/ml:MachineState"
_EXECUTE = f"{_MACHINE}/ml:ExecuteState"
_ORDERS = {
    _BASE: ("Abort", "Clear"),
    _MACHINE: ("Stop", "Reset"),
    _EXECUTE: ("Start", "Reset", "Hold", "Unhold", "Suspend", "Unsuspend", "ToComplete"),
}


class PackMlNodes:
    """Adds the nodes and tells the machine's state in them."""

    namespaces: ClassVar = {"m": "urn:labd:machine", "ml": "http://opcfoundation.org/UA/PackML/"}

    def __init__(self, server: UaServer, machine: Machine) -> None:
        self._server = server
        self._machine = machine

    async def add(self) -> None:
        """All of them."""
        server = self._server
        await server.variable("Machine/ml:PackMLVersion", "1.01", "String")
        await server.variable("Machine/ml:Status/ml:UnitModeCurrent", 1, "Int32")
        await server.variable("Machine/ml:Status/ml:CurMachSpeed", 0.0, "Float")
        await server.variable("Machine/ml:Status/ml:EquipmentBlocked", value=False, kind="Boolean")
        await server.variable("Machine/ml:Status/ml:EquipmentStarved", value=False, kind="Boolean")
        await server.variable("Machine/Recipe", "", "String", writable=True)
        for counter in ("Made", "Defective", "Runs"):
            await server.variable(f"Machine/{counter}", 0, "UInt32")
        for path, orders in _ORDERS.items():
            await server.variable(f"{path}/0:CurrentState", "", "LocalizedText")
            await server.variable(f"{path}/0:CurrentState/0:Number", 0, "UInt32")
            for order in orders:
                inputs = ["Parameter: ExtensionObject[]"] if order == "Start" else []
                # Reset is two methods: of MachineState from Stopped, of ExecuteState from Complete
                only = {_MACHINE: "Stopped", _EXECUTE: "Complete"}[path] if order == "Reset" else None
                await server.method(f"{path}/ml:{order}", self._method(order, only), inputs)

    def _method(self, order: str, only: str | None) -> Any:
        async def act(*_: Any) -> Any:
            machine = self._machine
            if only is not None and machine.state != only:
                return ua.StatusCode(ua.StatusCodes.BadInvalidState)
            if order == "Start" and (recipe := self._server.said("Machine/Recipe")):
                if recipe not in machine.programs:
                    return ua.StatusCode(ua.StatusCodes.BadInvalidArgument)
                machine.program = recipe
            return None if machine.order(order) else ua.StatusCode(ua.StatusCodes.BadInvalidState)

        return act

    def tell(self, epoch: float) -> None:
        """Puts what holds now; `epoch` is what the machine's clock began at, lab s."""
        machine, put = self._machine, self._server.put
        state = machine.state
        since = epoch + machine.since
        outer = state in ("Aborting", "Aborted")
        middle = state in ("Stopping", "Stopped", "Clearing")
        self._state(_BASE, state if outer else "Cleared", since)
        self._state(_MACHINE, "" if outer else state if middle else "Running", since)
        self._state(_EXECUTE, "" if outer or middle else state, since)
        put("Machine/ml:Status/ml:CurMachSpeed", 60.0 if state == "Execute" else 0.0)
        put("Machine/Made", machine.made)
        put("Machine/Defective", machine.defective)
        put("Machine/Runs", machine.runs)

    def _state(self, path: str, word: str, since: float) -> None:
        number = {"Cleared": CLEARED, "Running": RUNNING, "": 0}.get(word)
        self._server.put(f"{path}/0:CurrentState", word, since)
        self._server.put(f"{path}/0:CurrentState/0:Number", NUMBERS.index(word) if number is None else number, since)
