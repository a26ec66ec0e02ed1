"""What still runs, and is worth a look: warnings that are rare in a good protocol."""

from __future__ import annotations

from collections.abc import Iterator

from labd.files.problems import Problem
from labd.protocol.model import EndState
from labd.protocol.program import (
    AskOp,
    CallOp,
    DoOp,
    Op,
    Program,
    SetOp,
    StateProgram,
    UntilOp,
    op_conditions,
    op_names,
    way_names,
)
from labd.protocol.proofs.case import Case
from labd.sdk import Effect


def hints(case: Case) -> Iterator[Problem]:
    """All warnings that need no numbers; none about one run's values."""
    if case.given is not None:
        return
    yield from _endless(case)
    yield from _unnamed(case)
    yield from _unused(case)
    yield from _vain_catches(case)
    yield from _resting(case)


def _resting(case: Case) -> Iterator[Problem]:
    """Roles that nobody serves for the time being."""
    for name, use in case.protocol.roles.items():
        known = case.facts.roles.get(use.role)
        if known is not None and known.resting:
            message = f"no {use.role} of the lab is given to runs now: {known.resting}"
            yield case.warning(
                "W109", message, ("roles", name), "a run waits for its end: labd maintenance DEVICE --off"
            )


def _states(program: Program) -> Iterator[StateProgram]:
    yield from program.states.values()
    if program.cleanup is not None:
        yield program.cleanup


def _endless(case: Case) -> Iterator[Problem]:
    """Steps that nothing ends."""
    for state in _states(case.program):
        for op in state.ops:
            if isinstance(op, DoOp) and op.within is None and op.action.timeout is None:
                message = f"`{op.name}` may take for ever: neither this step nor its driver says how long"
                yield case.warning("W101", message, (*op.path, "do"), "add `within: 60 s`")
            if isinstance(op, UntilOp) and op.within is None:
                message = f"this waits for ever when `{op.condition.text}` never comes about"
                yield case.warning("W101", message, (*op.path, "wait", "until"), "add `within: 30 min`")


def _unnamed(case: Case) -> Iterator[Problem]:
    """One warning for all states without a summary; a question says itself what it is about."""
    unnamed = [
        name
        for name, state in case.protocol.states.items()
        if not isinstance(state, EndState) and not state.summary and not _is_question(case.program.states[name])
    ]
    if unnamed:
        told = ", ".join(f"`{name}`" for name in unnamed[:6]) + (", …" if len(unnamed) > 6 else "")
        has = "has" if len(unnamed) == 1 else "have"
        mend = "say in a line what it is for: `summary: Wet the separator.`"
        yield case.warning("W102", f"{told} {has} no `summary`", ("states", unnamed[0]), mend, key=True)


def _is_question(state: StateProgram) -> bool:
    return len(state.ops) == 1 and isinstance(state.ops[0], AskOp)


def _unused(case: Case) -> Iterator[Problem]:
    used = {name for state in _states(case.program) for name in _names(state)}
    used |= {parts[0] for slot in case.program.results.values() if slot.expression for parts in slot.expression.names}
    for rule in case.program.windows:
        slots = [slot for slot in (rule.within, rule.at_least) if slot is not None and slot.expression is not None]
        used |= {parts[0] for slot in slots if slot.expression for parts in slot.expression.names}
        used |= {parts[0] for parts in way_names(rule.otherwise)}
    roles = {role for state in _states(case.program) for op in state.ops for role in _roles(op)}
    for name in case.protocol.parameters:
        if name not in used:
            yield case.warning(
                "W103", f"the parameter `{name}` is never used", ("parameters", name), "delete it", key=True
            )
    for name in case.protocol.roles:
        if name not in used | roles:
            yield case.warning("W103", f"the role `{name}` is never used", ("roles", name), "delete it", key=True)
    told: set[str] = set()
    for state in _states(case.program):
        for op in state.ops:
            for name in op.values if isinstance(op, SetOp) else ():
                if name not in used | told:
                    told.add(name)
                    message = f"the variable `{name}` is set and never used"
                    yield case.warning("W103", message, (*op.path, "set", name), "delete it", key=True)


def _names(state: StateProgram) -> Iterator[str]:
    """All names in a state's expressions, but what a variable only needs to be set again."""
    found: set[tuple[str, ...]] = set()
    for op in state.ops:
        if isinstance(op, SetOp):
            for name, slot in op.values.items():
                known = slot.expression.names if slot.expression is not None else frozenset()
                found |= {parts for parts in known if parts[0] != name}
            continue
        found |= op_names(op)
        for test in op_conditions(op):
            found |= test.names
        if isinstance(op, DoOp) and op.retry is not None and op.retry.condition is not None:
            found |= op.retry.condition.names
    for condition, way in (*state.ways, *((watch.condition, watch.way) for watch in state.watches)):
        found |= way_names(way) | (condition.names if condition is not None else frozenset())
    for way in (*state.catch.values(), *((state.limit[1],) if state.limit is not None else ())):
        found |= way_names(way)
    for watch in state.watches:
        found |= watch.seconds.expression.names if watch.seconds.expression is not None else frozenset()
    yield from {parts[0] for parts in found}


def _roles(op: Op) -> Iterator[str]:
    if isinstance(op, DoOp):
        yield op.role
    elif isinstance(op, CallOp):
        yield from op.roles.values()


def _vain_catches(case: Case) -> Iterator[Problem]:
    """What a state catches though none of its steps can fail so."""
    for state in case.program.states.values():
        actions = [op for op in state.ops if isinstance(op, DoOp)]
        repeatable = [op for op in actions if op.action.effect is not Effect.ONCE]
        waits = any(isinstance(op, UntilOp) for op in state.ops)
        if "timeout" in state.catch and not repeatable and not waits:
            message = "nothing here fails by `timeout`"
            if actions:
                message = f"`{actions[0].name}` is done once: when it is late, its outcome is looked into, never caught"
            path = ("states", state.name, "catch", "timeout")
            yield case.warning("W105", message, path, "delete it", key=True)
        elif state.catch and not actions and not waits:
            message = "nothing here can fail: `catch` is about actions, and waits `until`"
            yield case.warning("W105", message, ("states", state.name, "catch"), "delete it", key=True)
