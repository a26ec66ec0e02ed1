"""What follows from how states lead to each other: reachability, bounds on cycles, names used before they are set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from labd.files.problems import Problem
from labd.files.source import Source
from labd.protocol.program import Hold, Program, StateProgram
from labd.protocol.proofs.knowledge import unset


def check_graph(program: Program, source: Source, *, whole: bool, besides: Iterable[str] = ()) -> Iterator[Problem]:
    """Problems of the whole; the program's targets all exist. `whole` says that no step of it is missing.

    To the states `besides` something leads that is not in the program: a window that is wrong, and was told.
    """
    reached = _reachable(program, program.start, *besides)
    for name in program.states:
        if name not in reached:
            mend = "lead to it, or delete it"
            yield source.problem("P302", f"no way leads to `{name}`", ("states", name), mend, key=True)
    yield from _without_next(program, source)
    yield from _without_end(program, source, reached)
    yield from _unbounded(program, source)
    if whole:
        yield from unset(program, source, reached)


def _reachable(program: Program, *starts: str) -> dict[str, None]:
    found: dict[str, None] = dict.fromkeys(starts)
    waiting = [*found]
    while waiting:
        for target in program.successors(waiting.pop()):
            if target not in found:
                found[target] = None
                waiting.append(target)
    return found


def _falls_through(state: StateProgram) -> bool:
    """Whether some run gets past the last step of a state."""
    seen: set[int] = set()
    waiting = [0]
    while waiting:
        at = waiting.pop()
        if at >= len(state.ops):
            return True
        if at not in seen:
            seen.add(at)
            waiting += state.following(at)
    return False


def _without_next(program: Program, source: Source) -> Iterator[Problem]:
    for name, state in program.states.items():
        if state.end is None and not state.ways and state.ops and _falls_through(state):
            mend = "say which state follows: `next: done`"
            yield source.problem("P112", f"`next` is missing in `{name}`", ("states", name), mend)


def _without_end(program: Program, source: Source, reached: dict[str, None]) -> Iterator[Problem]:
    """A hold counts as an end: there a person decides."""
    good = {name for name, state in program.states.items() if state.end or _holds(program, name)}
    changed = True
    while changed:
        changed = False
        for name in program.states:
            if name not in good and any(target in good for target in program.successors(name)):
                good.add(name)
                changed = True
    for name in program.states:
        if name in reached and name not in good and any(True for _ in program.targets(name)):
            mend = "let a way lead to a state with `end`"
            yield source.problem("P303", f"from `{name}` no end can be reached", ("states", name), mend, key=True)


def _holds(program: Program, state: str) -> bool:
    return any(isinstance(way, Hold) for way in program.targets(state))


def _unbounded(program: Program, source: Source) -> Iterator[Problem]:
    """Cycles of states, none of which has `max_visits`; one problem a knot of them. A hold waits for a person."""
    free = {name for name, state in program.states.items() if state.limit is None and state.end is None}
    told: set[str] = set()
    for name in program.states:
        if name not in free or name in told:
            continue
        cycle = _cycle(program, name, free)
        if cycle is not None:
            told |= set(cycle)
            way = " → ".join((*cycle, cycle[0]))
            mend = f"add `max_visits: 3` to one of them, such as `{cycle[-1]}`"
            message = f"this can go round without end: {way}"
            yield source.problem("P305", message, ("states", name), mend, key=True)


def _cycle(program: Program, start: str, free: set[str]) -> list[str] | None:
    """A shortest cycle through a state by states of `free` only."""
    before: dict[str, str] = {}
    waiting = [start]
    for current in waiting:
        for target in program.successors(current, held=False):
            if target == start:
                found = [current]
                while found[-1] != start:
                    found.append(before[found[-1]])
                return found[::-1]
            if target in free and target not in before:
                before[target] = current
                waiting.append(target)
    return None
