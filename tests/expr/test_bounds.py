"""The language is bounded: what is long, deep or strange is refused in words, or is worked through in one walk.

How long that takes stands in benchmarks/expressions.py; here it is shown by the memory it takes, and by counting.
"""

from __future__ import annotations

import sys
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labd.expr import ANYTHING, ExpressionError, compile_expression, compile_template, parser
from labd.expr.nodes import parts_of
from labd.sdk import units
from tests.expr.evil import EVIL
from tests.expr.names import TYPES, VALUES, value_of

MIB = 2**20


def compiled_or_refused(text: str) -> ExpressionError | None:
    try:
        compile_expression(text, TYPES)
    except ExpressionError as error:
        return error
    return None


@pytest.mark.parametrize("text", EVIL.values(), ids=EVIL)
def test_no_text_takes_much_memory(text: str) -> None:
    compiled_or_refused(text)  # what is loaded once does not count
    tracemalloc.start()
    try:
        compiled_or_refused(text)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10 * MIB


@pytest.mark.parametrize("text", EVIL.values(), ids=EVIL)
def test_what_is_refused_is_refused_in_few_words_at_its_place(text: str) -> None:
    error = compiled_or_refused(text)
    for flaw in error.flaws if error else ():
        assert 0 <= flaw.offset <= len(text)
        assert len(flaw.message) < 200
        assert len(flaw.mend) < 400
    assert error is None or len(error.flaws) <= 20


@pytest.mark.parametrize("text", EVIL.values(), ids=EVIL)
def test_a_tree_is_no_greater_than_its_text_and_needs_no_deep_stack(text: str) -> None:
    limit = sys.getrecursionlimit()
    frame, depth = sys._getframe(), 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1  # type: ignore[assignment]
    sys.setrecursionlimit(depth + 400)
    try:
        found = compile_expression(text, TYPES)
        found(VALUES)
    except ExpressionError:
        return
    finally:
        sys.setrecursionlimit(limit)
    assert len(list(parts_of(found.node))) <= len(text)
    assert found.node.depth <= parser.DEEPEST


def test_units_are_looked_up_once_each_and_not_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = units.registry.parse_units

    def counted(text: str, *rest: Any, **more: Any) -> Any:
        asked.append(text)
        return real(text, *rest, **more)

    monkeypatch.setattr(units.registry, "parse_units", counted)
    many = "+".join(f"1 {first}{second}z" for first in "abcdefghij" for second in "klmnopqrst")
    assert compiled_or_refused(many) is not None
    assert len(asked) < 100


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 " + "*".join(["m"] * 40), "a unit has at most 60 characters"),
        ("1 m^99999999", "no unit"),
        ("1 kg^-1", "a dimension that labd does not use"),
        ("+".join(f"1 m{at}" for at in range(60)), "unknown unit"),
        (
            " + ".join(
                f"1 {prefix}{unit}" for prefix in ("", "k", "m", "M", "G", "n", "p", "c", "T") for unit in "VAJNW"
            ),
            "at most 32 different units",
        ),
        ("10" * 200, "too long or too great"),
        ("1e999 V", "too long or too great"),
        ("1e308 Mm", "not finite"),
        ("a.__class__", "underscore"),
        ("force.__class__.__mro__", "underscore"),
        ("__import__('os')", "underscore"),
        ("(lambda: 1)()", "`:`"),
        ("[x for x in [1]]", "does not belong here"),
        ("(n := 3)", "`:`"),
        ("1 \\\n + 2", "`\\` does not belong here"),
        ("f'{1}'", "does not belong here"),
        ("'%s' % 1", "`%` does not belong here"),
        ("visits\x00", "a character that is no text"),
        ("😀", "`😀` does not belong here"),
        ("visits @ visits", "`@` does not belong here"),
        ("2 // 3", "does not belong here"),
        ("visits if sound", "the expression ends too early"),
        ("open('/etc/passwd')", "there is no function `open`"),
        ("[1, 2][0]", "does not belong here"),
        ("'a' * 9999999999", "cannot be multiplied"),
        ("[1] * 9999999999", "cannot be multiplied"),
    ],
)
def test_bombs_and_ways_out_are_refused_in_words(text: str, message: str) -> None:
    error = compiled_or_refused(text)
    assert error is not None
    assert message in str(error)


def test_values_that_grow_in_a_loop_end_at_64_bits() -> None:
    square = compile_expression("n * n", {"n": TYPES["visits"]})
    number = 3
    for _ in range(5):
        number = square({"n": number})
    with pytest.raises(ExpressionError, match="64 bits"):
        square({"n": number})


@pytest.mark.parametrize("name", ["ratio", "thing"])
def test_a_number_that_happens_to_be_whole_is_bounded_as_well(name: str) -> None:
    square = compile_expression(f"{name} * {name}", {"ratio": TYPES["ratio"], "thing": ANYTHING})
    with pytest.raises(ExpressionError, match="64 bits"):
        square({name: 2**40})


@pytest.mark.parametrize("text", ["thing + thing", "thing * 1000000", "1000000 * thing"])
@pytest.mark.parametrize("thing", ["a text", [1, 2], {"a": 1}])
def test_only_numbers_are_reckoned_with_where_only_the_run_shows_the_type(text: str, thing: Any) -> None:
    try:
        found = compile_expression(text, {"thing": ANYTHING})
    except ExpressionError:
        return
    with pytest.raises(ExpressionError, match="a number belongs here"):
        found({"thing": thing})


def test_a_list_is_kept_up_to_a_length() -> None:
    twice = compile_expression("[thing, thing]", {"thing": ANYTHING})
    thing: Any = 1
    for _ in range(15):
        thing = twice({"thing": thing})
    with pytest.raises(ExpressionError, match="items"):
        twice({"thing": [thing, thing]})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("round(2.5, 1000000000)", 2.5),
        ("round(2.5, 99999999999999999999)", 2.5),
        ("round(7, -1000000000)", 0),
        ("round(7.5, -1000000000)", 0.0),
        ("len('" + "x" * 1900 + "')", 1900),
        ("sum([" + "9," * 900 + "9])", 8109),
        ("min(" + "9," * 900 + "9)", 9),
        ("9999999999" + "*9999999999" * 100 + " > 1", True),
    ],
)
def test_extreme_arguments_are_harmless(text: str, value: Any) -> None:
    assert value_of(text) == value


@pytest.mark.parametrize(
    "text", ["*".join(["9999999999"] * 150), "round(1e300)", "-9999999999*9999999999", "[1e300*1e300]"]
)
def test_results_that_nothing_can_hold_are_errors(text: str) -> None:
    with pytest.raises(ExpressionError, match=r"64 bits|not finite"):
        value_of(text)


PIECES = """
( ) [ ] , . + - * / ** // % == != < <= > >= = := and or not in if else true false 1 0 2.5 1e9 .5 9e99 9999999999
kN µL V °C degC force volume visits sound tip pressed peak_force min max abs round sum mean len 'a' " ' { } {{ _
__class__ ^ ^2 · | & ! ; : @ \\ 😀 ٣ ² é
"""


@settings(deadline=None)
@given(
    st.lists(st.one_of(st.sampled_from([*PIECES.split(), "\x00", "\n"]), st.text(max_size=3)), max_size=40),
    st.sampled_from(["", " "]),
)
def test_any_pieces_are_an_expression_or_an_expression_error(pieces: list[str], between: str) -> None:
    text = between.join(pieces)
    for attempt in (compile_expression, compile_template):
        try:
            attempt(text, TYPES)(VALUES)
        except ExpressionError as error:
            told = error.flaws
        else:
            continue
        assert told
