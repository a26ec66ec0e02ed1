"""Protocols at random that hold: every kind of step, with typed names, windows, watches, catches, loops and calls.

A protocol is a spine of states in which each leads to the next; from there ways lead aside: to ends, to holds, and to
questions that lead back. So what a state of the spine sets for sure has a value in all that follow it.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from labd.expr import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    TEXT,
    ListOf,
    Measure,
    Number,
    Text,
    Type,
    field_type,
    measure,
    record_of,
)
from labd.protocol.exchange.layout import written
from labd.sdk import ROLES, Action, Effect
from labd.sdk.quantities import bounds_of

Tree = dict[str, Any]

ORDERED = {"lower": "2.5 V", "upper": "4.2 V", "f_min": "1 Hz", "f_max": "100 kHz"}
KINDS = {"press": "crimper", "robot": "pipetting_robot", "arm": "arm", "cycler": "potentiostat"}


@dataclass
class Scope:
    """What is known at one place of a protocol: names with their types, as expressions write them."""

    names: dict[str, Type] = field(default_factory=dict)
    branch: bool = False
    loop: bool = False

    def inner(self, *, branch: bool = False, loop: bool = False) -> Scope:
        return Scope(dict(self.names), self.branch or branch, self.loop or loop)

    def of(self, kind: Type) -> list[str]:
        return [name for name, found in self.names.items() if found == kind]


class Maker:
    """Makes one protocol; all luck comes from `luck`."""

    def __init__(
        self,
        luck: random.Random,
        size: int = 4,
        kinds: Mapping[str, str] = KINDS,
        never: frozenset[str] = frozenset(),
    ) -> None:
        self.never = never  # actions that are not used
        self.luck = luck
        self.size = size
        self.count = 0
        self.parameters: dict[str, tuple[Type, Tree]] = {}
        self.roles = {name: kind for name, kind in kinds.items() if name == "press" or luck.random() < 0.8}
        self.signals: dict[str, Type] = {}
        for name, kind in self.roles.items():
            for signal, found in record_of(kind, ROLES[kind].Signals).fields.items():
                self.signals[f"{name}.{signal}"] = found

    # ── luck ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def one(self, *choices: Any) -> Any:
        return self.luck.choice(choices)

    def chance(self, of: float) -> bool:
        return self.luck.random() < of

    def fresh(self, word: str) -> str:
        self.count += 1
        return f"{word}_{self.count}"

    # ── values ───────────────────────────────────────────────────────────────────────────────────────────────────
    def literal(self, kind: Type, low: float | None = None, high: float | None = None) -> Any:
        """A literal within its bounds."""
        least = 1.0 if low is None else low
        most = least * 8 + 8 if high is None else high
        value = round(least + (most - least) * self.one(0.25, 0.5, 0.75), 6)
        if isinstance(kind, Measure):
            return f"{value:g} {kind.dimension.unit}"
        if isinstance(kind, Number):
            return int(value) if kind.integer else value
        if kind == BOOLEAN:
            return self.one(True, False)
        if isinstance(kind, Text):
            return self.one(*kind.choices) if kind.choices else self.one("tray/A1", "tray/B2")
        raise AssertionError(kind)

    def value(self, kind: Type, scope: Scope, low: float | None = None, high: float | None = None) -> Any:
        """A literal, or an expression that stays in its bounds whatever its names are."""
        plain = self.literal(kind, low, high)
        if isinstance(kind, Text):
            return "=sample.position" if not kind.choices and self.chance(0.5) else plain
        if self.chance(0.5):
            return plain
        shown = str(plain).lower() if kind == BOOLEAN else str(plain)
        names = scope.of(kind) + [name for name, found in self.signals.items() if found == kind and self.chance(0.3)]
        if names and isinstance(kind, Number | Measure) and self.chance(0.6):
            unit = f" {kind.dimension.unit}" if isinstance(kind, Measure) else ""
            most = high if high is not None else (low or 1) * 9 + 9
            return f"=min(max({self.one(*names)}, {shown}), {most:g}{unit})"
        return f"={shown} if {self.condition(scope)} else {self.shown(self.literal(kind, low, high))}"

    @staticmethod
    def shown(value: Any) -> str:
        return str(value).lower() if isinstance(value, bool) else str(value)

    def duration(self, scope: Scope) -> Any:
        return self.value(measure("s"), scope, 1, 60)

    def condition(self, scope: Scope, *, live: bool = False) -> str:
        """A condition that neither always nor never holds by itself; `live`: over a signal."""
        signals = {name: kind for name, kind in self.signals.items() if kind != TEXT}
        known = {**signals} if live or self.chance(0.3) else {**scope.names, "visits": INTEGER}
        names = [name for name, kind in known.items() if not isinstance(kind, ListOf | Text)]
        first = self.compared(self.one(*names), known)
        if self.chance(0.2) and len(names) > 1:
            second = self.one(*(name for name in names if name not in first))
            return f"{first} {self.one('and', 'or')} {self.compared(second, known)}"
        return first

    def compared(self, name: str, known: dict[str, Type]) -> str:
        kind = known[name]
        if kind == BOOLEAN:
            return self.one(name, f"not {name}")
        limit = self.literal(kind, 1, 3) if name == "visits" else self.literal(kind)
        return f"{name} {self.one('<', '>', '<=', '>=')} {self.one(limit, f'max({limit}, {self.literal(kind)})')}"

    # ── parameters ───────────────────────────────────────────────────────────────────────────────────────────────
    def declare(self) -> Tree:
        found: Tree = {}
        for kind, unit in (("quantity", "kN"), ("quantity", "s"), ("integer", ""), ("boolean", ""), ("choice", "")):
            if not self.chance(0.7):
                continue
            name = self.fresh({"kN": "strong", "s": "long", "": kind}[unit])
            if kind == "quantity":
                found[name] = {"type": kind, "default": f"3 {unit}", "min": f"1 {unit}", "max": f"9 {unit}"}
                self.parameters[name] = (measure(unit), found[name])
            elif kind == "integer":
                found[name] = {"type": kind, "default": 2, "min": 1, "max": 3}
                self.parameters[name] = (INTEGER, found[name])
            elif kind == "boolean":
                found[name] = {"type": kind, "default": self.one(True, False)}
                self.parameters[name] = (BOOLEAN, found[name])
            else:
                found[name] = {"type": kind, "choices": ["left", "right"], "default": "left"}
                self.parameters[name] = (Text(choices=("left", "right")), found[name])
        return found

    # ── steps ────────────────────────────────────────────────────────────────────────────────────────────────────
    def steps(self, scope: Scope, depth: int) -> list[Tree]:
        return [self.step(scope, depth) for _ in range(self.luck.randint(1, 3 if depth else 2))]

    def step(self, scope: Scope, depth: int) -> Tree:
        kinds = ["do", "do", "do", "wait", "set", "until", "ask", "call"]
        if depth:
            kinds += ["if", "repeat", "parallel"]
        return getattr(self, f"_{self.one(*kinds)}")(scope, depth)  # type: ignore[no-any-return]

    def _do(self, scope: Scope, depth: int) -> Tree:
        role, kind = self.one(*self.roles.items())
        actions = {name: action for name, action in ROLES[kind].actions.items() if name not in self.never}
        name, action = self.one(*actions.items())
        step: Tree = {"do": f"{role}.{name}"}
        given = {}
        left_away = set(action.one_of) - ({self.one(*action.one_of)} if action.one_of else set())
        for parameter, declared in action.parameters.model_fields.items():
            if parameter in left_away:
                continue
            if declared.is_required() or parameter in action.one_of or self.chance(0.2):
                given[parameter] = self.argument(parameter, action, scope)
        if given:
            step["with"] = given
        if self.chance(0.4):
            step["within"] = "100 h"
        results = record_of("result", action.result).fields
        name = self.fresh(name)
        truths = [result for result, found in results.items() if found == BOOLEAN]
        wanted = self.chance(0.25)
        if wanted:
            step["retry"] = {"times": self.luck.randint(1, 2)}
            if action.effect is Effect.ONCE or truths:
                step["retry"]["if"] = f"not {name}.{truths[0]}" if truths else "rejected"
            if self.chance(0.5):
                step["retry"]["delay"] = self.duration(scope)
        if results and (self.chance(0.6) or (wanted and truths)):
            step["as"] = name
            scope.names |= {f"{name}.{result}": found for result, found in results.items()}
        return step

    def argument(self, name: str, action: Action, scope: Scope) -> Any:
        if name in ORDERED:
            return ORDERED[name]
        declared = action.parameters.model_fields[name]
        bounds = bounds_of(declared)
        return self.value(field_type(declared), scope, bounds.min, bounds.max)

    def _wait(self, scope: Scope, depth: int) -> Tree:
        return {"wait": self.duration(scope)}

    def _until(self, scope: Scope, depth: int) -> Tree:
        spec = {"until": self.condition(scope, live=True)}
        if self.chance(0.8):
            spec["within"] = "10 min"
        return {"wait": spec}

    def _set(self, scope: Scope, depth: int) -> Tree:
        kind = self.one(measure("kN"), measure("s"), INTEGER, NUMBER, BOOLEAN)
        old = [name for name in scope.of(kind) if name.startswith("v_")]
        if old and not scope.branch and self.chance(0.4):
            return {"set": {self.one(*old): self.value(kind, scope)}}
        name = self.fresh("v")
        value = self.value(kind, scope)
        if kind == NUMBER and not isinstance(value, float):
            value = 1.5  # the first `set` says the type
        scope.names[name] = kind
        return {"set": {name: value}}

    def _ask(self, scope: Scope, depth: int) -> Tree:
        kind = self.one("quantity", "integer", "boolean", "text", "choice")
        name = self.fresh("said")
        spec: Tree = {"type": kind}
        types: dict[str, Type] = {"quantity": measure("g"), "integer": INTEGER, "boolean": BOOLEAN, "text": TEXT}
        if kind == "quantity":
            spec |= {"min": "1 g", "max": "6 g"}
        if kind == "choice":
            spec["choices"] = ["fine", "cracked"]
            types["choice"] = Text(choices=("fine", "cracked"))
        step: Tree = {"ask": self.question(scope), "input": spec}
        if self.chance(0.7):
            step["as"] = name
            scope.names[f"{name}.value"] = types[kind]
        if self.chance(0.3):
            step["within"] = "30 min"
        return step

    def question(self, scope: Scope) -> str:
        names = [name for name, kind in scope.names.items() if not isinstance(kind, ListOf)]
        hole = f" It has {{{self.one(*names)}}}." if names and self.chance(0.5) else ""
        return f"What do you see?{hole}"

    def _if(self, scope: Scope, depth: int) -> Tree:
        step: Tree = {"if": self.condition(scope), "then": self.steps(scope.inner(), depth - 1)}
        if self.chance(0.5):
            step["else"] = self.steps(scope.inner(), depth - 1)
        return step

    def _repeat(self, scope: Scope, depth: int) -> Tree:
        inner = scope.inner(loop=True)
        inner.names["index"] = INTEGER
        form = self.one("times", "over", "until")
        spec: Tree = {}
        if form == "over":
            kind = self.one(measure("s"), measure("kN"), INTEGER)
            name = self.fresh("item")
            spec = {"over": [self.literal(kind, 1, 9) for _ in range(2)], "as": name}
            inner.names[name] = kind
        elif form == "times":
            spec = {"times": self.one(1, 2, self.value(INTEGER, scope, 1, 3))}
        steps = self.steps(inner, depth - 1)
        if form == "until":
            spec = {"until": self.condition(inner), "at_most": self.luck.randint(1, 3)}
            if not scope.branch and self.chance(0.5):
                spec["otherwise"] = self.way()
        if form != "times" or spec["times"] in (1, 2):
            scope.names |= {name: kind for name, kind in inner.names.items() if name != "index" or scope.loop}
        return {"repeat": spec, "steps": steps}

    def _parallel(self, scope: Scope, depth: int) -> Tree:
        branches: Tree = {}
        known: dict[str, Type] = {}
        for word in ("left", "right", "middle")[: self.luck.randint(2, 3)]:
            inner = scope.inner(branch=True)
            branches[word] = self.steps(inner, depth - 1)
            known |= inner.names
        scope.names |= known
        return {"parallel": branches}

    def _call(self, scope: Scope, depth: int) -> Tree:
        name = self.fresh("called")
        callee = self.one("squeeze@1", "tally@1", "both@2")
        step: Tree = {"call": callee}
        if callee == "tally@1":
            step["with"] = {"from": self.value(INTEGER, scope, 0, 90)}
            results: dict[str, Type] = {"to": INTEGER}
        else:
            step["roles"] = {"ram": "press"}
            results = {"peak": measure("kN"), "turns" if callee == "squeeze@1" else "to": INTEGER}
            if callee == "squeeze@1":
                step["with"] = {"force": self.value(measure("kN"), scope, 1, 9)}
        step["as"] = name
        scope.names |= {f"{name}.{result}": kind for result, kind in results.items()}
        return step

    # ── ways ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def way(self, *states: str) -> Any:
        """Where one may go whatever has happened."""
        return self.one("scrap", "hold", {"hold": "Look at it.", "continue_at": ["scrap"]}, *states)

    @contextmanager
    def _aside(self, name: str, states: Tree) -> Iterator[str]:
        """A question beside a state, which leads back to it; it is there when somebody leads there."""
        look = f"look_{name}"
        yield look
        if _leads(states[name], look):
            choices = {"again": name, "scrap it": self.way()}
            states[look] = {"ask": "Is it sound?", "choices": choices, "summary": "Look at it."}
            if self.chance(0.5):
                states[look] |= {"within": "30 min", "otherwise": "scrap"}
            if self.chance(0.5):
                states[name]["max_visits"] = self.luck.randint(2, 3)
            else:
                states[look]["max_visits"] = {"times": self.luck.randint(1, 2), "otherwise": "scrap"}

    def state(self, name: str, following: str, scope: Scope, states: Tree) -> None:
        with self._aside(name, states) as look:
            before = scope.inner()
            steps = self.steps(scope, 2)
            state: Tree = {"summary": "Work."}
            if len(steps) == 1 and "if" not in steps[0] and self.chance(0.5):
                state |= steps[0]
            else:
                state["steps"] = steps
            if self.chance(0.4):
                watch: Tree = {"if": self.condition(before, live=True), "go": self.way(look)}
                if self.chance(0.6):
                    watch["for"] = self.duration(before)
                state["watch"] = [watch]
            if self.chance(0.6):
                kinds = [kind for kind in ("timeout", "rejected", "fault", "unreachable") if self.chance(0.5)]
                if kinds:
                    state["catch"] = {kind: self.way(look) for kind in kinds}
            ways = [{"if": self.condition(scope), "go": self.way(look)} for _ in range(self.one(0, 0, 0, 1, 2))]
            state["next"] = [*ways, {"go": following}] if ways else following
            if self.chance(0.2):
                self._again(name, state, scope)
            states[name] = state

    def _again(self, name: str, state: Tree, scope: Scope) -> None:
        ways = [{"go": state["next"]}] if isinstance(state["next"], str) else state["next"]
        state["next"] = [{"if": self.condition(scope), "go": name}, *ways]
        state["max_visits"] = self.one(2, {"times": 2, "otherwise": self.way()})

    # ── the whole ────────────────────────────────────────────────────────────────────────────────────────────────
    def tree(self) -> Tree:
        """A protocol that holds, as a tree."""
        tree: Tree = {"labd": 1, "protocol": "made", "version": "1.0.0", "summary": "Made at random."}
        parameters = self.declare()
        if parameters:
            tree["parameters"] = parameters
        tree["roles"] = dict(self.roles)
        scope = Scope({name: kind for name, (kind, _) in self.parameters.items()})
        spine = [f"s{index}" for index in range(1, self.luck.randint(2, self.size) + 1)]
        states: Tree = {}
        for name, following in zip(spine, [*spine[1:], "check"], strict=True):
            self.state(name, following, scope, states)
        choices = {"keep it": "done", "scrap it": "scrap"}
        states["check"] = {"ask": "Is it good?", "choices": choices, "summary": "Look at it."}
        states |= {"done": {"end": "complete"}, "scrap": {"end": "scrapped"}}
        tree["start"] = spine[0]
        windows = self.windows(states, spine)
        if windows:
            tree["windows"] = windows
        tree["states"] = states
        if self.chance(0.4):
            tree["cleanup"] = [{"do": "press.open"}, *([{"do": "arm.home"}] if "arm" in self.roles else [])]
        if self.chance(0.3):
            tree["results"] = {"press": "=press.device"} if self.chance(0.1) else {"sample": "=sample.id"}
        return tree

    def windows(self, states: Tree, spine: list[str]) -> list[Tree]:
        acting = [name for name in spine if _acts(states[name])]
        found = []
        for begin, finish in itertools.pairwise(acting):
            if not self.chance(0.5):
                continue
            window: Tree = {"from": f"{begin}.{self.one('start', 'end')}", "to": f"{finish}.start"}
            if self.chance(0.8):
                window |= {"within": "500 h"} | ({"otherwise": self.way()} if self.chance(0.7) else {})
            if "within" not in window or self.chance(0.3):
                window["at_least"] = self.duration(Scope())
            found.append(window)
        return found

    def text(self) -> str:
        """A protocol that holds, as its file."""
        return written(self.tree())


def _leads(part: Any, to: str) -> bool:
    """Whether some target within is that state."""
    if isinstance(part, dict):
        return any(value == to or _leads(value, to) for value in part.values())
    return isinstance(part, list) and any(_leads(item, to) for item in part)


def _acts(part: Any) -> bool:
    """Whether there is an action or a call within."""
    if isinstance(part, dict):
        return "do" in part or "call" in part or any(_acts(value) for value in part.values())
    return isinstance(part, list) and any(_acts(item) for item in part)


def made(seed: int, size: int = 4) -> str:
    """The protocol of a seed."""
    return Maker(random.Random(seed), size).text()


protocols = st.randoms(use_true_random=False).map(lambda luck: Maker(luck).text())
"""Protocols that hold, as text; what fails is made smaller."""
