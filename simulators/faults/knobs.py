"""What a simulator declares of the faults that only it can have: a few lines, each a word and what it switches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from simulators.faults.words import Takes

MANY = 1_000_000_000
"""What a switch that counts down begins with when nothing is said: more than there will ever be."""


@dataclass(frozen=True, slots=True)
class Knob:
    """One fault of one kind of device.

    Args:
        begin: is called with the simulator, what the fault takes, and how many times (None: until it ends).
        end: is called with the simulator.
        unit: of the word's amount, where it takes one; `text` for a text.
        default: of the amount; None: it must be said.
        takes: what it takes besides.
        times: whether it can end by itself after `times`.
        spent: whether it has happened as often as it was to.
        anew: whether it is begun anew after a power cycle, since it is no switch that is kept.
    """

    begin: Callable[[Any, Mapping[str, Any], int | None], None]
    end: Callable[[Any], None]
    unit: str | None = None
    default: object = None
    takes: Mapping[str, Takes] = field(default_factory=dict)
    times: bool = False
    spent: Callable[[Any], bool] = lambda _: False
    anew: bool = False


def switch(
    key: str,
    value: object = True,
    *,
    unit: str | None = None,
    default: object = None,
    takes: Mapping[str, Takes] | None = None,
    counts: bool = False,
    times: bool = False,
    make: Callable[[Mapping[str, Any], int | None], object] | None = None,
) -> Knob:
    """A knob that sets `simulator.faults[key]`, and takes it out again at its end.

    Args:
        key: the switch.
        value: what it is set to.
        unit: the fault's amount is of this unit, and is what the switch is set to.
        default: the amount when none is said.
        takes: what the fault takes besides.
        counts: the switch is a number of times that the simulator counts down.
        times: whether `make` knows what to do with how many times.
        make: makes the value, of what the fault takes and how many times.
    """

    def begin(simulator: Any, given: Mapping[str, Any], often: int | None) -> None:
        if make is not None:
            found = make(given, often)
        elif counts:
            found = often or MANY
        else:
            found = given["amount"] if unit is not None else value
        simulator.faults[key] = found

    def end(simulator: Any) -> None:
        simulator.faults.pop(key, None)

    def spent(simulator: Any) -> bool:
        return not simulator.faults.get(key)

    return Knob(begin, end, unit, default, takes or {}, times=counts or times, spent=spent)


def act(begin: str, end: str | None = None) -> Knob:
    """A knob that calls a method of the simulator, and another one at its end."""

    def ended(simulator: Any) -> None:
        if end is not None:
            getattr(simulator, end)()

    return Knob(lambda simulator, _given, _times: getattr(simulator, begin)(), ended, anew=True)


def of_next(key: str, counter: str) -> Knob:
    """A knob for a switch that lists the numbers at which it happens: those of the next ones that a counter counts.

    Args:
        key: the switch.
        counter: the name of the simulator's counter.
    """

    def begin(simulator: Any, _given: Mapping[str, Any], times: int | None) -> None:
        first = simulator.COUNTERS[counter](simulator) + 1
        simulator.faults[key] = range(first, first + (times or MANY))

    def end(simulator: Any) -> None:
        simulator.faults.pop(key, None)

    def spent(simulator: Any) -> bool:
        hit: range | None = simulator.faults.get(key)
        return hit is None or simulator.COUNTERS[counter](simulator) >= hit.stop - 1

    return Knob(begin, end, times=True, spent=spent)
