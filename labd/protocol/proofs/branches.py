"""Conditions that never hold, or always: ways that no run takes, and loops that would keep the daemon busy."""

from __future__ import annotations

from collections.abc import Iterator

from labd.expr import Expression, narrowed
from labd.files.problems import Problem
from labd.files.source import Path
from labd.protocol.program import (
    AskOp,
    CallOp,
    DoOp,
    Goto,
    Op,
    Program,
    StateProgram,
    UnlessOp,
    UntilOp,
    WaitOp,
    way_states,
)
from labd.protocol.proofs.blocks import Block, Either, Loop, Together, blocks, leaves
from labd.protocol.proofs.case import Case
from labd.protocol.proofs.knowledge import Place
from labd.protocol.proofs.values import places

MOST_TURNS = 1_000
"""Turns of a loop that takes no time; the daemon does nothing else meanwhile."""


# ── conditions ───────────────────────────────────────────────────────────────────────────────────────────────────
def branch_problems(case: Case) -> Iterator[Problem]:
    """What a condition says about itself is an error, what only the parameters' bounds say is a warning."""
    for place, op in places(case):
        if isinstance(op, UnlessOp):
            yield from _step_if(case, place, op)
        elif isinstance(op, UntilOp) and _never(op.condition):
            message = f"`{op.condition.text}` never holds: this would wait in vain"
            yield case.problem("P304", message, (*op.path, "wait", "until"), "mend the condition")
    for state in case.program.states.values():
        yield from _next(case, state)
        for watch in state.watches:
            if _never(watch.condition):
                message = f"`{watch.condition.text}` never holds"
                yield case.problem("P304", message, (*watch.path, "if"), "mend the condition, or delete the watch")


def _step_if(case: Case, place: Place, op: UnlessOp) -> Iterator[Problem]:
    at = (*op.path, "if")
    if _never(op.condition):
        yield case.problem("P304", f"`{op.condition.text}` never holds", at, "mend the condition, or delete the `if`")
    elif _always(op.condition):
        mend = "mend the condition, or take its steps out of the `if`"
        yield case.problem("P304", f"`{op.condition.text}` always holds", at, mend)
    else:
        yield from _by_parameters(case, place, op.condition, at)


def _next(case: Case, state: StateProgram) -> Iterator[Problem]:
    place = (state.name, len(state.ops))
    for index, (condition, _) in enumerate(state.ways):
        if condition is None or place not in case.known:
            continue
        at: Path = ("states", state.name, "next", index, "if")
        if _never(condition):
            mend = "mend the condition, or delete this way"
            yield case.problem("P304", f"`{condition.text}` never holds: this way is never taken", at, mend)
        elif _always(condition):
            message = f"`{condition.text}` always holds: the ways after this one are never taken"
            yield case.problem("P304", message, at, "mend the condition, or delete the ways after it")
        else:
            yield from _by_parameters(case, place, condition, at)


def _by_parameters(case: Case, place: Place, condition: Expression, at: Path) -> Iterator[Problem]:
    """Told only of what is written for its own sake: for one run's values many conditions are decided."""
    if case.given is not None or not any(parts[0] in case.program.parameters for parts in condition.names):
        return
    for truth, word in ((True, "never"), (False, "always")):
        if case.rules_out(condition, truth, place):
            mend = "look at the bounds of the parameters, and at the conditions before this one"
            message = f"`{condition.text}` {word} holds for what the parameters may be"
            yield case.warning("W104", message, at, mend)
            return


def _never(condition: Expression) -> bool:
    return narrowed({}, ((condition, True),)) is None


def _always(condition: Expression) -> bool:
    return narrowed({}, ((condition, False),)) is None


# ── loops that take no time ──────────────────────────────────────────────────────────────────────────────────────
def loop_problems(case: Case) -> Iterator[Problem]:
    """Loops and cycles of states that only compute, and go round too often."""
    for name, state in case.program.states.items():
        if (name, 0) in case.known:
            yield from _busy(case, name, blocks(state.ops), 1)
    yield from _busy_states(case)


def _busy(case: Case, state: str, block: Block, turns: float) -> Iterator[Problem]:
    for part in block:
        match part:
            case Either():
                yield from _busy(case, state, part.then, turns)
                yield from _busy(case, state, part.otherwise, turns)
            case Together():
                for branch in part.branches.values():
                    yield from _busy(case, state, branch, turns)
            case Loop():
                yield from _loop(case, state, part, turns)
            case _:
                pass


def _loop(case: Case, state: str, loop: Loop, outer: float) -> Iterator[Problem]:
    takes_time = any(_takes_time(leaf.op) for leaf in leaves(loop.body))
    own = case.ranges.turns(loop.op, case.ranges.at((state, loop.at))).high
    turns = 1 if takes_time else outer * own
    inner = list(_busy(case, state, loop.body, turns))
    yield from inner
    if inner or takes_time or not MOST_TURNS < turns < float("inf"):
        return
    if loop.op.times is not None and loop.op.times.expression is not None and outer == 1:
        over = case.compile(f"({loop.op.times.expression.text}) <= {MOST_TURNS}")
        if over is None or case.counterexample(over, (state, loop.at)) is None:
            return  # no run surely goes round so often
    message = f"this goes round up to {turns:,.0f} times without taking any time: the daemon would do nothing else"
    mend = f"let it have at most {MOST_TURNS:,} turns, or a step that takes time"
    yield case.problem("P315", message, (*loop.op.path, "repeat"), mend)


def _busy_states(case: Case) -> Iterator[Problem]:
    """A cycle of states without any step that takes time, all of which may be entered too often."""
    program = case.program
    idle = {
        name: state.limit[0]
        for name, state in program.states.items()
        if state.limit is not None and state.end is None and not any(map(_takes_time, state.ops))
    }
    for name, times in idle.items():
        cycle = _cycle(program, name) if times > MOST_TURNS else []
        if cycle:
            way = " → ".join((*cycle, name))
            message = f"this goes round up to {times:,} times without taking any time: {way}"
            mend = f"`max_visits` is at most {MOST_TURNS:,} there, or one of them takes time"
            yield case.problem("P315", message, ("states", name, "max_visits"), mend)


def _cycle(program: Program, start: str) -> list[str]:
    """A cycle through a state by states that take no time."""
    before: dict[str, str] = {}
    waiting = [start]
    for current in waiting:
        for target in _ways_on(program, current):
            if target == start:
                found = [current]
                while found[-1] != start:
                    found.append(before[found[-1]])
                return found[::-1]
            state = program.states[target]
            free = state.end is None and not any(map(_takes_time, state.ops))
            if free and target not in before and (state.limit is None or state.limit[0] > MOST_TURNS):
                before[target] = current
                waiting.append(target)
    return []


def _ways_on(program: Program, name: str) -> Iterator[str]:
    for _, way in program.states[name].ways:
        if isinstance(way, Goto):
            yield from way_states(way)


def _takes_time(op: Op) -> bool:
    return isinstance(op, (DoOp, WaitOp, UntilOp, AskOp, CallOp))
