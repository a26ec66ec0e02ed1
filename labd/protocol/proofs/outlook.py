"""What lies ahead of a run when all goes well: from each state the usual way to an end, and how long each takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from labd.protocol.program import Program
from labd.protocol.proofs.paths import usual_exits, way_to_an_end
from labd.protocol.proofs.ranges import Ranges, default_ranges
from labd.protocol.proofs.times import ANSWER, Times


@dataclass(frozen=True, slots=True)
class Outlook:
    """The usual ways of one program, worked out once.

    Args:
        start: where it begins.
        seconds: what each state is expected to take, for one visit; what nobody knows counts as nothing.
        vague: states with an action or a wait whose time nobody knows.
        exits: where each state leads when all goes well, the likeliest first.
        ends: how each state that is an end ends.
    """

    start: str
    seconds: Mapping[str, float]
    vague: frozenset[str]
    exits: Mapping[str, tuple[str, ...]]
    ends: Mapping[str, str]
    _ways: dict[str, tuple[str, ...]] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, program: Program, parameters: Mapping[str, Any]) -> Outlook:
        """For a run with these parameters, as `bind_parameters` gave them."""
        texts = {
            name: value
            for name, one in program.declared.items()
            if isinstance(value := parameters.get(name, one.default), str)
        }
        usual = Ranges(program, default_ranges(program.declared, parameters), texts)
        times = Times(program, usual, usual)
        states = {name: times.state(name) for name, state in program.states.items() if state.end is None}
        return cls(
            program.start,
            {name: one.expected for name, one in states.items()},
            frozenset(name for name, one in states.items() if set(one.unknown) - {ANSWER}),
            {name: usual_exits(program, name, usual) for name in states},
            {name: state.end for name, state in program.states.items() if state.end is not None},
        )

    def after(self, state: str) -> tuple[str, ...] | None:
        """The states that follow one on its usual way, an end left out; None where no way leads to an end."""
        if state not in self._ways:
            self._ways[state] = way_to_an_end(state, self.exits, self.ends)
        way = self._ways[state]
        return way[1:-1] if way[-1] in self.ends else None
