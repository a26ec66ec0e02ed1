"""What is told of a protocol before anything moves: code, place and mend of each mistake."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from labd.protocol import CODES, LabFacts, check, load, standard_facts
from labd.run.shipped import library
from labd.sdk import Bounds
from tests.protocol.sound import SOUND, problems_of, spoilt


def test_the_sound_one_has_no_problems() -> None:
    assert problems_of(SOUND) == []


# old piece, new piece, where in the new piece the caret stands, code, message, mend
MISTAKES = [
    # roles, actions, parameters, results, names
    ("press: crimper", "press: crimpr", 7, "P201", "there is no role `crimpr`", "did you mean `crimper`?"),
    ("role: potentiostat", "role: potentiostats", 6, "P201", "there is no role `potentiostats`", "`potentiostat`?"),
    ("do: press.crimp", "do: pres.crimp", 4, "P201", "there is no role `pres` here", "did you mean `press`?"),
    ("do: press.crimp", "do: press.crimb", 10, "P202", "crimper has no action `crimb`", "did you mean `crimp`?"),
    ("do: press.crimp", "do: press", 4, "P202", "the action is missing", "it has: close, crimp, open"),
    (
        "{force: =force,",
        "{forse: =force,",
        1,
        "P203",
        "`press.crimp` has no parameter `forse`",
        "did you mean `force`?",
    ),
    ("{force: =force, dwell: 2 s}", "{dwell: 2 s}", -6, "P204", "`press.crimp` needs `force`", "force: 1 kN"),
    ("0.95 * force and", "0.95 * forc and", 7, "P205", "there is no `forc` here", "did you mean `force`?"),
    (
        "pressed.peak_force < 0.95",
        "pressed.peek_force < 0.95",
        8,
        "P205",
        "no `peek_force`",
        "did you mean `peak_force`?",
    ),
    ("pressed.peak_force < 0.95", "crimp.peak_force < 0.95", 0, "P205", "there is no `crimp` here", "`as:`"),
    ("source: =electrolyte", "source: =electrolite", 9, "P205", "there is no `electrolite` here", "`electrolyte`?"),
    ("give {force}.", "give {forces}.", 6, "P205", "there is no `forces` here", "did you mean `force`?"),
    # types and units
    ("dwell: 2 s", "dwell: 2", 7, "P207", "2 needs a unit", "write `2 s`"),
    ("dwell: 2 s", "dwell: 2 µL", 7, "P207", "`2 µL` is a volume, and a duration belongs here", "written in s"),
    ("dwell: 2 s", "dwell: 2 sc", 7, "P207", "unknown unit 'sc'", "did you mean `s`?"),
    ("force: =force", "force: force", 7, "P207", "'force' is no quantity", "write `=force` for its value"),
    ("dwell: 2 s", "dwell: yes", 7, "P207", "'yes' is no quantity", "like `1 s`"),
    ("dwell: 2 s", "dwell: true", 7, "P206", "a duration belongs here, not `true`", "`1 s`"),
    ("dwell: 2 s", "dwell: ", 0, "P206", "a duration is missing here", ""),
    ("within: 60 s", "within: 1:30", 8, "P206", "a clock's colon is read in two ways", "write `90 s`"),
    ("within: 60 s", "within: 60", 8, "P207", "60 needs a unit", "write `60 s`"),
    ("within: 60 s", "within: -60 s", 8, "P208", "below the least", ""),
    ("within: 60 s", "within: =force", 9, "P207", "a duration belongs here, and this is a force", ""),
    ("volume: =volume,", "volume: =force,", 9, "P207", "a volume belongs here, and this is a force", ""),
    ("0.95 * force and", "0.95 * volume and", -21, "P207", "a force cannot be compared with a volume", "kN"),
    ("cycles: =cycles", "cycles: =cycles / 2", 9, "P206", "a whole number belongs here", "round"),
    ("cycles: =cycles", "cycles: 2.5", 8, "P206", "a whole number belongs here, not `2.5`", ""),
    ("cycles: =cycles", "cycles: 3 s", 8, "P206", "a whole number belongs here, not `3 s`", "no unit"),
    ("if: dosed.volume < 0.5 * volume", "if: dosed.volume", 4, "P206", "true or false belongs here", "x > 3"),
    ("=tries + 1}", "=tries + 1 s}", 1, "P207", "a whole number cannot be added", "unit"),
    ("wait: 1 s", "wait: 1", 6, "P207", "1 needs a unit", "write `1 s`"),
    # bounds
    ("dwell: 2 s", "dwell: 700 s", 7, "P208", "700 s is above the greatest, 600 s", ""),
    ("cycles: =cycles", "cycles: 0", 8, "P208", "0 is below the least, 1", ""),
    ("default: 35 µL", "default: 5 µL", 9, "P208", "5 µL is below the least, 10 µL", ""),
    ("min: 5 kN, max: 10 kN", "min: 15 kN, max: 10 kN", 5, "P208", "the least value is above the greatest", "exchange"),
    ("min: 5 kN,", "min: 5 µL,", 5, "P207", "`5 µL` is a volume, and a force belongs here", "kN"),
    ("default: 7.8 kN", "default: 7.8", 9, "P207", "7.8 needs a unit", "write it as `7.8 kN`"),
    ("default: 3, min", "default: =1, min", 9, "P206", "no expressions", "write the value"),
    ("{type: material, default: LP57}", "{type: choice}", -13, "P112", "`choices` is missing", "choices: [a, b]"),
    ("{type: material, default: LP57}", "{type: material, max: 3}", 22, "P206", "a material has no bounds", "delete"),
    # expressions that cannot be read
    ("0.95 * force and", "0.95 ** force and", 5, "P209", "there are no powers", "multiply"),
    ("visits < 2,", "visits = 2,", 7, "P209", "`=` compares nothing", "write `==`"),
    ("=tries + 1", "=tries +", 7, "P209", "the expression ends too early", ""),
    # names
    ("as: pressed", "as: force", 4, "P211", "`force` is taken", "another name"),
    ("as: pressed", "as: visits", 4, "P211", "`visits` is a word of the language", "another name"),
    ("as: pressed", "as: dosed", 4, "P211", "`dosed` was a transfer result before", "different names"),
    # states
    ("start: dose", "start: dos", 7, "P301", "there is no state `dos`", "did you mean `dose`?"),
    ("next: crimp", "next: crmp", 6, "P301", "there is no state `crmp`", "did you mean `crimp`?"),
    ("{go: form}", "{go: from}", 5, "P301", "there is no state `from`", "did you mean `form`?"),
    ("keep it: form", "keep it: fromm", 9, "P301", "there is no state `fromm`", "did you mean `form`?"),
    ("rejected: look", "rejected: lok", 10, "P301", "there is no state `lok`", "did you mean `look`?"),
    ("[crimp, scrap]", "[crimp, scarp]", 8, "P301", "there is no state `scarp`", "did you mean `scrap`?"),
    ("{times: 2, otherwise: scrap}", "{times: 2, otherwise: srap}", 22, "P301", "there is no state `srap`", "`scrap`?"),
    ("rejected: look, ", "", None, "P302", "no way leads to `look`", "lead to it"),
    ("next: done", "next: form", None, "P303", "from `form` no end can be reached", "`end`"),
    ("      - {go: form}\n", "", None, "P304", "the last way has a condition", "add `- {go: …}`"),
    ("- {if: pressed.peak_force < 0.5 * force, go: hold}", "- {go: hold}", 2, "P304", "are never taken", "`if`"),
    ("    max_visits: {times: 2, otherwise: scrap}\n", "", None, "P305", "without end: crimp → crimp", "max_visits: 3"),
    (
        "    choices: {keep it: form, scrap it: scrap}\n",
        "",
        None,
        "P306",
        "neither `choices` nor an `input`",
        "choices",
    ),
    ("    within: 30 min\n", "", None, "P306", "`otherwise` without `within`", "within: 30 min"),
    ("ask: What does the cell weigh?", "ask: Go?\n        choices: {yes: done}", None, "P306", "never done", "last"),
    ("    next: crimp\n", "", None, "P112", "`next` is missing in `dose`", "next: done"),
    ("start: dose", "start: look", None, "P302", "no way leads to `dose`", ""),
    # keys and shapes
    ("summary: Dose", "sumary: Dose", 0, "P111", "unknown key `sumary`", "did you mean `summary`?"),
    ("within: 60 s", "witin: 60 s", 0, "P111", "unknown key `witin`", "did you mean `within`?"),
    ("- wait: 5 s", "- wiat: 5 s", 2, "P111", "unknown key `wiat`", "did you mean `wait`?"),
    ("{go: form}", "{goto: form}", 1, "P111", "unknown key `goto`", "did you mean `go`?"),
    ("type: integer", "type: integr", 6, "P113", "`integr` does not belong here", "did you mean `integer`?"),
    ("{end: complete}", "{end: completed}", 6, "P113", "`completed` does not belong here", "`complete`?"),
    ("version: 1.0.0", "version: 1.10", 9, "P113", "`1.10` is no version", "`1.0.0`"),
    ("protocol: dose_and_crimp", "protocol: dose and crimp", 10, "P113", "is no name", "write `dose_and_crimp`"),
    ("scrap: {end: scrapped}", "scrap: {}", 0, "P114", "this state says nothing to do", "`do`"),
    (
        "    do: press.crimp",
        "    steps: [{wait: 1 s}]\n    do: press.crimp",
        29,
        "P114",
        "`steps` or `do`, not both",
        "list",
    ),
    ("channels: 1", "channels: 0", 10, "P208", "`channels` is at least 1, not 0", ""),
    ("{times: 2,", "{times: two,", 8, "P113", "a whole number belongs here, not `two`", ""),
    (
        "type: quantity, min: 1 g, max: 6 g",
        "type: quantity",
        None,
        "P207",
        "a quantity needs a default or bounds",
        "min",
    ),
]


@pytest.mark.parametrize(
    ("old", "new", "caret", "code", "message", "mend"),
    [pytest.param(*mistake, id=f"{mistake[3]} {mistake[1] or mistake[0]}"[:60]) for mistake in MISTAKES],
)
def test_a_mistake_is_told_with_its_place_and_a_mend(
    old: str, new: str, caret: int | None, code: str, message: str, mend: str
) -> None:
    text = spoilt(old, new)
    problems = problems_of(text)
    told = [problem for problem in problems if problem.code == code and message in problem.message]
    assert told, "\n".join(problem.render() for problem in problems)
    problem = told[0]
    assert mend in problem.mend
    assert problem.source in text
    if caret is not None:
        assert (problem.line, problem.column) == _place(text, old, new, caret)


def _place(text: str, old: str, new: str, caret: int) -> tuple[int, int]:
    index = SOUND.index(old) + caret
    return text.count("\n", 0, index) + 1, index - (text.rfind("\n", 0, index) + 1) + 1


@pytest.mark.parametrize("mistake", [m for m in MISTAKES if m[3] in ("P201", "P203", "P205", "P206", "P207", "P208")])
def test_one_mistake_is_told_once(mistake: tuple[str, str, int, str, str, str]) -> None:
    assert len(problems_of(spoilt(mistake[0], mistake[1]))) == 1


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    text = SOUND
    for old, new in (("crimper", "crimpr"), ("90 s", "90"), ("keep it: form", "keep it: fromm"), ("2.8 V", "2.8 mm")):
        text = text.replace(old, new)
    assert [(problem.line, problem.code) for problem in problems_of(text)] == [
        (12, "P201"),
        (20, "P207"),
        (43, "P301"),
        (53, "P207"),
    ]


def test_a_name_that_some_way_has_not_set_yet() -> None:
    text = (
        spoilt("start: dose", "start: crimp").replace("{go: form}", "{go: dose}").replace("next: crimp", "next: look")
    )
    text = text.replace("  look:\n    ask: The press", "  look:\n    ask: It took {formed.capacity}. The press")
    problems = problems_of(text)
    assert ("P307", "`formed` has no value yet on some way here") in [(p.code, p.message) for p in problems]


def test_a_name_set_in_one_branch_only_is_not_known_after_it() -> None:
    text = (
        spoilt("- set: {tries: 0}\n      - if", "- if")
        .replace("=tries + 1", "1")
        .replace("    next: crimp\n", "    next: [{if: tries > 0, go: crimp}, {go: crimp}]\n")
    )
    (problem,) = problems_of(text)
    assert (problem.code, problem.message) == ("P307", "`tries` has no value yet on some way here")


def test_a_hold_in_a_cycle_needs_no_bound_for_a_person_decides_there() -> None:
    text = spoilt("keep it: form", "keep it: {hold: look at it, continue_at: [look]}")
    assert problems_of(text) == []


class TestOfOneLab:
    """What a lab adds: its devices' actions, limits, places and materials."""

    @pytest.fixture
    def facts(self) -> LabFacts:
        standard = standard_facts()
        press = dataclasses.replace(standard.roles["crimper"], units=1, limits={"crimp.force": Bounds(max=9)})
        roles = {**standard.roles, "crimper": press}
        places, materials = frozenset({"press/nest", "ot2/3/A1"}), frozenset({"LP57", "LP30"})
        return LabFacts(roles, places, materials, name="glovebox-2")

    def test_a_role_that_it_does_not_have(self, facts: LabFacts) -> None:
        roles = {name: role for name, role in facts.roles.items() if name != "potentiostat"}
        (problem,) = problems_of(SOUND, dataclasses.replace(facts, roles=roles))
        assert (problem.code, problem.message) == ("P201", "glovebox-2 has no potentiostat")

    def test_more_units_than_it_has(self, facts: LabFacts) -> None:
        text = spoilt("press: crimper", "press: crimper\n  second: crimper")
        told = [(problem.code, problem.message) for problem in problems_of(text, facts)]
        assert ("P501", "the protocol needs 2 of crimper, the lab has 1") in told

    def test_a_parameter_that_may_be_more_than_the_lab_allows(self, facts: LabFacts) -> None:
        (problem,) = problems_of(SOUND, facts)
        assert (problem.code, problem.message) == (
            "P208",
            "`force` may be up to 10 kN, and `press.crimp` takes at most 9 kN: with force = 10 kN this is 10 kN",
        )

    def test_a_limit_tighter_than_the_actions_own(self, facts: LabFacts) -> None:
        (problem,) = problems_of(spoilt("{force: =force,", "{force: 9.5 kN,"), facts)
        assert (problem.code, problem.message) == ("P208", "9.5 kN is above the greatest, 9 kN")

    def test_a_place_and_a_material_that_it_does_not_have(self, facts: LabFacts) -> None:
        text = spoilt("destination: =sample.position", "destination: ot2/3/A9")
        (problem,) = problems_of(text.replace("source: =electrolyte", "source: LP57"), facts)
        assert (problem.code, problem.mend) == ("P210", "did you mean `ot2/3/A1`?")
        (problem,) = problems_of(spoilt("source: =electrolyte", "source: LP75"), facts)
        assert (problem.code, problem.message) == ("P210", "the lab has no place or material `LP75`")


def test_every_code_that_is_told_is_explained() -> None:
    assert {mistake[3] for mistake in MISTAKES} <= CODES.keys()


@pytest.mark.parametrize("path", sorted(Path(__file__).parents[2].glob("protocols/*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_protocols_are_sound(path: Path) -> None:
    protocol = load(path, library=library(path.parent))
    assert [problem for problem in check(protocol) if problem.severity == "error"] == []
    assert protocol.name == path.stem


def test_an_unknown_unit_is_told_also_where_a_text_could_stand() -> None:
    (problem,) = problems_of(spoilt("- set: {tries: 0}", "- set: {tries: 0, most: 5 gzz}"))
    assert (problem.code, problem.message) == ("P207", "unknown unit 'gzz'")
    assert problem.mend == 'write `"5 gzz"` if a text is meant'
    assert (
        problems_of(spoilt("- set: {tries: 0}", "- set: {tries: 0, most: '5 gzz', grade: A4, day: 2026-01-01}")) == []
    )


def test_what_leaves_the_ways_as_they_are_hides_no_proof() -> None:
    text = spoilt("within: 60 s\n    as: pressed", "within: 60 s\n    retry: {times: 2}\n    as: pressed")
    text = text.replace("{force: =force,", "{force: =force / (tries - later),").replace(
        "- wait: 5 s", "- wait: 5 s\n          - set: {later: 1}"
    )
    text = text.replace("start: dose\n", WINDOW + "start: dose\n").replace("- wait: 1 s", "- wait: 2 min")
    assert [problem.code for problem in problems_of(text.replace("- wait: 5 s", "- wait: 3 min"))] == [
        "P312",
        "P307",
        "P311",
    ]


WINDOW = "windows: [{from: dose.start, to: crimp.start, within: 1 min, otherwise: scrap}]\n"
