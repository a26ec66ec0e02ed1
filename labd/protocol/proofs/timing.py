"""Time windows that cannot be kept, and time limits that are shorter than what they limit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from labd.files.problems import Problem
from labd.protocol.program import CallOp, DoOp, WindowRule
from labd.protocol.proofs.blocks import Block, blocks, leaves
from labd.protocol.proofs.case import Case
from labd.protocol.proofs.durations import span_of
from labd.protocol.proofs.paths import Shortest
from labd.protocol.proofs.ranges import Ranges
from labd.protocol.proofs.times import Times
from labd.protocol.proofs.values import not_so, places
from labd.sdk import units

SLACK = 1e-9


def timing_problems(case: Case) -> Iterator[Problem]:
    """Only what breaks for all values of the parameters is an error; what likely breaks is a warning."""
    for rule in case.program.windows:
        yield from _contradicting(case, rule)
        yield from _broken(case, rule)
    yield from _short_limits(case)


def _words(seconds: float) -> str:
    return units.plain(seconds, "s")


def _edges(rule: WindowRule) -> str:
    return f"{'.'.join(rule.begin)} and {'.'.join(rule.finish)}"


# ── windows ──────────────────────────────────────────────────────────────────────────────────────────────────────
def _contradicting(case: Case, rule: WindowRule) -> Iterator[Problem]:
    if rule.within is None or rule.at_least is None:
        return
    found = not_so(case, (case.program.start, 0), ("`at_least`", rule.at_least), "<=", ("`within`", rule.within))
    if found is not None:
        message = f"this window cannot be kept: {found[0]}"
        yield case.problem("P312", message, (*rule.path, "at_least"), "let `at_least` be shorter than `within`")


def _broken(case: Case, rule: WindowRule) -> Iterator[Problem]:
    if rule.within is None:
        return
    place = (rule.begin[0], 0)
    limit = case.ranges.number(rule.within, case.ranges.at(place))
    usual = case.usual.number(rule.within, case.usual.at(place))
    at = (*rule.path, "within")
    times = Times(case.program, case.ranges, case.usual)
    least = _Between(case, times, rule, likely=False).seconds()
    if limit is not None and least is not None and least > limit.high + SLACK:
        message = f"at least {_words(least)} lie between {_edges(rule)}, and this window allows {_words(limit.high)}"
        yield case.problem("P312", message, at, "allow more, or put less between the two")
        return
    likely = _Between(case, times, rule, likely=True).seconds()
    if usual is not None and likely is not None and usual.low == usual.high and likely > usual.high + SLACK:
        message = f"about {_words(likely)} lie between {_edges(rule)}, and this window allows {_words(usual.high)}"
        yield case.warning("W106", message, at, "allow more, or put less between the two")


@dataclass(frozen=True, slots=True)
class _Between:
    """The least time between a window's two edges; the least likely one, when all takes as long as expected."""

    case: Case
    times: Times
    rule: WindowRule
    likely: bool

    def seconds(self) -> float | None:
        """None where no usual way leads from one to the other."""
        (begin, begins), (finish, ends) = self.rule.begin, self.rule.finish
        first, last = self._parts(begin), self._parts(finish)
        if begin == finish and begins == "start" and ends == "end":
            return first[1]
        costs = {name: self._whole(name) for name in self.case.program.states}
        further = first[2] if begins == "end" else first[1] + first[2]
        ways = Shortest(self.case.program, costs, self._ranges, any_way=not self.likely)
        found = ways.after(begin, further).get(finish)
        if found is None:
            return None
        return found + last[0] + (last[1] if ends == "end" else 0.0)

    @property
    def _ranges(self) -> Ranges:
        return self.case.usual if self.likely else self.case.ranges

    def _whole(self, name: str) -> float:
        found = self.times.state(name)
        return found.expected if self.likely else found.least

    def _parts(self, name: str) -> tuple[float, float, float]:
        """Before a state's first action, from there to its last outcome, and after that."""
        state = self.case.program.states[name]
        block = blocks(state.ops)
        before = self._until_action(name, block)
        after = self._until_action(name, block[::-1])
        return before, max(0.0, self._whole(name) - before - after), after

    def _until_action(self, name: str, block: Block) -> float:
        state = self.case.program.states[name]
        found = 0.0
        for part in block:
            acts = any(isinstance(leaf.op, (DoOp, CallOp)) for leaf in leaves((part,)))
            if acts:
                return found
            one = self.times.block(state, (part,))
            found += one.expected if self.likely else one.least
        return found


# ── time limits ──────────────────────────────────────────────────────────────────────────────────────────────────
def _short_limits(case: Case) -> Iterator[Problem]:
    for place, op in places(case):
        if not isinstance(op, DoOp) or op.within is None:
            continue
        limit = case.usual.number(op.within, case.usual.at(place))
        span = span_of(op, case.usual, case.usual.at(place))
        if limit is None or span.expected is None or limit.high >= span.expected - SLACK:
            continue
        takes = "takes" if span.least > limit.high else "is expected to take"
        message = f"`{op.name}` {takes} {_words(span.expected)}, and is given {_words(limit.high)}"
        yield case.warning("W107", message, (*op.path, "within"), "allow more, or leave `within` to the driver")
