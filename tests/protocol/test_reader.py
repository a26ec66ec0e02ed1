"""Files that are no protocols: each gives a clear problem with its place, never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labd.protocol import InputErrors, load
from tests.protocol.sound import SOUND, problems_of, spoilt


@pytest.mark.parametrize(
    ("text", "where", "code", "message", "mend"),
    [
        (
            spoilt("version: 1.0.0\n", "version: 1.0.0\nprotocol: twice\n"),
            "p.yaml:4:1",
            "P103",
            "the first is in line 2",
            "keep",
        ),
        (spoilt("  dose:\n", "\tdose:\n"), "p.yaml:16:1", "P102", "a tab in the indentation", "spaces"),
        ("\ufeff" + SOUND, "p.yaml:1:1", "P101", "byte-order mark", "without BOM"),
        (spoilt("Dose and crimp.", "a\x07b"), "p.yaml:4:11", "P101", "a character that is no text", "delete"),
        (spoilt("7.8 kN, min", "&f 7.8 kN, min"), "p.yaml:8:36", "P104", "an anchor (`&f`)", "parameters"),
        (spoilt("cycles: =cycles", "cycles: *f"), "p.yaml:53:69", "P104", "an alias", "parameters"),
        (spoilt("Dose and crimp.", "!!python/object:os.system x"), "p.yaml:4:10", "P104", "a tag", "delete"),
        ("%YAML 1.1\n---\n" + SOUND, "p.yaml:2:1", "P104", "a YAML directive", "delete"),
        (SOUND + "---\nlabd: 1\n", "p.yaml:58:1", "P104", "a second document", "one file"),
        ("labd: 1\nprotocol: " + "[" * 10_000, "p.yaml:2:50", "P105", "nests more than 40 levels deep", ""),
        ("labd: 1\nprotocol: " + "{a: " * 3_000, "p.yaml:2:167", "P105", "nests more than 40 levels deep", ""),
        ("x" * 300_000, "p.yaml:1:1", "P105", "larger than 256 kB", ""),
        (
            spoilt("default: 3,", "default: 012,"),
            "p.yaml:9:36",
            "P106",
            "`012` is read as different numbers",
            "write `12`",
        ),
        (spoilt("default: 3,", "default: 0x1f,"), "p.yaml:9:36", "P106", "`0x1f` is read", "decimals"),
        (spoilt("default: 3,", "default: .inf,"), "p.yaml:9:36", "P106", "`.inf` is no number", "finite"),
        (spoilt("default: 3,", "default: .NaN,"), "p.yaml:9:36", "P106", "`.NaN` is no number", "finite"),
        (spoilt("default: 3,", "default: 1e999,"), "p.yaml:9:36", "P106", "too long or too great", ""),
        (spoilt("go: form}", "go: form"), "p.yaml:41:7", "P102", "expected ',' or '}'", "quoted inside"),
        (spoilt("summary: Dose", "summary: a: b"), "p.yaml:4:11", "P102", "mapping values are not allowed", "quoted"),
        (
            spoilt("- {go: form}", "- {if: max(cycles, 2) > 3, go: look}\n      - {go: form}"),
            "p.yaml:40:26",
            "P102",
            "`2) > 3` stands alone",
            "quoted inside",
        ),
        ("labd: 2\nprotocol: later\n", "p.yaml:1:7", "P107", "version 1 of the language, not '2'", "labd: 1"),
        ("labd: true\n", "p.yaml:1:7", "P107", "not True", "labd: 1"),
        ("protocol: x\n", "p.yaml:1:1", "P112", "`labd`, the version of the language, is missing", "labd: 1"),
        ("", "p.yaml:1:1", "P113", "the file is empty", "labd: 1"),
        ("- 1\n", "p.yaml:1:1", "P113", "this is no protocol", "labd: 1"),
    ],
)
def test_what_cannot_be_read(text: str, where: str, code: str, message: str, mend: str) -> None:
    (problem,) = problems_of(text)
    assert (problem.where, problem.code) == (where, code)
    assert message in problem.message
    assert mend in problem.mend


@pytest.mark.parametrize(
    ("data", "where", "message"),
    [
        (b"\x7fELF\x02\x01\x01\x00\x00\x00", "", "this is a binary file"),
        (SOUND.replace("µ", "u").replace("Dose and", "Dosé and").encode("latin-1"), ":4:13", "a byte that is no UTF-8"),
        (SOUND.encode("utf-16"), ":1:1", "byte-order mark"),
        (SOUND.encode("utf-8-sig"), ":1:1", "byte-order mark"),
        (b"a" * 300_000, "", "larger than 256 kB"),
    ],
)
def test_files_that_are_no_text(tmp_path: Path, data: bytes, where: str, message: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(data)
    with pytest.raises(InputErrors) as caught:
        load(path)
    (problem,) = caught.value.problems
    assert problem.where == f"{path}{where}"
    assert message in problem.message


def test_a_file_that_is_not_there_and_one_that_never_ends(tmp_path: Path) -> None:
    with pytest.raises(InputErrors, match="does not exist"):
        load(tmp_path / "none.yaml")
    with pytest.raises(InputErrors, match="is no file"):
        load(Path("/dev/zero"))


@pytest.mark.parametrize("version", ["0.1.0", "0.10.2"])
def test_a_version_that_begins_with_nought_is_a_version(version: str) -> None:
    assert problems_of(spoilt("version: 1.0.0", f"version: {version}")) == []


def test_a_bomb_of_aliases_is_refused_at_its_first_anchor() -> None:
    bomb = "labd: 1\na: &a [x, x]\n" + "".join(
        f"{name}: &{name} [*{before}, *{before}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    (problem,) = problems_of(bomb)
    assert problem.where == "p.yaml:2:4"


def test_a_problem_is_shown_with_its_line_a_caret_and_the_mend() -> None:
    (problem,) = problems_of(spoilt("press: crimper", "press: crimpr"))
    assert problem.render() == (
        "p.yaml:12:10: P201 there is no role `crimpr`\n"
        "   12 |   press: crimpr\n"
        "      |          ^^^^^^\n"
        "      → did you mean `crimper`?"
    )


@given(st.text(max_size=200))
def test_any_text_gives_a_protocol_or_problems(text: str) -> None:
    assert problems_of("labd: 1\n" + text)


@given(
    st.integers(0, len(SOUND) - 1), st.integers(0, 30), st.sampled_from(["", "{", "]", ": ", "\n", "=", "- ", "é", "0"])
)
def test_a_protocol_with_a_piece_replaced_gives_no_traceback(at: int, length: int, new: str) -> None:
    for problem in problems_of(SOUND[:at] + new + SOUND[at + length :]):
        assert problem.line >= 0
        assert problem.render()


def test_a_key_that_stands_twice_in_braces_and_says_nothing_is_told() -> None:
    found = problems_of(spoilt("{force: =force, dwell: 2 s}", "{force: =force, force: , dwell: 2 s}"))
    assert [problem.code for problem in found] == ["P103"]
