"""Ways that are wrong: states, loops, questions, branches and windows."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator

from labd.protocol.model import AskStep, ParallelStep, RepeatStep, SetStep
from labd.sdk import Effect
from tests.protocol.mutants.kinds import Mutant, kind
from tests.protocol.mutants.sound import NAME, Sound, Tree, added, get, put, scalars, targets, without


def reach(one: Sound, tree: Tree, start: str, free: set[str] | None = None) -> set[str]:
    """The states that one comes to from a state by one step or more, by targets and `max_visits`, through `free`."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for target in one.successors(tree, waiting.pop()) - found:
            if free is None or target in free or target == start:
                found.add(target)
                waiting.append(target)
    return found


@kind("a state that is missing", "P301")
def removed(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for name in one.states:
        sites = [path for path, word in targets(one.tree) if word == name and path[:2] != ("states", name)]
        if sites and len(one.states) > 1:
            yield Mutant(without(one.tree, ("states", name)), sites[0], (name,))


@kind("`next` is missing", "P112")
def no_next(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for name, state in one.states.items():
        if "next" in state:
            yield Mutant(without(one.tree, ("states", name, "next")), ("states", name), (name,))


@kind("the last way has a condition", "P304")
def condition(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for name, state in one.states.items():
        if "next" not in state:
            continue
        path = ("states", name, "next")
        if isinstance(state["next"], list):
            last = (*path, len(state["next"]) - 1)
            yield Mutant(put(one.tree, (*last, "if"), "visits < 2"), last)
            if len(state["next"]) > 1:
                yield Mutant(without(one.tree, last), (*path, len(state["next"]) - 2))
        else:
            yield Mutant(put(one.tree, path, [{"if": "visits < 2", "go": state["next"]}]), (*path, 0))


@kind("ways that are never taken", "P304")
def shadowed(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for name, state in one.states.items():
        if isinstance(state.get("next"), list) and len(state["next"]) > 1:
            path = ("states", name, "next", 0)
            yield Mutant(without(one.tree, (*path, "if")), path)


@kind("a choice without a target", "P113", "P306")
def choice(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for path, step in one.steps:
        if isinstance(step, AskStep) and step.choices:
            for word in step.choices:
                yield Mutant(put(one.tree, (*path, "choices", word), None), (*path, "choices", word), (word,))
            yield Mutant(without(one.tree, (*path, "choices")), path)


@kind("`otherwise` without a time", "P306", "P312")
def timeless(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for path, step in one.steps:
        if isinstance(step, AskStep) and step.otherwise is not None:
            yield Mutant(without(one.tree, (*path, "within")), path)
    for index, window in enumerate(one.tree.get("windows", [])):
        if "otherwise" in window:
            yield Mutant(without(one.tree, ("windows", index, "within")), ("windows", index))


@kind("a loop without a bound", "P305")
def unbounded(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for name, state in one.states.items():
        if "max_visits" not in state:
            continue
        tree = without(one.tree, ("states", name, "max_visits"))
        free = {other for other, spec in tree["states"].items() if "max_visits" not in spec}
        without_holds = copy.deepcopy(tree)
        for path, _ in list(scalars(without_holds)):
            if "continue_at" in path:  # a person decides there
                get(without_holds, path[: path.index("continue_at")])["continue_at"] = []
        if name in reach(one, without_holds, name, free):
            yield Mutant(tree, ("states", name), (name,))
    for path, step in one.steps:
        if isinstance(step, RepeatStep) and step.repeat.at_most is not None:
            tree = without(one.tree, (*path, "repeat", "at_most"))
            yield Mutant(tree, (*path, "repeat"))


@kind("a name that nobody sets", "P205", "P307")
def unset(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for path, _, name in _setting(one):
        uses = [use for use, text in _uses(one) if name in text]
        writers = [other for _, other, word in _setting(one) if word == name]
        if len(writers) != 1 or not uses or any(use[: len(path)] == path for use in uses):
            continue
        tree = put(one.tree, path, {"wait": "1 s"}) if len(path) > 2 else None
        if tree is not None:
            yield Mutant(tree, uses[0], (name,))


@kind("a name that some way does not set", "P307")
def sometimes(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for path, _, name in _setting(one):
        outside = [use for use, text in _uses(one) if name in text and use[: len(path)] != path]
        writers = [other for _, other, word in _setting(one) if word == name]
        if len(writers) != 1 or not outside or not isinstance(path[-1], int) or path[0] == "cleanup":
            continue
        wrapped = {"if": "visits < 2", "then": [get(one.tree, path)]}
        yield Mutant(put(one.tree, path, wrapped), outside[0], (name,))


@kind("used before it is set", "P307")
def early(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for path, step, name in _setting(one):
        writers = [other for _, other, word in _setting(one) if word == name]
        if len(writers) != 1 or not isinstance(path[-1], int) or path[0] == "cleanup":
            continue
        before = {"if": _about(one, step, name), "then": [{"wait": "1 s"}]}
        if before["if"]:
            yield Mutant(added(one.tree, path[:-1], path[-1], before), path, (name,))


def _about(one: Sound, step: object, name: str) -> str:
    """A condition over what a step sets."""
    for text in (found for _, texts in _uses(one) for found in texts.values()):
        for found in NAME.finditer(text):
            if found[0].partition(".")[0] == name:
                return f"{found[0]} == {found[0]} or visits > 1"
    return ""


def _setting(one: Sound) -> Iterator[tuple[tuple[str | int, ...], object, str]]:
    for path, step in one.steps:
        if isinstance(step, SetStep) and len(step.set) == 1:
            yield path, step, next(iter(step.set))
        elif getattr(step, "as_", None) is not None:
            yield path, step, step.as_  # type: ignore[union-attr, misc]


def _uses(one: Sound) -> Iterator[tuple[tuple[str | int, ...], dict[str, str]]]:
    """Expressions with their names' first words."""
    for path, text in one.expressions():
        if path[0] != "cleanup" and path[-2:] != ("retry", "if"):
            yield path, {found[0].partition(".")[0]: text for found in NAME.finditer(text)}


@kind("a ONCE action that is retried unasked", "P311")
def retried(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for path, _, action in one.actions():
        if action.effect is not Effect.ONCE:
            continue
        tree = put(one.tree, (*path, "retry"), {"times": luck.randint(1, 3)})
        yield Mutant(tree, path)


@kind("a state that nothing leads to", "P302")
def unreachable(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for name, state in one.states.items():
        if "next" in state:
            tree = put(one.tree, ("states", "stray"), {"wait": "1 s", "next": name})
            yield Mutant(tree, ("states", "stray"), ("stray",))


@kind("no end can be reached", "P303")
def endless(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for name, state in one.states.items():
        if isinstance(state.get("next"), str):
            tree = put(one.tree, ("states", "round"), {"wait": "1 s", "next": "again"})
            tree = put(tree, ("states", "again"), {"wait": "1 s", "next": "round", "max_visits": 3})
            yield Mutant(put(tree, ("states", name, "next"), "round"), ("states", "round"), ("round", "again"))


@kind("steps after a question that leads elsewhere", "P306")
def behind(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for name, state in one.states.items():
        if "choices" in state:
            ask = {key: state[key] for key in ("ask", "choices", "within", "otherwise", "as", "input") if key in state}
            rest = {key: value for key, value in state.items() if key not in ask}
            tree = put(
                one.tree, ("states", name), {"steps": [ask, {"wait": "1 s"}], **rest, "next": name, "max_visits": 2}
            )
            yield Mutant(tree, ("states", name, "steps", 0))


# ── branches ─────────────────────────────────────────────────────────────────────────────────────────────────────
def _branches(one: Sound) -> Iterator[tuple[tuple[str | int, ...], str]]:
    for path, step in one.steps:
        if isinstance(step, ParallelStep):
            yield from (((*path, "parallel"), name) for name in step.parallel)


@kind("a branch that leaves the state", "P308")
def leaves(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    end = next(name for name, state in one.states.items() if "end" in state)
    for path, name in _branches(one):
        step = luck.choice(
            (
                {"ask": "Go?", "choices": {"go": end}},
                {"ask": "Go?", "input": {"type": "text"}, "within": "5 min", "otherwise": end},
                {"repeat": {"until": "visits > 1", "at_most": 3, "otherwise": end}, "steps": [{"wait": "1 s"}]},
            )
        )
        size = len(get(one.tree, (*path, name)))
        yield Mutant(added(one.tree, (*path, name), size, step), (*path, name, size), (name,))


@kind("two branches that write one name", "P310")
def both(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for name, state in one.states.items():
        if not isinstance(state.get("steps"), list):
            continue
        writes = luck.choice(([{"set": {"written": 1}}], [{"ask": "So?", "input": {"type": "text"}, "as": "written"}]))
        branches = {"one": [{"wait": "1 s"}, *writes], "two": writes}
        at = ("states", name, "steps")
        yield Mutant(added(one.tree, at, 0, {"parallel": branches}), (*at, 0), ("written",))


# ── windows ──────────────────────────────────────────────────────────────────────────────────────────────────────
def _acting(one: Sound) -> list[str]:
    return [name for name in one.states if any(path[:2] == ("states", name) for path, _, _ in one.actions())]


@kind("a window between states that do not follow", "P312")
def apart(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    acting = _acting(one)
    for first in acting:
        for second in acting:
            if first != second and second not in reach(one, one.tree, first):
                windows = [
                    *one.tree.get("windows", []),
                    {"from": f"{first}.start", "to": f"{second}.start", "within": "9 h"},
                ]
                path = ("windows", len(windows) - 1)
                yield Mutant(put(one.tree, ("windows",), windows), path, (first, second))


@kind("a window around nothing", "P312")
def nothing(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    for index, window in enumerate(one.tree.get("windows", [])):
        for key in ("within", "at_least"):
            if key in window and len({"within", "at_least"} & window.keys()) == 1 and "otherwise" not in window:
                yield Mutant(without(one.tree, ("windows", index, key)), ("windows", index))
        for name, state in one.states.items():
            if "end" in state or "choices" in state:
                yield Mutant(
                    put(one.tree, ("windows", index, "to"), f"{name}.start"), ("windows", index, "to"), (name,)
                )
        tree = put(one.tree, ("windows", index, "to"), window["to"].replace(".start", ".end"))
        yield Mutant(put(tree, ("windows", index, "at_least"), "5 s"), ("windows", index))


@kind("a window that the least time breaks", "P312", proof=True)
def broken(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    acting = _acting(one)
    for begin in acting:
        state = one.states[begin]
        steps = state.get("steps", [{key: state[key] for key in ("do", "with", "as") if key in state}])
        if "do" not in steps[0] or {"catch", "watch", "choices", "repeat", "parallel"} & state.keys():
            continue  # a way may lead elsewhere before the wait
        rest = {key: value for key, value in state.items() if key in ("summary", "next", "max_visits")}
        waiting = {**rest, "steps": [steps[0], {"wait": f"{luck.randint(2, 5)} h"}, *steps[1:]]}
        for finish in sorted(reach(one, one.tree, begin) & {*acting} - {begin}):
            windows = [{"from": f"{begin}.start", "to": f"{finish}.start", "within": "1 h"}]
            yield Mutant(put(put(one.tree, ("states", begin), waiting), ("windows",), windows), ("windows", 0))


# ── outcomes ─────────────────────────────────────────────────────────────────────────────────────────────────────
@kind("complete though it has failed", "P316", proof=True)
def complete(one: Sound, luck: random.Random) -> Iterator[Mutant]:
    end = next((name for name, state in one.states.items() if state.get("end") == "complete"), None)
    for name, state in one.states.items():
        made = [
            action
            for path, step, action in one.actions()
            if path[:2] == ("states", name)
            and action.effect is Effect.ONCE
            and action.data is None
            and not step.do.startswith("arm.")  # what an arm has missed, its result and the next step tell
        ]
        if end is None or not made or "results" in one.tree:
            continue  # what it returns may have no value then, and that is told first
        for failure in sorted({"rejected", "unreachable", "fault"} - state.get("catch", {}).keys()):
            catch = {**state.get("catch", {}), failure: end}
            yield Mutant(put(one.tree, ("states", name, "catch"), catch), ("states", name, "catch", failure), (end,))
