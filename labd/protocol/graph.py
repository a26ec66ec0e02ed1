"""What follows from how states lead to each other: reachability, bounds on cycles, names used before they are set."""

from __future__ import annotations

from collections.abc import Iterator

from labd.files.problems import Problem
from labd.files.source import Path, Source
from labd.protocol.program import (
    AskOp,
    DoOp,
    Hold,
    JumpOp,
    Op,
    Program,
    SetOp,
    StateProgram,
    UnlessOp,
    Way,
    op_names,
    way_names,
    way_states,
)


def check_graph(program: Program, source: Source, *, whole: bool) -> Iterator[Problem]:
    """Problems of the whole; the program's targets all exist. `whole` says that no step of it is missing."""
    reached = _reachable(program, program.start)
    for name in program.states:
        if name not in reached:
            mend = "lead to it, or delete it"
            yield source.problem("P302", f"no way leads to `{name}`", ("states", name), mend, key=True)
    yield from _without_next(program, source)
    yield from _without_end(program, source, reached)
    yield from _unbounded(program, source)
    if whole:
        yield from _unset(program, source, reached)


def _reachable(program: Program, start: str) -> dict[str, None]:
    found: dict[str, None] = {start: None}
    waiting = [start]
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
            waiting += _following(state, at)
    return False


def _following(state: StateProgram, at: int) -> list[int]:
    match state.ops[at]:
        case JumpOp(to=to):
            return [to]
        case UnlessOp(to=to):
            return [at + 1, to]
        case AskOp(choices=choices) if choices:
            return []
        case _:
            return [at + 1]


def _without_next(program: Program, source: Source) -> Iterator[Problem]:
    for name, state in program.states.items():
        if state.end is None and not state.ways and state.ops and _falls_through(state):
            mend = "say which state follows: `next: done`"
            yield source.problem("P112", f"`next` is missing in `{name}`", ("states", name), mend)


def _without_end(program: Program, source: Source, reached: dict[str, None]) -> Iterator[Problem]:
    """A hold counts as an end: there a person decides."""
    good = {name for name, state in program.states.items() if state.end or any(_holds(state))}
    changed = True
    while changed:
        changed = False
        for name in program.states:
            if name not in good and any(target in good for target in program.successors(name)):
                good.add(name)
                changed = True
    for name, state in program.states.items():
        if name in reached and name not in good and state.targets():
            mend = "let a way lead to a state with `end`"
            if any(True for _ in state.targets()):
                yield source.problem("P303", f"from `{name}` no end can be reached", ("states", name), mend, key=True)


def _holds(state: StateProgram) -> Iterator[bool]:
    for way in state.targets():
        yield isinstance(way, Hold)


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


# ── names before they are set ────────────────────────────────────────────────────────────────────────────────────
Place = tuple[str, int]


def _unset(program: Program, source: Source, reached: dict[str, None]) -> Iterator[Problem]:
    known = _assigned_before(program)
    for name in reached:
        state = program.states[name]
        for at, op in enumerate(state.ops):
            have = known.get((name, at))
            if have is not None:
                yield from _missing(program, source, op_names(op), have, op.path)
        have = known.get((name, len(state.ops)))
        if have is not None:
            for index, (condition, way) in enumerate(state.ways):
                path: Path = ("states", name, "next", index, "if")
                used = way_names(way) | (condition.names if condition is not None else frozenset())
                yield from _missing(program, source, used, have, path)


def _missing(
    program: Program, source: Source, used: frozenset[tuple[str, ...]], have: frozenset[str], path: Path
) -> Iterator[Problem]:
    for name in sorted({parts[0] for parts in used} & (program.assigned - have)):
        mend = "let every way here pass the step that sets it"
        yield source.problem("P307", f"`{name}` has no value yet on some way here", path, mend)


def _assigned_before(program: Program) -> dict[Place, frozenset[str]]:
    """The names that surely have a value before each step, whichever way the run came: a fixed point over all ways."""
    known: dict[Place, frozenset[str]] = {(program.start, 0): frozenset()}
    waiting: list[Place] = [(program.start, 0)]
    while waiting:
        place = waiting.pop()
        for following, have in _flow(program, place, known[place]):
            before = known.get(following)
            after = have if before is None else before & have
            if after != before:
                known[following] = after
                waiting.append(following)
    return known


def _flow(program: Program, place: Place, have: frozenset[str]) -> Iterator[tuple[Place, frozenset[str]]]:
    """Where a run may be next, and what surely has a value there."""
    name, at = place
    state = program.states[name]
    leaving: list[tuple[Way, frozenset[str]]] = []
    if at >= len(state.ops):
        leaving += [(way, have) for _, way in state.ways]
    else:
        op = state.ops[at]
        after = have | _assigns(op)
        for following in _following(state, at):
            yield (name, following), after
        if isinstance(op, AskOp):
            leaving += [(way, after) for way in op.choices.values()]
            leaving += [(op.otherwise, have)] if op.within is not None else []
        if isinstance(op, DoOp):
            leaving += [(way, have) for way in state.catch.values()]
    for way, known in leaving:
        for target in way_states(way):
            yield from _enter(program, target, known)


def _assigns(op: Op) -> frozenset[str]:
    if isinstance(op, SetOp):
        return frozenset(op.values)
    return frozenset({op.as_}) if isinstance(op, (DoOp, AskOp)) and op.as_ is not None else frozenset()


def _enter(program: Program, target: str, have: frozenset[str]) -> Iterator[tuple[Place, frozenset[str]]]:
    yield (target, 0), have
    limit = program.states[target].limit
    for other in way_states(limit[1]) if limit is not None else ():
        yield (other, 0), have
