"""One layout for all protocols: the same meaning, every comment in its place, and nothing to do the second time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labd.protocol import InputErrors
from labd.protocol.exchange.layout import laid_out
from tests.protocol.sound import SOUND
from tests.protocol.written import written

DATA = Path(__file__).parent / "data" / "layout"
SHIPPED = sorted((Path(__file__).parents[2] / "protocols").glob("*.yaml"))
HEAD = "labd: 1\nprotocol: x\n"


@st.composite
def spoilt(draw: Any) -> str:
    """A sound file with comments and signs put in, and signs and lines taken out."""
    text: str = draw(st.sampled_from([SOUND, (DATA / "before.yaml").read_text()]))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text) - 1))
        begin, end = text.rfind("\n", 0, at) + 1, text.find("\n", at) % len(text)
        put = draw(st.sampled_from([*"#-:,'\"|>[]{}\n ", "  ", " # beside", "\n  ", "", "comment", "line", "gone"]))
        if put == "comment":
            text = text[:begin] + " " * draw(st.integers(0, 10)) + "# above\n" + text[begin:]
        elif put == "line":
            text = text[:begin] + text[begin : end + 1] * 2 + text[end + 1 :]
        elif put == "gone":
            text = text[:begin] + text[end + 1 :]
        else:
            text = text[:at] + put + text[at + (not put) :]
    return text


def body(text: str) -> str:
    """What the layout makes of lines below a head."""
    made = laid_out(HEAD + text)
    assert made.startswith(HEAD)
    return made.removeprefix(HEAD).lstrip("\n")


def test_a_file_with_comments_everywhere() -> None:
    assert laid_out((DATA / "before.yaml").read_text()) == (DATA / "after.yaml").read_text()


@pytest.mark.parametrize("text", [SOUND, (DATA / "after.yaml").read_text()], ids=["sound", "golden"])
def test_a_second_time_changes_nothing(text: str) -> None:
    assert laid_out(laid_out(text)) == laid_out(text)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_protocols_that_ship_are_laid_out(path: Path) -> None:
    assert laid_out(path.read_text()) == path.read_text()


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(written())
def test_any_file_keeps_its_meaning_and_comments_and_is_laid_out_for_good(text: str) -> None:
    once = laid_out(text)  # raises where something is lost
    assert laid_out(once) == once


@settings(deadline=None, max_examples=150)
@given(spoilt())
def test_a_file_with_slips_of_the_hand_is_told_or_laid_out_for_good(text: str) -> None:
    try:
        once = laid_out(text)
    except InputErrors:
        return
    assert laid_out(once) == once


def test_the_head_keeps_single_empty_lines() -> None:
    schema = "# yaml-language-server: $schema=x"
    assert laid_out(f"# a\n\n{schema}\n\n# b\n{HEAD}") == f"{schema}\n# a\n\n# b\n{HEAD}"


@pytest.mark.parametrize(
    "value",
    [
        *("1.10", "35 µL", "=volume", "1e-3 mol/L", "yes", '"yes"', '"1.10"', "-0.5", "true", '"null"', "~", '"=x: y"'),
        *('"# no comment"', "'1: \"so\"'", '"two\\nlines"', '" space "', "https://labd", '"a: b"', '"2026-01-01"'),
    ],
)
def test_values_keep_their_signs(value: str) -> None:
    assert body(f"summary: {value}\n") == f"summary: {value}\n"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ('"35 µL"', "35 µL"),
        ("'yes'", '"yes"'),
        ("'a: b'", '"a: b"'),
        ('"say \\"so\\""', 'say "so"'),
        ('"it\'s"', "it's"),
        ("two\n  lines", "two lines"),
        ("|-\n  one", "|-\n  one"),
    ],
)
def test_quotes_stand_where_they_must(given: str, expected: str) -> None:
    assert body(f"summary: {given}\n") == f"summary: {expected}\n"


def test_inside_braces_what_yaml_would_read_is_quoted() -> None:
    made = body("states:\n  a:\n    next:\n      - if: max(a, b) > 3 V\n        go: x\n")
    assert '- {if: "max(a, b) > 3 V", go: x}' in made


def test_a_text_that_is_too_long_for_a_line_goes_on_in_the_next() -> None:
    made = body("summary: " + "word " * 40 + "end  # beside\n")
    assert max(len(line) for line in made.splitlines()) <= 120 + len("  # beside")
    assert made.splitlines()[1].startswith("  word")
    assert made.endswith("end  # beside\n")


def test_a_mapping_that_is_too_long_for_a_line_takes_a_line_an_entry() -> None:
    names = [f"a_long_parameter_{number}" for number in range(6)]
    made = body("states: {a: {do: r.x, with: {" + ", ".join(f"{name}: 1" for name in names) + "}}}\n")
    assert made == "states:\n  a:\n    do: r.x\n    with:\n" + "".join(f"      {name}: 1\n" for name in names)


def test_the_editors_schema_stays_the_first_line() -> None:
    schema = "# yaml-language-server: $schema=labd.schema.json"
    assert laid_out(f"# About it.\n{schema}\n{HEAD}").splitlines()[:2] == [schema, "# About it."]


def test_keys_that_nobody_knows_come_last_as_they_were() -> None:
    assert laid_out(f"zeta: 1\nalpha: 2\n{HEAD}") == f"{HEAD}\nzeta: 1\n\nalpha: 2\n"


def test_line_ends_of_other_systems_become_the_ones_of_this() -> None:
    assert laid_out(SOUND.replace("\n", "\r\n")) == laid_out(SOUND)


def test_groups_of_parameters_that_people_made_stay_and_are_aligned_each() -> None:
    made = body("parameters:\n\n  a: {type: text}\n  bcd: {type: text}\n\n\n  e: {type: text}\n")
    assert made == "parameters:\n  a:   {type: text}\n  bcd: {type: text}\n\n  e: {type: text}\n"


def test_comments_beside_neighbouring_lines_stand_below_each_other() -> None:
    made = body("version: 1.0.0 # a\nsummary: x # b\n")
    assert made == "version: 1.0.0  # a\nsummary: x      # b\n"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("labd: 1\nprotocol: {\n", "P102"),
        ("protocol: x\nprotocol: y\n", "P103"),
        ("protocol: &a x\n", "P104"),
        ("protocol: 007\n", "P106"),
        ("", "P113"),
        ("- protocol\n", "P113"),
        ("lab: bench\ndevices: {}\n", "P113"),
    ],
)
def test_what_cannot_be_read_is_told_and_not_laid_out(text: str, code: str) -> None:
    with pytest.raises(InputErrors) as caught:
        laid_out(text, "p.yaml")
    assert caught.value.problems[0].code == code
