"""A machine with PackML's states behind an OPC UA server: with the nodes of PackML 1.01, or of LADS 1.0."""

from __future__ import annotations

from typing import Any

from labd import clock
from simulators._kit.opcua import UaServer
from simulators._kit.simulator import Bench, Simulator
from simulators._kit.trial import Trial
from simulators.faults.knobs import switch
from simulators.opcua.lads import LadsNodes
from simulators.opcua.machine import Machine
from simulators.opcua.packml import PackMlNodes

_NODES: dict[str, type[PackMlNodes | LadsNodes]] = {"packml": PackMlNodes, "lads": LadsNodes}


_TRIAL = Trial(
    name="machine",
    settings={"address": "opc.tcp://127.0.0.1:0", "profile": "packml"},
    acts=(("start", {"recipe": "default"}), ("reset", {}), ("stop", {}), ("clear", {})),
    effect=lambda simulator: {"runs": simulator.machine.runs, "made": simulator.machine.made},
)


class MachineSimulator(Simulator):
    """The machine `<name>`. Settings: `address`, `profile` (`packml` or `lads`; another one: option `nodes`).

    Options: `nodes`, `programs` (name: s; the first is what runs without a name), `times` (state: s), `users`,
    `certificate`, `private_key`, `nodesets`, `seed`, `faults`.

    Faults: those of `UaServer`, and, read when they matter (runs count from 1):
        stuck (bool): no state ends by itself. deaf (bool): orders are taken and nothing comes of them.
        abort_on, hold_on, stop_on ([runs]): the machine aborts, holds or stops in mid-run.
        defect_on ([runs]): what it makes is defective.
    """

    trial = _TRIAL

    FAULTS = {"busy_stuck": switch("stuck"), "ignored": switch("deaf")}

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        options = bench.options
        kind = str(options.get("nodes") or bench.settings.get("profile", "packml"))
        if kind not in _NODES:
            raise ValueError(f"simulator: nodes: {kind!r} is none of {', '.join(_NODES)}")
        self.machine = Machine(
            {str(name): float(seconds) for name, seconds in (options.get("programs") or {"default": 20}).items()},
            {str(state): float(seconds) for state, seconds in (options.get("times") or {}).items()},
            self.world.memory(self.name),
            self.faults,
            first="Stopped" if kind == "lads" else "Idle",
        )
        self.server = UaServer(_NODES[kind].namespaces, self._advance, options, self.faults)
        self._nodes = _NODES[kind](self.server, self.machine)
        self._ahead = 0.0

    async def start(self) -> dict[str, Any]:
        """Switches the machine on; gives `address`.

        Raises:
            OSError: the port is taken.
        """
        self.machine.advance(self._now())
        await self.server.prepare()
        await self._nodes.add()
        address = str(self.bench.settings.get("address", "opc.tcp://127.0.0.1:4840"))
        return {"address": await self.server.start(address)}

    async def stop(self) -> None:
        """Switches the server off."""
        await self.server.stop()
        self.world.save()

    def step(self, dt: float) -> None:
        """Lets so many seconds pass for the machine, beside the lab's own time."""
        self._ahead += dt
        self.machine.advance(self._now())

    def _now(self) -> float:
        return clock.monotonic() + self._ahead

    def _advance(self) -> None:
        self.machine.advance(self._now())
        self._nodes.tell(clock.now().timestamp() - self._now())


SIMULATOR = MachineSimulator
