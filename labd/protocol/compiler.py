"""From a protocol's model to its program; every name, type, unit and bound is checked on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic.fields import FieldInfo

from labd.expr import (
    ANYTHING,
    BOOLEAN,
    Expression,
    ExpressionError,
    Flaw,
    Measure,
    Template,
    Text,
    Type,
    compile_expression,
    compile_template,
    did_you_mean,
    dimensioned,
    field_type,
    nearest,
)
from labd.files.problems import Problem
from labd.files.source import Path
from labd.protocol.facts import LabFacts, RoleFacts
from labd.protocol.loader import Protocol
from labd.protocol.messages import Input
from labd.protocol.model import (
    AskStep,
    DoStep,
    EndState,
    HoldTarget,
    IfStep,
    InputSpec,
    SetStep,
    State,
    Step,
    StepsState,
    WaitStep,
)
from labd.protocol.names import Names, collect
from labd.protocol.parameters import check_named, declared
from labd.protocol.program import (
    AskOp,
    DoOp,
    Goto,
    Hold,
    JumpOp,
    Op,
    Program,
    SetOp,
    StateProgram,
    UnlessOp,
    WaitOp,
    Way,
    op_names,
    way_names,
)
from labd.protocol.values import FREE, BadValue, Slot, expression_of, literal, out_of_bounds
from labd.sdk import Action, Bounds, Effect
from labd.sdk.quantities import bounds_of

_CODES = {"syntax": "P209", "name": "P205", "type": "P206", "unit": "P207", "value": "P208"}
_NOWHERE = Hold(Template("", ("",)))
_HELD = Hold(Template("", ("the protocol holds the run here",)))


def compile_protocol(protocol: Protocol, facts: LabFacts) -> tuple[Program, list[Problem]]:
    """The program, and all problems; with problems, the program is for the checker's graph only."""
    compiler = _Compiler(protocol, facts)
    program = compiler.program()
    return program, compiler.problems


@dataclass(slots=True)
class _Compiler:
    protocol: Protocol
    facts: LabFacts
    problems: list[Problem] = field(default_factory=list)
    names: Names = field(default_factory=Names)

    def tell(self, code: str, message: str, path: Path, mend: str = "") -> None:
        self.problems.append(self.protocol.source.problem(code, message, path, mend))

    def program(self) -> Program:
        self._roles()
        self.names = collect(self.protocol, self.facts, self.tell)
        states = {name: self._state(name, state) for name, state in self.protocol.states.items()}
        if self.protocol.start not in states:
            self._no_state(self.protocol.start, ("start",))
        return Program(self.protocol.start, states, self.names.types, frozenset(self.names.assigned))

    def _roles(self) -> None:
        wanted: dict[str, int] = {}
        for name, use in self.protocol.roles.items():
            path: Path = ("roles", name)
            known = self.facts.roles.get(use.role)
            if known is None:
                at = (*path, "role") if (*path, "role") in self.protocol.source.values else path
                mend = did_you_mean(use.role, self.facts.roles, "the roles are")
                self.tell("P201", f"there is no role `{use.role}`", at, mend)
                continue
            wanted[use.role] = wanted.get(use.role, 0) + use.channels
            if known.units is not None and wanted[use.role] > known.units:
                message = f"the protocol needs {wanted[use.role]} of {use.role}, the lab has {known.units}"
                self.tell("P501", message, path)

    # ── states ───────────────────────────────────────────────────────────────────────────────────────────────────
    def _state(self, name: str, state: State) -> StateProgram:
        path: Path = ("states", name)
        if name == "hold":
            self.tell("P211", "`hold` is a word of the language", path, "choose another name")
        if isinstance(state, EndState):
            return StateProgram(name, end=state.end)
        ops: list[Op] = []
        if isinstance(state, StepsState):
            self._steps(state.steps, (*path, "steps"), "", ops)
        else:
            for step in state.body:
                self._step(step, path, "1", ops)
        ways = self._ways(state.ways, path)
        catch: dict[str, Way] = {}
        if state.catch is not None:
            for kind in type(state.catch).model_fields:
                target = getattr(state.catch, kind)
                if target is not None:
                    catch[kind] = self._way(target, (*path, "catch", kind))
        limit = None
        if state.visit_limit is not None:
            limit = (
                state.visit_limit.times,
                self._way(state.visit_limit.otherwise, (*path, "max_visits", "otherwise")),
            )
        return StateProgram(name, tuple(ops), ways, catch, limit, roles=self._roles_of(ops, ways))

    def _roles_of(self, ops: list[Op], ways: tuple[tuple[Expression | None, Way], ...]) -> frozenset[str]:
        used = {op.role for op in ops if isinstance(op, DoOp)}
        names = {name[0] for op in ops for name in op_names(op)}
        for condition, way in ways:
            names |= {name[0] for name in way_names(way)}
            if condition is not None:
                names |= {name[0] for name in condition.names}
        return frozenset((used | names) & self.protocol.roles.keys())

    def _ways(self, branches: Any, path: Path) -> tuple[tuple[Expression | None, Way], ...]:
        found: list[tuple[Expression | None, Way]] = []
        listed = (*path, "next", 0) in self.protocol.source.values
        for index, branch in enumerate(branches):
            at: Path = (*path, "next", index) if listed else (*path, "next")
            condition = None
            if branch.if_ is not None:
                condition = self._expression(branch.if_, BOOLEAN, (*at, "if"))
                if index == len(branches) - 1:
                    self.tell(
                        "P304", "the last way has a condition: what if none holds?", (*at, "if"), "add `- {go: …}`"
                    )
                condition = condition or _always
            elif index < len(branches) - 1:
                mend = "give this one an `if`, or put it last"
                self.tell("P304", "the ways after this one are never taken: it has no condition", at, mend)
            found.append((condition, self._way(branch.go, (*at, "go") if listed else at)))
        return tuple(found)

    def _no_state(self, name: str, path: Path) -> None:
        self.tell(
            "P301", f"there is no state `{name}`", path, did_you_mean(name, self.protocol.states, "the states are")
        )

    def _way(self, target: Any, path: Path) -> Way:
        if isinstance(target, HoldTarget):
            reason = self._template(target.hold, (*path, "hold"))
            for index, name in enumerate(target.continue_at):
                if name not in self.protocol.states:
                    self._no_state(name, (*path, "continue_at", index))
            return Hold(reason, tuple(name for name in target.continue_at if name in self.protocol.states))
        if target == "hold":
            return _HELD
        if target not in self.protocol.states:
            self._no_state(target, path)
            return _NOWHERE
        return Goto(target)

    # ── steps ────────────────────────────────────────────────────────────────────────────────────────────────────
    def _steps(self, steps: tuple[Step, ...], path: Path, prefix: str, ops: list[Op]) -> None:
        for index, step in enumerate(steps):
            if isinstance(step, AskStep) and step.choices and index < len(steps) - 1:
                mend = "put the question last, or leave its `choices` away and ask for an `input`"
                self.tell(
                    "P306", "the steps after this question are never done: it leads elsewhere", (*path, index), mend
                )
            self._step(step, (*path, index), f"{prefix}{index + 1}", ops)

    def _step(self, step: Step, path: Path, label: str, ops: list[Op]) -> None:
        match step:
            case DoStep():
                self._do(step, path, label, ops)
            case WaitStep():
                slot = self._slot(step.wait, dimensioned("duration"), (*path, "wait"), Bounds(min=0.0))
                ops.append(WaitOp(label=label, path=path, seconds=slot))
            case AskStep():
                ops.append(self._ask(step, path, label))
            case SetStep():
                values = {
                    name: self._slot(raw, self.names.types.get(name, ANYTHING), (*path, "set", name))
                    for name, raw in step.set.items()
                }
                ops.append(SetOp(label=label, path=path, values=values))
            case IfStep():
                self._if(step, path, label, ops)

    def _if(self, step: IfStep, path: Path, label: str, ops: list[Op]) -> None:
        condition = self._expression(step.if_, BOOLEAN, (*path, "if")) or _always
        test = len(ops)
        ops.append(JumpOp(label=label, path=path, to=0))  # stands in until both branches are laid out
        self._steps(step.then, (*path, "then"), f"{label}.then.", ops)
        if step.else_:
            end = len(ops)
            ops.append(JumpOp(label=label, path=path, to=0))
            self._steps(step.else_, (*path, "else"), f"{label}.else.", ops)
            ops[end] = JumpOp(label=label, path=path, to=len(ops))
            ops[test] = UnlessOp(label=label, path=path, condition=condition, to=end + 1)
        else:
            ops[test] = UnlessOp(label=label, path=path, condition=condition, to=len(ops))

    def _do(self, step: DoStep, path: Path, label: str, ops: list[Op]) -> None:
        found = self._action(step, path)
        within = None
        if step.within is not None:
            within = self._slot(step.within, dimensioned("duration"), (*path, "within"), Bounds(min=0.001))
        if found is None:
            for name, raw in step.with_.items():  # at least its expressions can be checked
                self._slot(raw, ANYTHING, (*path, "with", name))
            return
        role, known, action = found
        parameters = self._parameters(step, action, known, path)
        ops.append(
            DoOp(
                label=label,
                path=path,
                role=role,
                action=action.name,
                parameters=parameters,
                within=within,
                as_=step.as_,
                once=action.effect is Effect.ONCE,
            )
        )

    def _action(self, step: DoStep, path: Path) -> tuple[str, RoleFacts, Action] | None:
        role, dot, name = step.do.partition(".")
        at = (*path, "do")
        roles = self.protocol.roles
        if role not in roles:
            mend = did_you_mean(role, roles, "the roles here are") if roles else "declare it: `roles: {name: role}`"
            self._inside("P201", f"there is no role `{role}` here", at, 0, len(role), mend)
            return None
        known = self.facts.roles.get(roles[role].role)
        if known is None:
            return None
        if name not in known.actions:
            what = f"{roles[role].role} has no action `{name}`" if dot else "the action is missing"
            mend = did_you_mean(name, known.actions, "it has")
            offset = len(role) + 1 if dot else 0
            self._inside("P202", what, at, offset, len(name) or len(role), mend)
            return None
        return role, known, known.actions[name]

    def _inside(self, code: str, message: str, path: Path, offset: int, length: int, mend: str) -> None:
        problem = self.protocol.source.problem(code, message, path, mend, offset=offset, length=length)
        self.problems.append(problem)

    def _parameters(self, step: DoStep, action: Action, known: RoleFacts, path: Path) -> Mapping[str, Slot]:
        fields = action.parameters.model_fields
        slots: dict[str, Slot] = {}
        meant: set[str | None] = set()  # what a misspelt one stands for is not missing as well
        for name, raw in step.with_.items():
            at = (*path, "with", name)
            if name not in fields:
                mend = did_you_mean(name, fields.keys() - step.with_.keys(), "it has")
                meant.add(nearest(name, fields.keys() - step.with_.keys()))
                problem = self.protocol.source.problem(
                    "P203", f"`{step.do}` has no parameter `{name}`", at, mend, key=True
                )
                self.problems.append(problem)
                continue
            bounds = bounds_of(fields[name]).narrowed(known.limits.get(f"{action.name}.{name}", FREE))
            slots[name] = self._slot(raw, field_type(fields[name]), at, bounds, optional=fields[name].default is None)
        for name, declared_field in fields.items():
            if declared_field.is_required() and name not in step.with_ and name not in meant:
                mend = f"add `with: {{{name}: {_example(declared_field)}}}`"
                at = (*path, "with") if step.with_ else (*path, "do")
                self.tell("P204", f"`{step.do}` needs `{name}`", at, mend)
        return slots

    def _ask(self, step: AskStep, path: Path, label: str) -> AskOp:
        if not step.choices and step.input is None:
            mend = "add `choices: {yes: state}`, or an `input`"
            self.tell("P306", "this question has neither `choices` nor an `input`", (*path, "ask"), mend)
        if step.otherwise is not None and step.within is None:
            self.tell("P306", "`otherwise` without `within`: when?", (*path, "otherwise"), "add `within: 30 min`")
        choices = {name: self._way(target, (*path, "choices", name)) for name, target in step.choices.items()}
        within = None
        if step.within is not None:
            within = self._slot(step.within, dimensioned("duration"), (*path, "within"), Bounds(min=0.001))
        late = Hold(Template("", ("nobody has answered in time",)))
        otherwise = self._way(step.otherwise, (*path, "otherwise")) if step.otherwise is not None else late
        return AskOp(
            label=label,
            path=path,
            text=self._template(step.ask.strip(), (*path, "ask")),
            choices=choices,
            input=self._input(step.input, (*path, "input")) if step.input is not None else None,
            within=within,
            otherwise=otherwise,
            as_=step.as_,
        )

    def _input(self, spec: InputSpec, path: Path) -> Input | None:
        found = declared(spec, path, self.tell)
        if found is None:
            return None
        unit = found.type.dimension.unit if isinstance(found.type, Measure) else ""
        return Input(spec.type, unit, found.bounds.min, found.bounds.max, spec.choices or ())

    # ── values ───────────────────────────────────────────────────────────────────────────────────────────────────
    def _slot(self, raw: Any, wanted: Type, path: Path, bounds: Bounds = FREE, *, optional: bool = False) -> Slot:
        text = expression_of(raw)
        if text is not None:
            return Slot(wanted, expression=self._expression(text, wanted, path, shift=1), bounds=bounds)
        if raw is None and optional:
            return Slot(wanted)
        try:
            value = literal(raw, wanted)
            if isinstance(wanted, Text):
                check_named(value, wanted, self.facts)
        except BadValue as bad:
            self.tell(bad.code, bad.message, path, bad.mend)
            return Slot(ANYTHING, expression=_always)
        problem = out_of_bounds(value, wanted, bounds)
        if problem:
            self.tell("P208", problem, path)
        return Slot(wanted, value, bounds=bounds)

    def _expression(self, text: str, wanted: Type, path: Path, shift: int = 0) -> Expression | None:
        if not shift and text.startswith("="):
            text, shift = text[1:], 1  # `if: =x > 3` says the same
        try:
            found = compile_expression(text, self.names.types, wanted, self.names.aka)
        except ExpressionError as error:
            self._flaws(error.flaws, path, shift)
            return None
        return found

    def _template(self, text: str, path: Path) -> Template:
        try:
            return compile_template(text, self.names.types)
        except ExpressionError as error:
            self._flaws(error.flaws, path, 0)
            return Template(text, (text,))

    def _flaws(self, flaws: tuple[Flaw, ...], path: Path, shift: int) -> None:
        for flaw in flaws:
            self._inside(_CODES[flaw.kind], flaw.message, path, flaw.offset + shift, flaw.length, flaw.mend)


_always = compile_expression("true", {})
"""Stands for an expression that is wrong."""


def _example(field_info: FieldInfo) -> str:
    kind = field_type(field_info)
    if isinstance(kind, Measure):
        return f"1 {kind.dimension.unit}"
    return kind.choices[0] if isinstance(kind, Text) and kind.choices else "…"
