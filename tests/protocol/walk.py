"""Walking a machine by hand: what stands where, and the usual answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from labd.protocol import Machine, Protocol, bind_parameters, load
from labd.protocol.messages import Ask, Command, Decided, Do, Done, Enter, Entered, Event, Sleep

OUTSIDE: dict[str, dict[str, Any]] = {
    "sample": {"id": "cell-1", "position": "ot2/3/A1", "home": "ot2/3/A1"},
    "run": {"id": "run-1"},
    "press": {"place": "press/nest", "device": "press", "force": 0.0},
    "cycler": {"place": "stat1/cell", "device": "stat1", "voltage": 3.1},
    "robot": {"place": "", "device": "ot2"},
}

RESULTS: dict[str, dict[str, Any]] = {
    "transfer": {"volume": 35.0, "source": "ot2/2/A1", "destination": "ot2/3/A1", "tip": "ot2/1/A1"},
    "crimp": {"peak_force": 7.8, "dwell": 2.0, "displacement": 1.1, "cycles": 5},
    "cycle": {"capacities": [1.9], "coulombic_efficiencies": [88.0], "capacity": 1.9, "reason": "done"},
}


def machine(text: str, **parameters: Any) -> Machine:
    protocol = load(text)
    walked = Machine(protocol, bind_parameters(protocol, parameters))
    walked.update(OUTSIDE)
    return walked


def last(commands: list[Command]) -> Command:
    """The command that waits for something; the ones before it are decisions."""
    assert all(isinstance(command, Decided) for command in commands[:-1])
    return commands[-1]


def enter(walked: Machine, commands: list[Command]) -> Command:
    """Reserves what the state needs, and gives its first command."""
    command = last(commands)
    assert isinstance(command, Enter)
    return last(walked.feed(Entered(command.state)))


def done(walked: Machine, command: Command, result: Mapping[str, Any] | None = None) -> list[Command]:
    assert isinstance(command, Do)
    return walked.feed(Done(command.step_id, RESULTS.get(command.action, {}) if result is None else result))


def again(protocol: Protocol, parameters: Mapping[str, Any], walked: Machine) -> Machine:
    """The machine after a crash: from its snapshot as JSON."""
    taken = json.loads(json.dumps(walked.snapshot()))
    restored = Machine.restore(protocol, parameters, taken, program=walked._program)
    restored.update(OUTSIDE)
    return restored


def step_of(command: Command) -> str:
    assert isinstance(command, (Do, Ask, Sleep))
    return command.step_id


__all__ = ["OUTSIDE", "RESULTS", "Event", "again", "done", "enter", "last", "machine", "step_of"]
