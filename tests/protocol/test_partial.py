"""One mistake in a file's shape hides no other: the parts that are right are checked all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from labd.files.library import folder
from labd.protocol import InputErrors, Problem, load
from labd.protocol.partial import rest_of
from labd.run.shipped import shipped
from tests.protocol.sound import SOUND
from tests.whole import some


def rest(text: str, folder_of: Path = Path("protocols")) -> list[Problem]:
    library = folder(folder_of)
    with pytest.raises(InputErrors) as told:
        load(text, "p.yaml", library)
    return rest_of(text, "p.yaml", library, None, told.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("end: complete", "end: completed"),
        ("    as: pressed", "    a: pressed"),
        ("  force: {type: quantity", "  force: {type: quantty"),
        ("- set: {tries: 0}", "- sett: {tries: 0}"),
        ("  press: crimper", "  press: [crimper]"),
        ("start: dose", "begin: dose"),
        ("version: 1.0.0\n", ""),
    ],
)
def test_a_mistake_elsewhere_is_told_beside_one_of_shape(old: str, new: str) -> None:
    assert SOUND.count(old) == 1
    spoilt = (
        SOUND.replace(old, new).replace("within: 90 s", "within: 90 kN").replace("scrap it: scrap", "scrap it: scrp")
    )
    found = [(problem.code, problem.mend) for problem in rest(spoilt)]
    assert found == [("P207", "a duration is written in s"), ("P301", "did you mean `scrap`?")]


KEYS = ("do", "as", "with", "next", "ask", "within", "call", "summary", "set")


def _shipped_lines() -> list[tuple[str, str, int]]:
    """Every shipped protocol with one unknown key in each place where a key stands alone in its line."""
    found = []
    for name, path in shipped().items():
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        for number, line in enumerate(lines):
            key = line.strip().removeprefix("- ").partition(":")[0]
            if line.startswith("    ") and key in (
                "do",
                "as",
                "with",
                "next",
                "ask",
                "within",
                "call",
                "summary",
                "set",
            ):
                found.append((name, key, number))
    return found


def test_a_sound_file_with_one_misspelt_key_has_no_other_mistakes() -> None:
    """Nothing is made up: not of names, roles or states that only stood in what was misspelt."""
    tried = 0
    for name, key, number in _shipped_lines()[:: some(4, 1)]:
        lines = shipped()[name].read_text(encoding="utf-8").splitlines()
        lines[number] = lines[number].replace(f"{key}:", f"{key}x:", 1)
        text = "\n".join(lines)
        try:
            load(text, "p.yaml", folder(Path("protocols")))
        except InputErrors:
            assert rest(text) == [], (name, number + 1, key)
            tried += 1
    assert tried > some(25, 100)
