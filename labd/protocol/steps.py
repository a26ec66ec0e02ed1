"""From steps to operations: laid out flat, every name, type, unit and bound checked on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from labd.expr import ANYTHING, BOOLEAN, INTEGER, ListOf, Measure, Template, did_you_mean, field_type, nearest
from labd.files.source import Path
from labd.protocol.calls import Callee, call_parameters, call_roles
from labd.protocol.facts import RoleFacts
from labd.protocol.loader import Protocol
from labd.protocol.messages import Input
from labd.protocol.model import (
    AskStep,
    CallStep,
    DoStep,
    HoldTarget,
    IfStep,
    InputSpec,
    ParallelStep,
    RepeatStep,
    Retry,
    SetStep,
    Step,
    UntilSpec,
    WaitStep,
)
from labd.protocol.parameters import declared
from labd.protocol.program import (
    Again,
    AgainOp,
    AskOp,
    CallOp,
    DoOp,
    ForkOp,
    Goto,
    Hold,
    JoinOp,
    JumpOp,
    Op,
    RepeatOp,
    SetOp,
    TurnOp,
    UnlessOp,
    UntilOp,
    WaitOp,
    Way,
    op_assigns,
)
from labd.protocol.slots import INDEX, SECONDS, Slots
from labd.protocol.values import FREE, Slot, example
from labd.sdk import Action, Bounds, Effect
from labd.sdk.quantities import bounds_of

NOWHERE = Hold(Template("", ("",)))
HELD = Hold(Template("", ("the protocol holds the run here",)))
LATE = Hold(Template("", ("nobody has answered in time",)))
MOST_TURNS = 1_000_000


@dataclass(slots=True)
class Steps:
    """Compiles the steps of one protocol.

    Args:
        protocol: whose steps they are.
        slots: for values and expressions.
        callees: what it calls, compiled, by the text of the call.
    """

    protocol: Protocol
    slots: Slots
    callees: Mapping[str, Callee]
    _branch: str = ""  # the branch that is compiled: it has no way out of the state
    _ops: list[Op] = field(default_factory=list)

    def compile(self, steps: tuple[Step, ...], path: Path, *, single: bool = False) -> tuple[Op, ...]:
        """The operations of a list of steps, or of a state that is one step itself."""
        self._ops = []
        if single:
            self._step(steps[0], path, "1")
        else:
            self._list(steps, path, "")
        return tuple(self._ops)

    # ── ways ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def no_state(self, name: str, path: Path) -> None:
        """Tells that a target is no state."""
        mend = did_you_mean(name, self.protocol.states, "the states are")
        self.slots.tell("P301", f"there is no state `{name}`", path, mend)

    def way(self, target: Any, path: Path) -> Way:
        """A target as a way."""
        if isinstance(target, HoldTarget):
            reason = self.slots.template(target.hold, (*path, "hold"))
            for index, name in enumerate(target.continue_at):
                if name not in self.protocol.states:
                    self.no_state(name, (*path, "continue_at", index))
            return Hold(reason, tuple(name for name in target.continue_at if name in self.protocol.states))
        if target == "hold":
            return HELD
        if target not in self.protocol.states:
            self.no_state(target, path)
            return NOWHERE
        return Goto(target)

    def _no_way_out(self, what: str, path: Path) -> None:
        if self._branch:
            mend = "let the branch end, and decide in the state's `next`"
            self.slots.tell("P308", f"{what} would leave the state from inside a branch of `parallel`", path, mend)

    # ── steps ────────────────────────────────────────────────────────────────────────────────────────────────────
    def _list(self, steps: tuple[Step, ...], path: Path, prefix: str) -> None:
        for index, step in enumerate(steps):
            if isinstance(step, AskStep) and step.choices and index < len(steps) - 1:
                mend = "put the question last, or leave its `choices` away and ask for an `input`"
                message = "the steps after this question are never done: it leads elsewhere"
                self.slots.tell("P306", message, (*path, index), mend)
            self._step(step, (*path, index), f"{prefix}{index + 1}")

    def _step(self, step: Step, path: Path, label: str) -> None:
        match step:
            case DoStep():
                self._do(step, path, label)
            case WaitStep():
                self._wait(step, path, label)
            case AskStep():
                self._ops.append(self._ask(step, path, label))
            case SetStep():
                types = self.slots.names.types
                values = {
                    name: self.slots.slot(raw, types.get(name, ANYTHING), (*path, "set", name))
                    for name, raw in step.set.items()
                }
                self._ops.append(SetOp(label=label, path=path, values=values))
            case IfStep():
                self._if(step, path, label)
            case RepeatStep():
                self._repeat(step, path, label)
            case ParallelStep():
                self._parallel(step, path, label)
            case CallStep():
                self._call(step, path, label)

    def _wait(self, step: WaitStep, path: Path, label: str) -> None:
        at = (*path, "wait")
        if not isinstance(step.wait, UntilSpec):
            self._ops.append(WaitOp(label=label, path=path, seconds=self.slots.duration(step.wait, at, SECONDS)))
            return
        within = None
        if step.wait.within is not None:
            within = self.slots.duration(step.wait.within, (*at, "within"))
        condition = self.slots.condition(step.wait.until, (*at, "until"))
        self._ops.append(UntilOp(label=label, path=path, condition=condition, within=within))

    def _placeholder(self, label: str, path: Path) -> int:
        """The place of an operation that is put in when what follows it is laid out."""
        self._ops.append(JumpOp(label=label, path=path, to=0))
        return len(self._ops) - 1

    def _if(self, step: IfStep, path: Path, label: str) -> None:
        condition = self.slots.condition(step.if_, (*path, "if"))
        test = self._placeholder(label, path)
        self._list(step.then, (*path, "then"), f"{label}.then.")
        if step.else_:
            end = self._placeholder(label, path)
            self._list(step.else_, (*path, "else"), f"{label}.else.")
            self._ops[end] = JumpOp(label=label, path=path, to=len(self._ops))
            self._ops[test] = UnlessOp(label=label, path=path, condition=condition, to=end + 1)
        else:
            self._ops[test] = UnlessOp(label=label, path=path, condition=condition, to=len(self._ops))

    def _repeat(self, step: RepeatStep, path: Path, label: str) -> None:
        spec, at = step.repeat, (*path, "repeat")
        given = [name for name in ("times", "over", "until") if getattr(spec, name) is not None]
        if len(given) != 1:
            mend = "write one of `{times: 3}`, `{over: list, as: item}`, `{until: condition, at_most: 10}`"
            self.slots.tell("P309", "a repeat has one of `times`, `over` and `until`", at, mend)
        if spec.until is not None and spec.at_most is None:
            self.slots.tell("P305", "this can go round without end: `until` has no `at_most`", at, "add `at_most: 10`")
        if spec.until is None and (spec.at_most is not None or spec.otherwise is not None):
            self.slots.tell("P309", "`at_most` and `otherwise` belong to `until`", at, "delete them")
        if (spec.over is None) != (spec.as_ is None):
            self.slots.tell("P309", "`over` and `as` belong together", at, "write `{over: [..], as: item}`")
        if isinstance(spec.otherwise, str) and spec.otherwise != "hold":  # a hold leaves nothing
            self._no_way_out("`otherwise`", (*at, "otherwise"))
        times = over = None
        if spec.times is not None:
            times = self.slots.slot(spec.times, INTEGER, (*at, "times"), Bounds(0, MOST_TURNS))
        if spec.over is not None:
            item = self.slots.names.types.get(spec.as_ or "", ANYTHING)
            over = self.slots.slot(spec.over, ListOf(item), (*at, "over"))
        some = _some_turns(times, over)
        self._ops.append(
            RepeatOp(label=label, path=path, times=times, over=over, as_=spec.as_, at_most=spec.at_most, some=some)
        )
        top = self._placeholder(label, path)
        with self.slots.knowing(**INDEX):
            self._list(step.steps, (*path, "steps"), f"{label}.")
            until = self.slots.condition(spec.until, (*at, "until")) if spec.until is not None else None
        otherwise = self.way(spec.otherwise, (*at, "otherwise")) if spec.otherwise is not None else None
        end = len(self._ops) + 1
        self._ops.append(AgainOp(label=label, path=path, top=top, to=end, until=until, otherwise=otherwise))
        self._ops[top] = TurnOp(label=label, path=path, to=end, some=some, as_=spec.as_)

    def _parallel(self, step: ParallelStep, path: Path, label: str) -> None:
        fork = self._placeholder(label, path)
        outer = self._branch
        starts: dict[str, int] = {}
        joins: dict[int, str] = {}
        writes: dict[str, str] = {}
        for name, steps in step.parallel.items():
            at = (*path, "parallel", name)
            self._branch = name
            starts[name] = len(self._ops)
            self._list(steps, at, f"{label}.{name}.")
            for assigned in sorted({word for op in self._ops[starts[name] :] for word in _writes(op)}):
                if assigned in writes:
                    message = f"the branches `{writes[assigned]}` and `{name}` both write `{assigned}`"
                    self.slots.problems.append(
                        self.slots.source.problem("P310", message, at, "give the two different names", key=True)
                    )
                writes[assigned] = name
            joins[self._placeholder(f"{label}.{name}", at)] = name
        self._branch = outer
        for index, name in joins.items():
            end = self._ops[index]
            self._ops[index] = JoinOp(label=end.label, path=end.path, branch=name, fork=fork, to=len(self._ops))
        self._ops[fork] = ForkOp(label=label, path=path, branches=starts, to=len(self._ops))

    def _call(self, step: CallStep, path: Path, label: str) -> None:
        callee = self.callees.get(step.call)
        if callee is None:
            return  # why it is not there was told when it was loaded
        parameters = call_parameters(step, callee, self.slots, path)
        roles = call_roles(step, callee, self.protocol, self.slots, path)
        self._ops.append(
            CallOp(
                label=label,
                path=path,
                call=step.call,
                parameters=parameters,
                roles=roles,
                as_=step.as_,
                program=callee.program,
            )
        )

    # ── actions ──────────────────────────────────────────────────────────────────────────────────────────────────
    def _do(self, step: DoStep, path: Path, label: str) -> None:
        found = self._action(step, path)
        within = self.slots.duration(step.within, (*path, "within")) if step.within is not None else None
        if found is None:
            for name, raw in step.with_.items():  # at least its expressions can be checked
                self.slots.slot(raw, ANYTHING, (*path, "with", name))
            return
        role, known, action = found
        op = DoOp(
            label=label,
            path=path,
            role=role,
            action=action,
            parameters=self._parameters(step, action, known, path),
            within=within,
            as_=step.as_,
        )
        if step.retry is not None:
            op = replace(op, retry=self._retry(step.retry, step, action, path))
        self._ops.append(op)

    def _retry(self, spec: Retry, step: DoStep, action: Action, path: Path) -> Again:
        at = (*path, "retry")
        if action.effect is Effect.ONCE and spec.if_ is None:
            mend = "say when: `if: rejected`, or a condition over its result, such as `if: not picked.gripped`"
            message = f"`{step.do}` is done once: a `retry` without `if` would repeat it unasked"
            self.slots.tell("P311", message, at, mend)
        delay = self.slots.duration(spec.delay, (*at, "delay"), SECONDS) if spec.delay is not None else None
        condition = None
        if spec.if_ is not None:
            with self.slots.knowing(rejected=BOOLEAN):
                condition = self.slots.condition(spec.if_, (*at, "if"))
            own = {name[0] for name in condition.names}
            if own and not own & {"rejected", step.as_}:
                mend = f"name its result, `as: done`, and ask for {_first_field(action)}" if step.as_ is None else ""
                self.slots.tell("P311", "this `if` says nothing about the action's result", (*at, "if"), mend)
        return Again(spec.times, delay, condition)

    def _action(self, step: DoStep, path: Path) -> tuple[str, RoleFacts, Action] | None:
        role, dot, name = step.do.partition(".")
        at = (*path, "do")
        roles = self.protocol.roles
        if role not in roles:
            mend = did_you_mean(role, roles, "the roles here are") if roles else "declare it: `roles: {name: role}`"
            self.slots.inside("P201", f"there is no role `{role}` here", at, 0, len(role), mend)
            return None
        known = self.slots.facts.roles.get(roles[role].role)
        if known is None:
            return None
        if name not in known.actions:
            what = f"{roles[role].role} has no action `{name}`" if dot else "the action is missing"
            mend = did_you_mean(name, known.actions, "it has")
            offset = len(role) + 1 if dot else 0
            self.slots.inside("P202", what, at, offset, len(name) or len(role), mend)
            return None
        return role, known, known.actions[name]

    def _parameters(self, step: DoStep, action: Action, known: RoleFacts, path: Path) -> Mapping[str, Slot]:
        fields = action.parameters.model_fields
        slots: dict[str, Slot] = {}
        meant: set[str | None] = set()  # what a misspelt one stands for is not missing as well
        for name, raw in step.with_.items():
            at = (*path, "with", name)
            if name not in fields:
                mend = did_you_mean(name, fields.keys() - step.with_.keys(), "it has")
                meant.add(nearest(name, fields.keys() - step.with_.keys()))
                message = f"`{step.do}` has no parameter `{name}`"
                self.slots.problems.append(self.slots.source.problem("P203", message, at, mend, key=True))
                continue
            bounds = bounds_of(fields[name]).narrowed(known.limits.get(f"{action.name}.{name}", FREE))
            optional = fields[name].default is None
            slots[name] = self.slots.slot(raw, field_type(fields[name]), at, bounds, optional=optional)
        for name, declared_field in fields.items():
            if declared_field.is_required() and name not in step.with_ and name not in meant:
                mend = f"add `with: {{{name}: {example(field_type(declared_field))}}}`"
                at = (*path, "with") if step.with_ else (*path, "do")
                self.slots.tell("P204", f"`{step.do}` needs `{name}`", at, mend)
        self._one_of(step, action, meant, path)
        return slots

    def _one_of(self, step: DoStep, action: Action, meant: set[str | None], path: Path) -> None:
        """Of parameters that say the same in other words, exactly one is given."""
        given = [name for name in action.one_of if step.with_.get(name) is not None]
        ways = " or ".join(f"`{name}`" for name in action.one_of)
        if len(given) > 1:
            at = (*path, "with", given[1])
            self.slots.tell("P216", f"`{step.do}` takes {ways}, not both", at, f"leave `{given[1]}` away")
        elif action.one_of and not given and not meant.intersection(action.one_of):
            at = (*path, "with") if step.with_ else (*path, "do")
            self.slots.tell("P216", f"`{step.do}` needs {ways}", at, "add one of them to its `with`")

    # ── questions ────────────────────────────────────────────────────────────────────────────────────────────────
    def _ask(self, step: AskStep, path: Path, label: str) -> AskOp:
        if not step.choices and step.input is None:
            mend = "add `choices: {yes: state}`, or an `input`"
            self.slots.tell("P306", "this question has neither `choices` nor an `input`", (*path, "ask"), mend)
        if step.otherwise is not None and step.within is None:
            self.slots.tell("P306", "`otherwise` without `within`: when?", (*path, "otherwise"), "add `within: 30 min`")
        if step.choices:
            self._no_way_out("a choice", (*path, "choices"))
        if step.otherwise is not None:
            self._no_way_out("`otherwise`", (*path, "otherwise"))
        choices = {name: self.way(target, (*path, "choices", name)) for name, target in step.choices.items()}
        within = self.slots.duration(step.within, (*path, "within")) if step.within is not None else None
        otherwise = self.way(step.otherwise, (*path, "otherwise")) if step.otherwise is not None else LATE
        return AskOp(
            label=label,
            path=path,
            text=self.slots.template(step.ask.strip(), (*path, "ask")),
            choices=choices,
            input=self._input(step.input, (*path, "input")) if step.input is not None else None,
            within=within,
            otherwise=otherwise,
            as_=step.as_,
        )

    def _input(self, spec: InputSpec, path: Path) -> Input | None:
        found = declared(spec, path, self.slots.tell)
        if found is None:
            return None
        unit = found.type.dimension.unit if isinstance(found.type, Measure) else ""
        return Input(spec.type, unit, found.bounds.min, found.bounds.max, spec.choices or ())


def _writes(op: Op) -> frozenset[str]:
    """All names that an operation writes, a loop's item included."""
    return frozenset({op.as_}) if isinstance(op, TurnOp) and op.as_ is not None else op_assigns(op)


def _some_turns(times: Slot | None, over: Slot | None) -> bool:
    """Whether a loop has at least one turn for sure: one `until` always has."""
    if times is not None:
        return isinstance(times.fixed, int) and times.fixed >= 1
    return over is None or bool(over.count)


def _first_field(action: Action) -> str:
    names = list(action.result.model_fields)
    return f"`done.{names[0]}`" if names else "`rejected`"
