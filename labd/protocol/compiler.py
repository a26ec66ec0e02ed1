"""From a protocol's model to its program; every name, type, unit and bound is checked on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from labd.expr import ANYTHING, Expression, did_you_mean
from labd.files.problems import Problem
from labd.files.source import Path
from labd.protocol.abilities import able_units, asked_of_roles, who_lacks
from labd.protocol.calls import Callee
from labd.protocol.facts import LabFacts
from labd.protocol.loader import Protocol
from labd.protocol.model import (
    AskStep,
    CallStep,
    EndState,
    ParallelStep,
    State,
    StepsState,
    UntilSpec,
    WaitStep,
    Window,
    steps_of,
)
from labd.protocol.names import collect
from labd.protocol.program import (
    CallOp,
    DoOp,
    Edge,
    Op,
    Program,
    StateProgram,
    WatchRule,
    Way,
    WindowRule,
    op_conditions,
    op_names,
    op_ways,
    way_names,
)
from labd.protocol.slots import ALWAYS, SECONDS, Slots
from labd.protocol.steps import HELD, Steps
from labd.protocol.values import Slot
from labd.sdk import ROLES

CLEANUP = "cleanup"


def compile_protocol(protocol: Protocol, facts: LabFacts) -> tuple[Program, list[Problem]]:
    """The program, and all problems; with problems, the program is for the checker's graph only."""
    compiler = _Compiler(protocol, facts)
    program = compiler.program()
    return program, compiler.slots.problems


class _Compiler:
    def __init__(self, protocol: Protocol, facts: LabFacts) -> None:
        self.protocol = protocol
        self.facts = facts
        self.slots = Slots(protocol.source, facts)
        self.steps = Steps(protocol, self.slots, self._callees())

    def program(self) -> Program:
        self._roles()
        self.slots.names = collect(self.protocol, self.facts, self.steps.callees, self.slots.tell)
        states = {name: self._state(name, state) for name, state in self.protocol.states.items()}
        if self.protocol.start not in states:
            self.steps.no_state(self.protocol.start, ("start",))
        file, names = self.protocol.file, self.slots.names
        rules = [self._window(window, ("windows", index), states) for index, window in enumerate(file.windows)]
        results = {name: self.slots.slot(raw, ANYTHING, ("results", name)) for name, raw in file.results.items()}
        draft = Program(
            self.protocol.start,
            states,
            names.types,
            frozenset(self.protocol.parameters),
            frozenset(names.assigned),
            cleanup=self._cleanup(),
            results=results,
            declared=names.declared,
        )
        self._abilities(draft)
        return self._with_windows(draft, [rule for rule in rules if rule is not None])

    def _abilities(self, program: Program) -> None:
        """Tells what is asked of a role that no device of the lab can do, or not as many as are needed."""
        for name, asked in asked_of_roles(program).items():
            use = self.protocol.roles.get(name)
            known = self.facts.roles.get(use.role) if use is not None else None
            if use is None or known is None or not known.servers:
                continue
            impossible = [action for action in asked if len(who_lacks(known, action)) == len(known.servers)]
            lab = self.facts.name or "the lab"
            for action in impossible:
                why = "; ".join(f"{device}: {why}" for device, why in who_lacks(known, action).items())
                mend = f"measure it on a {use.role} that can, and name that under `roles` of lab.yaml"
                self.slots.tell("P506", f"no {use.role} of {lab} can do `{name}.{action}`: {why}", asked[action], mend)
            able = able_units(known, asked.keys())
            if not impossible and able < use.channels:
                lacking = {action: who for action in asked if (who := who_lacks(known, action))}
                if not lacking:
                    continue  # there are too few, whatever they can do
                told = "; ".join(f"{action} not on {', '.join(who)}" for action, who in lacking.items())
                has = f"{able} of {use.role}" if able else f"no {use.role}"
                mend = "take two roles, each for what one device can do, and move the sample between them"
                self.slots.tell("P506", f"{lab} has {has} for all of `{name}`: {told}", ("roles", name), mend)

    # ── what it needs ────────────────────────────────────────────────────────────────────────────────────────────
    def _callees(self) -> dict[str, Callee]:
        found: dict[str, Callee] = {}
        for path, step in steps_of(self.protocol.file):
            if not isinstance(step, CallStep) or step.call in found or step.call not in self.protocol.calls:
                continue
            called = self.protocol.calls[step.call]
            program, problems = compile_protocol(called, self.facts)
            if problems:
                mend = f"mend {called.source.name}"
                self.slots.tell("P214", f"`{called.name}` does not pass its check", (*path, "call"), mend)
                self.slots.problems += problems
            found[step.call] = Callee(called, program)
        return found

    def _roles(self) -> None:
        wanted: dict[str, int] = {}
        for name, use in self.protocol.roles.items():
            path: Path = ("roles", name)
            known = self.facts.roles.get(use.role)
            if known is None:
                at = (*path, "role") if (*path, "role") in self.protocol.source.values else path
                self._no_role(use.role, at)
                continue
            wanted[use.role] = wanted.get(use.role, 0) + use.channels
            if known.units is not None and wanted[use.role] > known.units:
                message = f"the protocol needs {wanted[use.role]} of {use.role}, the lab has {known.units}"
                self.slots.tell("P501", message, path)

    def _no_role(self, role: str, path: Path) -> None:
        if role in ROLES:
            served = ", ".join(sorted(self.facts.roles)) or "none"
            mend = f"lab.yaml names the devices of a role; this lab's roles are: {served}"
            self.slots.tell("P201", f"{self.facts.name or 'the lab'} has no {role}", path, mend)
        else:
            mend = did_you_mean(role, self.facts.roles.keys() | ROLES.keys(), "the roles are")
            self.slots.tell("P201", f"there is no role `{role}`", path, mend)

    # ── states ───────────────────────────────────────────────────────────────────────────────────────────────────
    def _state(self, name: str, state: State) -> StateProgram:
        path: Path = ("states", name)
        if name in ("hold", CLEANUP):
            self.slots.tell("P211", f"`{name}` is a word of the language", path, "choose another name")
        if isinstance(state, EndState):
            return StateProgram(name, end=state.end)
        if isinstance(state, StepsState):
            ops = self.steps.compile(state.steps, (*path, "steps"))
        else:
            ops = self.steps.compile(state.body, path, single=True)
        ways = self._ways(state.ways, path)
        catch: dict[str, Way] = {}
        if state.catch is not None:
            for kind in type(state.catch).model_fields:
                target = getattr(state.catch, kind)
                if target is not None:
                    catch[kind] = self.steps.way(target, (*path, "catch", kind))
        limit = None
        if state.visit_limit is not None:
            otherwise = self.steps.way(state.visit_limit.otherwise, (*path, "max_visits", "otherwise"))
            limit = (state.visit_limit.times, otherwise)
        watches = tuple(self._watch(watch, (*path, "watch", index)) for index, watch in enumerate(state.watch))
        roles = self._roles_of(ops, ways, watches)
        return StateProgram(name, ops, ways, catch, watches, limit, roles=roles)

    def _watch(self, watch: Any, path: Path) -> WatchRule:
        seconds = Slot(ANYTHING, 0.0)
        if watch.for_ is not None:
            seconds = self.slots.duration(watch.for_, (*path, "for"), SECONDS)
        condition = self.slots.condition(watch.if_, (*path, "if"))
        signals = {name for name, *_ in condition.names if name in self.protocol.roles}
        if condition is not ALWAYS and not signals:
            mend = "watch a signal, such as `cycler.voltage`; decide about values in `next`"
            self.slots.tell("P314", "this can never change while the state is active", (*path, "if"), mend)
        return WatchRule(condition, seconds, self.steps.way(watch.go, (*path, "go")), path)

    def _roles_of(
        self, ops: tuple[Op, ...], ways: tuple[tuple[Expression | None, Way], ...], watches: tuple[WatchRule, ...]
    ) -> frozenset[str]:
        used: set[str] = set()
        for op in ops:
            used |= {op.role} if isinstance(op, DoOp) else set()
            used |= set(op.roles.values()) if isinstance(op, CallOp) else set()
            used |= {name[0] for name in op_names(op)}
            used |= {name[0] for condition in op_conditions(op) for name in condition.names}
            used |= {name[0] for way in op_ways(op) for name in way_names(way)}
        for condition, way in (*ways, *((watch.condition, watch.way) for watch in watches)):
            used |= {name[0] for name in way_names(way)}
            if condition is not None:
                used |= {name[0] for name in condition.names}
        return frozenset(used & self.protocol.roles.keys())

    def _ways(self, branches: Any, path: Path) -> tuple[tuple[Expression | None, Way], ...]:
        found: list[tuple[Expression | None, Way]] = []
        listed = (*path, "next", 0) in self.protocol.source.values
        for index, branch in enumerate(branches):
            at: Path = (*path, "next", index) if listed else (*path, "next")
            condition = None
            if branch.if_ is not None:
                condition = self.slots.condition(branch.if_, (*at, "if"))
                if index == len(branches) - 1:
                    message = "the last way has a condition: what if none holds?"
                    self.slots.tell("P304", message, (*at, "if"), "add `- {go: …}`")
            elif index < len(branches) - 1:
                mend = "give this one an `if`, or put it last"
                self.slots.tell("P304", "the ways after this one are never taken: it has no condition", at, mend)
            found.append((condition, self.steps.way(branch.go, (*at, "go") if listed else at)))
        return tuple(found)

    # ── windows, cleanup ─────────────────────────────────────────────────────────────────────────────────────────
    def _window(self, window: Window, path: Path, states: Mapping[str, StateProgram]) -> WindowRule | None:
        begin = self._edge(window.from_, (*path, "from"), states)
        finish = self._edge(window.to, (*path, "to"), states)
        within = self.slots.duration(window.within, (*path, "within")) if window.within is not None else None
        at_least = None
        if window.at_least is not None:
            at_least = self.slots.duration(window.at_least, (*path, "at_least"), SECONDS)
        if within is None and at_least is None:
            self.slots.tell("P312", "this window says no time", path, "add `within: 4 min`, or `at_least: 10 min`")
        if at_least is not None and finish is not None and finish[1] == "end":
            mend = "let it lead to the state's start"
            self.slots.tell("P312", "when a state ends cannot be put off", (*path, "at_least"), mend)
        if window.otherwise is not None and within is None:
            self.slots.tell("P312", "`otherwise` without `within`: when?", (*path, "otherwise"), "add `within: 4 min`")
        otherwise = self.steps.way(window.otherwise, (*path, "otherwise")) if window.otherwise is not None else HELD
        if begin is None or finish is None:
            return None
        return WindowRule(begin, finish, within, at_least, otherwise, path)

    def _edge(self, text: str, path: Path, states: Mapping[str, StateProgram]) -> Edge | None:
        name, _, side = text.partition(".")
        state = states.get(name)
        if state is None:
            self.steps.no_state(name, path)
            return None
        if not any(isinstance(op, (DoOp, CallOp)) for op in state.ops):
            if not self.slots.problems:  # else the action may be there, and wrong
                message = f"`{name}` has no action: it neither starts nor ends"
                self.slots.tell("P312", message, path, "name a state that does something")
            return None
        return (name, "start" if side == "start" else "end")

    def _cleanup(self) -> StateProgram | None:
        steps = self.protocol.file.cleanup
        if not steps:
            return None
        for path, step in steps_of(self.protocol.file):
            waits = isinstance(step, WaitStep) and isinstance(step.wait, UntilSpec) and step.wait.within is None
            if path[0] == "cleanup" and (isinstance(step, (AskStep, CallStep, ParallelStep)) or waits):
                mend = "cleanup has `do`, `wait`, `set`, `if` and `repeat`, and always ends by itself"
                self.slots.tell("P313", "this has no place in cleanup", path, mend)
        ops = self.steps.compile(steps, ("cleanup",))
        return StateProgram(CLEANUP, ops, roles=self._roles_of(ops, (), ()))

    def _with_windows(self, program: Program, windows: list[WindowRule]) -> Program:
        """The program with its windows, and the states in which each may expire."""
        after = {name: set(program.successors(name)) for name in program.states}
        inside: list[frozenset[str]] = []
        for rule in windows:
            begin, finish = rule.begin[0], rule.finish[0]
            found = _following(after, begin)
            if finish not in found and not (begin == finish and rule.begin[1] != rule.finish[1]):
                message = f"no way leads from `{begin}` to `{finish}`: this window is never closed"
                self.slots.tell("P312", message, (*rule.path, "to"), "name states that follow each other")
            # Also behind `finish`, where that may be left before its action was sent, and entered again; not past
            # `begin`, where the window begins anew.
            before = {name: {one for one in after if name in after[one] and one != begin} for name in after}
            inside.append(frozenset(found & _following(before, finish)) | {begin, finish})
        return replace(program, windows=tuple(windows), inside=tuple(inside))


def _following(edges: Mapping[str, set[str]], start: str) -> set[str]:
    """All that one comes to from `start`, by one edge or more."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        more = edges[waiting.pop()] - found
        found |= more
        waiting += more
    return found
