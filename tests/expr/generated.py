"""Random well-typed expressions, and ranges and values for their names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from labd.expr import Choices, Expression, ExpressionError, Interval, Range, compile_expression
from tests.expr.names import TYPES

LEAVES = {
    "number": ["ratio", "0.5", "2.5", "1e3", "visits", "0"],
    "whole": ["visits", "0", "1", "3", "12345678901234567890"],
    "volume": ["volume", "3 µL", "0.02 mL", "0 µL", "-7.5 µL"],
    "condition": ["sound", "true", "false"],
    "text": ["tip", "'once'", "'never'"],
}
FORMS = {
    "number": [
        "({number} + {number} - {number})",
        "({number} * {number})",
        "({number} / {number} * {whole})",
        "({volume} / {volume})",
        "(-{number})",
        "round({number}, 1)",
        "max({number}, {number})",
        "mean([{number}, {number}, {number}])",
        "sum([{number}, {number}, {number}])",
        "({number} if {condition} else {number})",
        "{whole}",
    ],
    "whole": [
        "({whole} + {whole} * {whole})",
        "({whole} - {whole})",
        "round({number})",
        "len([{volume}, {volume}])",
        "abs({whole})",
        "sum([{whole}, {whole}])",
        "({whole} if {condition} else {whole})",
    ],
    "volume": [
        "({volume} + {volume} - {volume})",
        "({volume} * {number})",
        "({number} * {volume} / {number})",
        "(-({volume}))",
        "abs({volume})",
        "min({volume}, {volume})",
        "max([{volume}, {volume}])",
        "sum([{volume}, {volume}, {volume}])",
        "({volume} / 2 s * 1 min)",
        "({volume} if {condition} else {volume})",
    ],
    "condition": [
        "({volume} < {volume})",
        "({volume} >= {volume})",
        "({number} <= {number})",
        "({number} > {number})",
        "({whole} == {whole})",
        "({whole} != {whole})",
        "({whole} in [1, 2, {whole}])",
        "({volume} not in [3 µL, {volume}])",
        "({text} == {text})",
        "({text} != {text})",
        "({text} in ['once', {text}])",
        "({text} not in ['once', 'always'])",
        "({condition} and {condition} and {condition})",
        "({condition} or {condition})",
        "(not {condition})",
        "({condition} if {condition} else {condition})",
    ],
    "text": ["({text} if {condition} else {text})"],
}


def _write(draw: Callable[..., Any], kind: str, levels: int) -> str:
    if levels == 0 or draw(st.integers(0, 3)) == 0:
        return str(draw(st.sampled_from(LEAVES[kind])))
    form = draw(st.sampled_from(FORMS[kind]))
    found = ""
    while "{" in form:  # from left to right: each hole has an expression of its own
        before, _, rest = form.partition("{")
        hole, _, form = rest.partition("}")
        found += before + _write(draw, hole, levels - 1)
    return found + form


@st.composite
def expressions(draw: Callable[..., Any], kind: str) -> Expression:
    """Of one kind: number, whole, volume, condition, text; only such as pass the check."""
    text = _write(draw, kind, 3)
    try:
        return compile_expression(text, TYPES)
    except ExpressionError as error:  # some divide by a literal zero, or compare a tip with what it never is
        if any(flaw.kind != "value" for flaw in error.flaws):
            raise
        return compile_expression(LEAVES[kind][0], TYPES)


_ENDS = st.one_of(st.integers(-50, 50), st.floats(-1e4, 1e4, allow_subnormal=False))


@st.composite
def situations(draw: Callable[..., Any]) -> tuple[dict[str, Range], list[dict[str, Any]]]:
    """Ranges of all names, and some values within them."""
    env: dict[str, Range] = {}
    for name in ("volume", "ratio"):
        low, high = sorted((draw(_ENDS), draw(_ENDS)))
        env[name] = Interval(low, high)
    low, high = sorted((draw(st.integers(-9, 9)), draw(st.integers(-9, 9))))
    env["visits"] = Interval(low, high, integer=True)
    env["sound"] = Choices(frozenset(draw(st.sets(st.booleans(), min_size=1))))
    env["tip"] = Choices(frozenset(draw(st.sets(st.sampled_from(["always", "once", "never"]), min_size=1))))
    return env, [{name: draw(_value(found)) for name, found in env.items()} for _ in range(4)]


def _value(found: Range) -> st.SearchStrategy[Any]:
    if isinstance(found, Choices):
        return st.sampled_from(sorted(found.values, key=str))
    if found.integer:
        return st.integers(int(found.low), int(found.high))
    low, high = float(found.low), float(found.high)
    between = st.integers(0, 64).map(lambda part: min(max(low + (high - low) * part / 64, low), high))
    return st.one_of(between, st.sampled_from([low, high]))


def value(expression: Expression, values: dict[str, Any]) -> Any:
    """Its value, or None where it has none."""
    try:
        return expression(values)
    except ExpressionError:
        return None
