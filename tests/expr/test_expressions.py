"""Expressions: what they are worth, in which unit, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labd.expr import BOOLEAN, INTEGER, ExpressionError, Flaw, Missing, an, compile_expression, compile_template, show
from tests.expr.names import TYPES, VALUES, value_of


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("peak < 0.95 * force and visits < 3", True),
        ("1 + 2 * 3 - 4 / 2", 5),
        ("(1 + 2) * 3", 9),
        ("-2 * -3", 6),
        ("10 - 3 - 2", 5),
        ("not false and true or false", True),
        ("not visits == 2", True),
        ("visits if sound else 7", 1),
        ("1 if not sound else 2 if visits > 3 else 3", 3),
        ("tip in ['always', \"once\"]", True),
        ("visits not in [1, 2]", False),
        ("peak > 500 N", True),
        ("200 mV in [0.2 V]", True),
        ("min(peak, 3 kN, force)", 3.0),
        ("max(formed.capacities)", 2.0),
        ("mean(formed.capacities)", 1.5),
        ("sum(formed.capacities) / len(formed.capacities)", 1.5),
        ("abs(-3)", 3),
        ("round(volume / 10 µL)", 4),
        ("round(2.345, 1)", 2.3),
        ("len(formed.coulombic_efficiencies)", 0),
        ("1e3", 1000.0),
        (".5 + 1.", 1.5),
        ("'a' == 'b'", False),
    ],
)
def test_values(text: str, value: Any) -> None:
    assert value_of(text) == value


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("0.95 * force", "a force", 7.41),
        ("volume / time", "a flow rate", 7.0),
        ("charge / 2 h", "a current", 0.001),
        ("current * 2 h", "a charge", 2.0),
        ("volume / 7 µL", "a number", 5.0),
        ("10 µL/s * 2 s", "a volume", 20.0),
        ("100 mV / 1 mA", "a resistance", 100.0),
        ("warm - 20 degC", "a temperature difference", 5.0),
        ("warm + rise", "a temperature", 28.0),
        ("-5 degC", "a temperature", -5.0),
        ("oxygen / 2", "a fraction", 25.0),
        ("oxygen * 2 L", "a volume", 100.0),
        ("5 %", "a fraction", 50_000.0),
        ("oxygen / 1 %", "a number", 0.005),
        ("visits * 2", "a whole number", 2),
        ("visits / 2", "a number", 0.5),
        ("1 / time", "a frequency", 0.2),
    ],
)
def test_dimensions_follow_from_products_and_quotients(text: str, kind: str, value: float) -> None:
    found = compile_expression(text, TYPES)
    assert an(found.type) == kind
    assert found(VALUES) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "offset", "message", "mend"),
    [
        ("force > volume", 0, "a force cannot be compared with a volume", "one is in kN, the other in µL"),
        ("visits < 3 and force > 3", 15, "a force cannot be compared with a whole number", "such as `1 kN`"),
        ("force + warm", 0, "a force cannot be added to a temperature", "kN"),
        ("warm + warm", 0, "two temperatures cannot be added", "K"),
        ("2 * warm", 0, "a temperature in °C cannot be multiplied", "subtract"),
        ("warm > 15 K", 0, "cannot be compared with a temperature difference", "°C"),
        ("pressed.peek_force > 1 kN", 8, "a crimp result has no `peek_force`", "did you mean `peak_force`?"),
        ("presed.cycles > 1", 0, "there is no `presed` here", "did you mean `pressed`?"),
        ("pressed > 1", 0, "`pressed` is a crimp result, no value", "peak_force"),
        ("force.value > 1", 6, "`force` is a force: it has no fields", ""),
        ("tip == 'alwys'", 7, "it is never 'alwys'", "did you mean `always`?"),
        ("tip in ['always', 'nver']", 18, "it is never 'nver'", "did you mean `never`?"),
        ("sound and visits", 10, "a condition belongs here, and this is a whole number", "x > 3"),
        ("'a' < 'b'", 0, "texts have no order", "=="),
        ("force > 5 kn", 0, "a force cannot be compared with a speed", ""),
        ("charge > 5 mah", 9, "unknown unit 'mah'", "did you mean `mAh`?"),
        ("volume > 5 µL/time", 9, "unknown unit 'µL/time'", "put spaces about"),
        ("2 visits", 0, "unknown unit 'visits'", "an operator is missing"),
        ("mean(force)", 0, "`mean` takes a list, not a force", ""),
        ("round(volume)", 0, "only numbers are rounded", "round(x / 1 µL)"),
        ("min(1 V, 2)", 0, "cannot be measured against each other", ""),
        ("1 if sound else 2 V", 0, "cannot stand for each other", ""),
        ("1 / 0", 0, "a division by zero", ""),
    ],
)
def test_wrong_types_are_told_with_their_place_and_a_mend(text: str, offset: int, message: str, mend: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text, TYPES)
    (flaw,) = caught.value.flaws
    assert flaw.offset == offset
    assert message in flaw.message
    assert mend in flaw.mend


def test_all_flaws_are_told_at_once_and_each_only_once() -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression("(peek + 1 kN) * 2 > force and volum > 3 µL or 3 xyz > 1", TYPES)
    assert [flaw.offset for flaw in caught.value.flaws] == [1, 30, 46]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an expression is missing here"),
        ("2 ** 3", "there are no powers"),
        ("9**9**9", "there are no powers"),
        ("2 ^ 3", "there are no powers"),
        ("force.__class__", "a name does not begin with an underscore"),
        ("_private", "a name does not begin with an underscore"),
        ("().__class__.__bases__", "does not belong here"),
        ("__import__('os').system('true')", "underscore"),
        ("f'{force}'", "does not belong here"),
        ("eval('1')", "there is no function `eval`"),
        ("pressed.keys()", "nothing can be called but"),
        ("lambda: 1", "`:` does not belong here"),
        ("[x for x in y]", "does not belong here"),
        ("formed.capacities[0]", "`[` does not belong here"),
        ("{1: 2}", "braces are not known here"),
        ("1; 2", "`;` does not belong here"),
        ("a := 1", "`:` does not belong here"),
        ("force = 3 kN", "`=` compares nothing"),
        ("1 < visits < 3", "comparisons do not follow each other"),
        ("sound && sound", "`&` is not known here"),
        ("(force", "the expression ends too early"),
        ("'open", "this text does not end"),
        ("force \x00", "a character that is no text"),
        ("1e999", "too long or too great"),
        ("9" * 50, "too long or too great"),
        ("-" * 1000 + "1", "nests at most 50 levels"),
        ("not " * 400 + "sound", "nests at most 50 levels"),
        ("min(" * 300 + "1" + ")" * 300, "nests at most 50 levels"),
        ("1 + " * 600 + "1", "at most 2000 characters"),
        ("1 m^9^9^9", "there are no powers"),
    ],
)
def test_what_the_language_does_not_have_is_refused(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text, TYPES)
    assert message in str(caught.value)


def test_length_costs_no_depth() -> None:
    assert value_of("(" * 900 + "1" + ")" * 900) == 1
    assert value_of("1" + "+1" * 900) == 901
    assert value_of(" and ".join(["sound"] * 200)) is True


@given(st.text(max_size=60))
def test_any_text_is_an_expression_or_an_expression_error(text: str) -> None:
    flaws: tuple[Flaw, ...] = ()
    try:
        compile_expression(text, TYPES)(VALUES)
    except ExpressionError as error:
        flaws = error.flaws
    assert all(0 <= flaw.offset <= len(text) for flaw in flaws)


@given(
    st.recursive(
        st.sampled_from(
            ["visits", "ratio", "sound", "force", "warm", "oxygen", "3", "2.5 kN", "'a'", "pressed.cycles"]
        ),
        lambda inner: st.builds(
            "({} {} {})".format, inner, st.sampled_from(["+", "-", "*", "/", "<", "==", "and", "or", "in"]), inner
        ),
        max_leaves=8,
    )
)
def test_what_passes_the_check_has_a_value_of_its_type_or_an_expression_error(text: str) -> None:
    try:
        found = compile_expression(text, TYPES)
        value = found(VALUES)
    except ExpressionError:
        return
    assert isinstance(value, bool) == (found.type == BOOLEAN)
    if found.type == INTEGER:
        assert isinstance(value, int)


@pytest.mark.parametrize(
    ("text", "values", "message"),
    [
        ("1 / ratio", {}, "a division by zero"),
        ("1 * 2 * 3 / ratio", {}, "a division by zero"),
        ("pressed.displacement > 1 mm", {}, "`pressed.displacement` has no value now"),
        ("pressed.cycles > 1", {"pressed": None}, "`pressed.cycles` has no value now"),
        ("peak > 1 kN", {"peak": Missing("is 12 s old")}, "`peak` is 12 s old"),
        ("peak > 1 kN", {"peak": float("nan")}, "`peak` has no value now"),
        ("peak > 1 kN", {"peak": "seven"}, "it has no value"),
        ("mean(formed.coulombic_efficiencies)", {}, "`mean` of an empty list"),
        ("max(formed.coulombic_efficiencies)", {}, "`max` of an empty list"),
        ("1e300 * 1e300", {}, "not finite"),
    ],
)
def test_what_has_no_value_now_says_so(text: str, values: dict[str, Any], message: str) -> None:
    found = compile_expression(text, TYPES)
    with pytest.raises(ExpressionError) as caught:
        found({**VALUES, **values})
    assert message in str(caught.value)
    assert caught.value.flaws[0].kind == "value"


def test_the_second_operand_is_not_looked_at_when_the_first_decides() -> None:
    assert value_of("sound or pressed.displacement > 1 mm") is True
    assert value_of("not sound and 1 / ratio > 1") is False


def test_an_expression_tells_what_it_was_decided_by() -> None:
    found = compile_expression("pressed.peak_force < 0.95 * force", TYPES)
    assert found.because(VALUES) == "pressed.peak_force 7.31 kN, force 7.8 kN"
    assert found.names == {("pressed", "peak_force"), ("force",)}


def test_texts_have_holes_filled_with_units() -> None:
    text = compile_template("Only {pressed.peak_force} of {force}, {{so}} {visits + 1}?", TYPES)
    assert text(VALUES) == "Only 7.31 kN of 7.8 kN, {so} 2?"


def test_a_hole_without_a_value_does_not_keep_the_question_from_being_asked() -> None:
    text = compile_template("{pressed.displacement} deep", TYPES)
    assert text(VALUES) == "(`pressed.displacement` has no value now) deep"


@pytest.mark.parametrize(("text", "offset"), [("a {force", 2), ("a } b", 2), ("it is {forse}.", 7), ("{}", 1)])
def test_a_wrong_hole_is_told_at_its_place(text: str, offset: int) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_template(text, TYPES)
    assert caught.value.flaws[0].offset == offset


def test_values_are_shown_as_people_write_them() -> None:
    assert show(0.0005, TYPES["current"]) == "500 µA"
    assert show([1.0, 2.0], TYPES["formed"].fields["capacities"]) == "[1 mAh, 2 mAh]"  # type: ignore[union-attr]
    assert show(True, BOOLEAN) == "yes"
    assert show(None, TYPES["force"]) == "no value"
