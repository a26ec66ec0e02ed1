"""What is proven over all that parameters may be, on all ways: no error without an example that a run comes to."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from labd.files import InputErrors
from labd.files.library import Library
from labd.protocol import LabFacts, check, compiled, estimate, load, needs, ready, standard_facts
from labd.sdk import TipRange
from tests.protocol.sound import problems_of, spoilt, told_of, warnings_of

HEAD = """\
labd: 1
protocol: tried
version: 1.0.0
parameters:
  volume: {type: quantity, default: 35 µL, min: 10 µL, max: 100 µL}
  dwell: {type: quantity, default: 2 s, min: 1 s, max: 400 s}
  times: {type: integer, default: 2, min: 1, max: 10}
  long: {type: boolean, default: false}
roles: {robot: pipetting_robot, press: crimper, cycler: potentiostat, arm: arm}
"""
DOSE = "do: robot.transfer, with: {source: LP57, destination: =sample.position, volume: =volume}"


def protocol(states: str, more: str = "", start: str = "first") -> str:
    ends = "  done: {end: complete}\n" + ("  scrap: {end: scrapped}\n" if "scrap" in states + more else "")
    return f"{HEAD}{more}start: {start}\nstates:\n{states}{ends}"


def errors(states: str, more: str = "", facts: LabFacts | None = None) -> list[tuple[str, str]]:
    """Codes and messages, but for states that nothing leads to."""
    found = problems_of(protocol(states, more), facts)
    return [(problem.code, problem.message) for problem in found if problem.code != "P302"]


def crimp(dwell: str, more: str = "next: [{if: long, go: scrap}, {go: done}]") -> str:
    return f"  first:\n    do: press.crimp\n    with: {{force: 7 kN, dwell: {dwell}}}\n    {more}\n"


class TestValues:
    def test_a_value_that_leaves_its_bounds_is_shown_with_the_parameters_that_make_it(self) -> None:
        ((code, message),) = errors(crimp("=2 * dwell"))
        assert code == "P208"
        assert message == (
            "`dwell` may be up to 6.667 min, and `press.crimp` takes at most 10 min: "
            "with dwell = 6.667 min this is 13.33 min"
        )

    def test_the_mend_names_the_bound_where_the_parameter_itself_is_given(self) -> None:
        (problem,) = problems_of(protocol(crimp("=dwell")).replace("max: 400 s", "max: 900 s"))
        assert problem.mend == "write `max: 10 min` at `dwell`, or let an `if` guard the way here"

    @pytest.mark.parametrize(
        "expression", ["=dwell", "=dwell + 200 s", "=min(2 * dwell, 600 s)", "=dwell * 1.5 if dwell > 10 s else 3 s"]
    )
    def test_what_stays_within_is_no_problem(self, expression: str) -> None:
        assert errors(crimp(f'"{expression}"')) == []

    def test_what_a_result_makes_of_it_is_not_guessed(self) -> None:
        states = crimp("2 s", "as: pressed\n    next: again").replace("done}]", "again}]")
        states += "  again: {do: press.crimp, with: {force: 7 kN, dwell: =2 * pressed.dwell},\n"
        states += "    next: [{if: long, go: scrap}, {go: done}]}\n"
        assert errors(states) == []

    def test_an_if_guards_the_way(self) -> None:
        guarded = """\
  first:
    steps:
      - if: dwell < 300 s
        then: [{do: press.crimp, with: {force: 7 kN, dwell: =2 * dwell}}]
    next: [{if: long, go: scrap}, {go: done}]
"""
        assert errors(guarded) == []
        ((code, _),) = errors(guarded.replace("dwell < 300 s", "dwell < 301 s"))
        assert code == "P208"

    def test_a_condition_beside_a_result_guards_too(self) -> None:
        guarded = """\
  first:
    steps:
      - {do: arm.pick, with: {place: tray/A1}, as: grip}
      - if: grip.gripped and dwell < 300 s
        then: [{do: press.crimp, with: {force: 7 kN, dwell: =2 * dwell}}]
    next: [{if: long, go: scrap}, {go: done}]
"""
        assert errors(guarded) == []

    def test_two_ways_that_guard_differently_meet_in_one_state(self) -> None:
        states = """\
  first: {wait: 1 s, next: [{if: dwell < 100 s, go: crimp}, {go: second}]}
  second: {wait: 1 s, next: [{if: dwell < 300 s, go: crimp}, {go: scrap}]}
  crimp: {do: press.crimp, with: {force: 7 kN, dwell: =2 * dwell}, next: done}
"""
        assert errors(states) == []

    def test_a_variable_that_is_set_once_is_seen_through(self) -> None:
        states = """\
  first:
    steps:
      - set: {short: =dwell < 300 s, twice: =2 * dwell}
      - if: short
        then: [{do: press.crimp, with: {force: 7 kN, dwell: =twice}}]
    next: [{if: long, go: scrap}, {go: done}]
"""
        assert errors(states) == []
        ((code, _),) = errors(states.replace("if: short", "if: long"))
        assert code == "P208"

    def test_a_flag_that_states_set_guards_the_way(self) -> None:
        states = """\
  first: {set: {short: true}, next: [{if: dwell < 300 s, go: crimp}, {go: second}]}
  second: {set: {short: false}, next: crimp}
  crimp:
    steps:
      - if: short
        then: [{do: press.crimp, with: {force: 7 kN, dwell: =2 * dwell}}]
    next: [{if: long, go: scrap}, {go: done}]
"""
        assert errors(states) == []

    def test_a_loop_counts_no_further_than_its_parameter_says(self) -> None:
        states = """\
  first:
    repeat: {times: =times}
    steps: [{do: press.crimp, with: {force: 7 kN, dwell: =600 s * index / times}}]
    next: [{if: long, go: scrap}, {go: done}]
"""
        assert errors(states) == []
        ((code, message),) = errors(states.replace("600 s * index / times", "100 s * index"))
        assert (code, "index = " in message) == ("P208", True)

    def test_visits_count_to_their_limit(self) -> None:
        states = crimp("=200 s * visits", "max_visits: 3\n    next: [{if: long, go: first}, {go: done}]")
        assert errors(states) == []
        ((code, _),) = errors(states.replace("max_visits: 3", "max_visits: 4"))
        assert code == "P208"

    def test_a_negative_volume_is_told_whether_it_is_written_or_worked_out(self) -> None:
        first = f"  first: {{{DOSE}, next: [{{if: long, go: scrap}}, {{go: done}}]}}\n"
        ((code, message),) = errors(first.replace("=volume", "-5 µL"))
        assert (code, message) == ("P208", "-5 µL is below the least, 0.1 µL")
        ((code, message),) = errors(first.replace("=volume", "=volume - 50 µL"))
        assert (code, "with volume = 10 µL this is -40 µL" in message) == ("P208", True)

    def test_limits_of_lower_and_upper(self) -> None:
        states = (
            "  first: {do: cycler.cycle, with: {lower: 4.2 V, upper: 2.8 V, current: 1 mA, cycles: 3}, next: done}\n"
        )
        ((code, message),) = errors(states)
        assert (code, message) == (
            "P208",
            "`cycler.cycle` wants `lower` below `upper`: these are lower 4.2 V and upper 2.8 V",
        )
        assert errors(states.replace("4.2 V", "1 V")) == []


class TestBranches:
    def test_what_contradicts_itself_is_an_error(self) -> None:
        states = crimp(
            "2 s", "as: it\n    next: [{if: it.peak_force < 3 kN and it.peak_force > 5 kN, go: scrap}, {go: done}]"
        )
        ((code, message),) = errors(states)
        assert (code, "never holds: this way is never taken" in message) == ("P304", True)

    def test_what_always_holds_leaves_nothing_for_the_ways_after_it(self) -> None:
        states = crimp("2 s", "as: it\n    next: [{if: it.peak_force < 3 kN or 1 < 2, go: scrap}, {go: done}]")
        ((code, message),) = errors(states)
        assert (code, "are never taken" in message) == ("P304", True)

    def test_what_only_the_bounds_decide_is_a_warning(self) -> None:
        found = told_of(protocol(crimp("2 s", "next: [{if: volume > 150 µL, go: scrap}, {go: done}]")))
        assert ("W104", "`volume > 150 µL` never holds for what the parameters may be", "warning") in [
            (problem.code, problem.message, problem.severity) for problem in found
        ]

    @pytest.mark.parametrize(
        ("loop", "told"),
        [
            ("- {repeat: {times: 1000}, steps: [{set: {n: =n + 1}}]}", False),
            ("- {repeat: {times: 1001}, steps: [{set: {n: =n + 1}}]}", True),
            ("- {repeat: {times: 1001}, steps: [{set: {n: =n + 1}}, {wait: 1 s}]}", False),
            ("- {repeat: {until: n > 5, at_most: 5000}, steps: [{set: {n: =n + 1}}]}", True),
            ("- {repeat: {times: 100}, steps: [{repeat: {times: 100}, steps: [{set: {n: =n + 1}}]}]}", True),
            ("- {repeat: {times: =times}, steps: [{set: {n: =n + 1}}]}", False),
            ("- {repeat: {times: =1000 * times}, steps: [{set: {n: =n + 1}}]}", True),
        ],
    )
    def test_a_loop_that_takes_no_time_goes_round_a_thousand_times_at_most(self, loop: str, told: bool) -> None:
        steps = f"    steps:\n      - set: {{n: 0}}\n      {loop}\n"
        states = f"  first:\n{steps}    next: [{{if: n > 3, go: scrap}}, {{go: done}}]\n"
        assert [code for code, _ in errors(states)] == (["P315"] if told else [])

    def test_a_cycle_of_states_that_takes_no_time_too(self) -> None:
        states = "  first: {set: {n: 1}, max_visits: 5000, next: [{if: long, go: first}, {go: done}]}\n"
        assert [code for code, _ in errors(states)] == ["P315"]
        assert errors(states.replace("5000", "500")) == []


WINDOW = "windows:\n  - {from: first.%s, to: crimp.%s, within: %s, otherwise: scrap}\n"


class TestWindows:
    states = """\
  first:
    steps:
      - {do: press.open}
      - wait: 2 min
      - {do: cycler.open_circuit, with: {duration: =60 s * times}}
      - wait: 30 s
    next: [{if: long, go: rest}, {go: crimp}]
  rest: {wait: 10 min, next: crimp}
  crimp: {steps: [{wait: 10 s}, {do: press.crimp, with: {force: 7 kN, dwell: 20 s}}], next: done}
"""

    @pytest.mark.parametrize(
        ("edges", "least"),
        [
            (("start", "start"), 120 + 60 + 30 + 10),
            (("start", "end"), 120 + 60 + 30 + 10 + 20),
            (("end", "start"), 30 + 10),
            (("end", "end"), 30 + 10 + 20),
        ],
    )
    def test_a_window_shorter_than_what_lies_in_it_is_an_error(self, edges: tuple[str, str], least: int) -> None:
        kept = errors(self.states, WINDOW % (*edges, f"{least} s"))
        ((code, message),) = errors(self.states, WINDOW % (*edges, f"{least - 1} s"))
        assert kept == []
        assert (code, message.startswith("at least ")) == ("P312", True)

    def test_a_short_cut_keeps_it(self) -> None:
        caught = self.states.replace("    next: [", "    catch: {rejected: crimp}\n    next: [")
        assert errors(caught, WINDOW % ("start", "start", "60 s")) == []

    def test_what_likely_takes_longer_is_a_warning(self) -> None:
        found = warnings_of(protocol(self.states, WINDOW % ("start", "start", "230 s")))
        assert [problem.code for problem in found if problem.code.startswith("W106")] == ["W106"]

    def test_at_least_longer_than_within(self) -> None:
        window = "windows:\n  - {from: first.end, to: crimp.start, within: 1 min, at_least: 2 min, otherwise: scrap}\n"
        ((code, message),) = errors(self.states, window)
        assert (code, message) == (
            "P312",
            "this window cannot be kept: these are `at_least` 2 min and `within` 60 s",
        )


class TestOutcomes:
    states = """\
  first:
    do: press.crimp
    with: {force: 7 kN}
    catch: {rejected: rest}
    next: rest
  rest: {wait: 10 min, next: [{if: long, go: scrap}, {go: done}]}
"""

    def test_a_failed_crimp_does_not_end_complete(self) -> None:
        ((code, message),) = errors(self.states)
        assert (code, message) == (
            "P316",
            "`done` ends complete though `press.crimp` has failed: first → (rejected) → rest → done",
        )

    @pytest.mark.parametrize(
        "rest",
        [
            "{ask: Sound?, choices: {yes: done, no: scrap}}",
            "{wait: 10 min, next: {hold: Look at it., continue_at: [done]}}",
            "{do: press.crimp, with: {force: 7 kN}, next: [{if: long, go: scrap}, {go: done}]}",
            "{wait: 10 min, next: scrap}",
        ],
    )
    def test_a_persons_word_a_hold_doing_it_again_or_scrap_make_it_good(self, rest: str) -> None:
        text = self.states[: self.states.index("  rest:")] + f"  rest: {rest}\n"
        assert errors(text) == []

    def test_nobodys_answer_is_no_word(self) -> None:
        ask = "{ask: Sound?, choices: {yes: done, no: scrap}, within: 1 min, otherwise: done}"
        text = self.states[: self.states.index("  rest:")] + f"  rest: {ask}\n"
        assert [code for code, _ in errors(text)] == ["P316"]

    def test_a_flag_that_keeps_it_in_mind_is_understood(self) -> None:
        states = """\
  first: {set: {closed: false}, next: crimp}
  crimp:
    steps: [{do: press.crimp, with: {force: 7 kN}}, {set: {closed: true}}]
    catch: {rejected: rest}
    next: rest
  rest: {wait: 10 min, next: [{if: closed, go: done}, {go: scrap}]}
"""
        assert errors(states) == []

    @pytest.mark.parametrize(
        "what",
        [
            "do: cycler.impedance\n    with: {f_max: 10 kHz, f_min: 1 Hz}",
            "do: arm.pick\n    with: {place: a/A1}",
            "do: press.open",
        ],
    )
    def test_measurements_arms_and_what_may_be_repeated_are_not_meant(self, what: str) -> None:
        assert errors(self.states.replace("do: press.crimp\n    with: {force: 7 kN}", what)) == []


def facts(**changes: object) -> LabFacts:
    found = LabFacts(
        standard_facts().roles,
        frozenset({"ot2/2/A1", "ot2/2/A2", "tray/A1", "tray/A2"}),
        frozenset({"LP57", "LP30"}),
        volumes={"LP57": 100.0, "LP30": 50.0},
        capacities={"ot2/2/A2": 500.0},
        contents_at={"ot2/2/A1": 150.0, "ot2/2/A2": 450.0},
        usable_at={"ot2/2/A1": 100.0},
        material_at={"ot2/2/A1": "LP57"},
        tips={"ot2": {300: 3}},
        parts={"lid": 2},
        stock={"tray/A1": "lid", "tray/A2": "lid"},
        name="bench",
    )
    return dataclasses.replace(found, **changes)  # type: ignore[arg-type]


def dose(more: str, end: str = "next: [{if: long, go: scrap}, {go: done}]") -> str:
    return f"  first:\n    steps:\n{more}    {end}\n"


STEP = "      - {do: robot.transfer, with: {source: %s, destination: %s, volume: %s%s}}\n"


class TestStocks:
    def test_the_worst_path_counts_every_visit_at_the_greatest_volume(self) -> None:
        step = STEP % ("LP57", "=sample.position", "=volume", "")
        again = "max_visits: 2\n    next: [{if: long, go: first}, {go: done}]"
        assert errors(dose(step), facts=facts()) == []
        ((code, message),) = errors(dose(step, again), facts=facts())
        assert (code, message) == ("P502", "this needs 200 µL LP57 on the worst path, the deck has 100 µL")

    def test_alternatives_are_not_added(self) -> None:
        then, otherwise = (STEP % ("LP57", "=sample.position", f"{volume} µL", "") for volume in (60, 70))
        either = f"      - if: long\n        then:\n    {then}        else:\n    {otherwise}"
        assert errors(dose(either), facts=facts()) == []

    def test_branches_are_added(self) -> None:
        one, two = (STEP % ("LP57", "=sample.position", f"{volume} µL", "") for volume in (60, 70))
        both = f"      - parallel:\n          one:\n        {one}          two:\n        {two}"
        assert [code for code, _ in errors(dose(both), facts=facts())] == ["P502"]

    def test_a_place_has_what_can_be_drawn_from_it(self) -> None:
        step = STEP % ("ot2/2/A1", "=sample.position", "%s", "")
        assert errors(dose(step % "100 µL"), facts=facts()) == []
        ((code, message),) = errors(dose(step % "101 µL"), facts=facts())
        assert (code, message) == ("P502", "this needs 101 µL LP57 on the worst path, ot2/2/A1 has 100 µL")

    def test_a_place_that_overflows(self) -> None:
        step = STEP % ("LP57", "ot2/2/A2", "%s", "")
        assert errors(dose(step % "50 µL"), facts=facts()) == []
        ((code, message),) = errors(dose(step % "51 µL"), facts=facts())
        assert (code, message) == (
            "P505",
            "this puts 51 µL into ot2/2/A2 on the worst path beside the 450 µL that are there, it takes 500 µL",
        )

    @pytest.mark.parametrize(
        ("policy", "times", "codes"),
        [("always", 3, []), ("always", 4, ["P503"]), ("once", 50, []), ("never", 50, [])],
    )
    def test_tips(self, policy: str, times: int, codes: list[str]) -> None:
        step = (STEP % ("LP57", "=sample.position", "1 µL", f", new_tip: {policy}")).strip()
        loop = f"      - repeat: {{times: {times}}}\n        steps:\n          {step}\n"
        assert [code for code, _ in errors(dose(loop), facts=facts())] == codes

    @pytest.mark.parametrize(
        ("volume", "times", "told"),
        [
            ("10 µL", 3, None),
            ("10 µL", 4, "4 tips of 20 µL on the worst path, the robot's deck has 3"),
            ("20 µL", 4, "4 tips of 20 µL on the worst path, the robot's deck has 3"),
            ("21 µL", 4, None),
            ("21 µL", 6, "6 tips of 300 µL on the worst path, the robot's deck has 5"),
        ],
    )
    def test_tips_of_the_size_that_a_volume_takes(self, volume: str, times: int, told: str | None) -> None:
        ranges = {"ot2": (TipRange(20, 0.0, 20.0), TipRange(300, 20.0, 300.0))}
        known = facts(tips={"ot2": {20: 3, 300: 5}}, tip_ranges=ranges, volumes={"LP57": 1e6})
        step = (STEP % ("LP57", "=sample.position", volume, "")).strip()
        loop = f"      - repeat: {{times: {times}}}\n        steps:\n          {step}\n"
        assert errors(dose(loop), facts=known) == ([("P503", f"this needs {told}")] if told else [])

    @pytest.mark.parametrize(("most", "codes"), [(3, []), (4, ["P503"])])
    def test_as_often_as_an_operator_may_say(self, most: int, codes: list[str]) -> None:
        step = (STEP % ("LP57", "=sample.position", "1 µL", ", new_tip: always")).strip()
        ask = f"      - {{ask: How often?, input: {{type: integer, min: 0, max: {most}}}, as: often}}\n"
        loop = f"{ask}      - repeat: {{times: =often.value}}\n        steps:\n          {step}\n"
        assert [code for code, _ in errors(dose(loop), facts=facts())] == codes

    def test_a_part_lies_at_a_place_once(self) -> None:
        loop = "      - repeat: {over: [tray/A1, tray/A2], as: lid}\n"
        loop += "        steps: [{do: arm.pick, with: {place: =lid}}]\n"
        assert errors(dose(loop), facts=facts()) == []
        twice = "      - {do: arm.pick, with: {place: tray/A1}}\n" * 2
        assert [code for code, _ in errors(dose(twice), facts=facts())] == ["P504"]

    def test_a_pick_that_is_tried_again_needs_no_second_part(self) -> None:
        step = "      - {do: arm.pick, with: {place: tray/A1}}\n"
        again = "max_visits: 3\n    next: [{if: long, go: first}, {go: done}]"
        assert errors(dose(step, again), facts=facts()) == []

    def test_a_run_needs_what_its_own_values_say(self) -> None:
        step = STEP % ("LP57", "=sample.position", "=volume", "")
        loaded = load(protocol(dose(step * 2)), "p.yaml")
        assert "P502" in [problem.code for problem in check(loaded, facts())]
        assert ready(loaded, {"volume": "40 µL"}, facts())["volume"] == 40.0
        with pytest.raises(InputErrors, match="needs 180 µL LP57 on the worst path"):
            ready(loaded, {"volume": "90 µL"}, facts())

    def test_without_a_lab_only_the_sums_are_told(self) -> None:
        step = STEP % ("LP57", "=sample.position", "=volume", "")
        program = compiled(load(protocol(dose(step * 2)), "p.yaml"))
        found = needs(program)
        assert found.as_json() == {
            "materials": {"LP57": {"least": 20.0, "expected": 70.0, "greatest": 200.0}},
            "tips": {"least": 2.0, "expected": 2.0, "greatest": 2.0},
            "parts": {},
        }


INNER = """\
labd: 1
protocol: dose
version: 1.0.0
parameters:
  volume: {type: quantity, default: 35 µL, min: 1 µL, max: 1 mL}
  liquid: {type: material}
roles: {robot: pipetting_robot, press: crimper}
start: dose
states:
  dose: {do: robot.transfer, with: {source: =liquid, destination: =sample.position, volume: =volume}, next: press}
  press: {do: press.crimp, with: {force: 1 kN}, next: done}
  done: {end: complete}
"""


class TestCalls:
    def told(self, call: str, inner: str = INNER, lab: LabFacts | None = None) -> list[tuple[str, str]]:
        text = protocol(f"  first: {{{call}, next: [{{if: long, go: scrap}}, {{go: done}}]}}\n")
        problems = check(load(text, "p.yaml", Library({"dose": inner})), lab)
        return [(problem.code, problem.file) for problem in problems if problem.severity == "error"]

    def test_what_a_call_gives_stays_within_what_it_takes(self) -> None:
        assert self.told("call: dose@1, with: {volume: =10 * volume, liquid: LP57}") == []
        assert self.told("call: dose@1, with: {volume: =11 * volume, liquid: LP57}") == [("P208", "p.yaml")]

    def test_what_it_needs_counts_with_its_caller(self) -> None:
        assert self.told("call: dose@1, with: {volume: =volume, liquid: LP57}", lab=facts()) == []
        assert self.told("call: dose@1, with: {volume: =2 * volume, liquid: LP57}", lab=facts()) == [("P502", "p.yaml")]

    def test_a_called_one_is_proven_too(self) -> None:
        spoilt = INNER.replace("{force: 1 kN},", "{force: 1 kN}, catch: {rejected: done},")
        call = "call: dose@1, with: {volume: =volume, liquid: LP57}"
        assert self.told(call, spoilt) == [("P316", "dose"), ("P214", "p.yaml")]


class TestTimes:
    def estimate_of(self, states: str) -> tuple[float, float, float | None]:
        found = estimate(compiled(load(protocol(states), "p.yaml")))
        return found.least, found.expected, found.greatest

    def test_steps_are_added_branches_are_not(self) -> None:
        states = """\
  first:
    steps:
      - wait: 10 s
      - parallel: {one: [{wait: 20 s}], two: [{wait: 5 s}, {wait: 6 s}]}
      - if: long
        then: [{wait: 100 s}]
      - {repeat: {times: =times}, steps: [{wait: 1 s}]}
    next: done
"""
        assert self.estimate_of(states) == (10 + 20 + 1, 10 + 20 + 2, 10 + 20 + 100 + 10)

    def test_loops_of_states_count_to_their_bounds(self) -> None:
        states = """\
  first: {wait: 10 s, max_visits: 3, next: second}
  second: {wait: 1 s, next: [{if: long, go: first}, {go: done}]}
"""
        least, expected, greatest = self.estimate_of(states)
        assert (least, expected) == (11, 11)
        assert greatest is not None
        assert 3 * 11 <= greatest <= 3 * 11 + 1

    def test_a_list_of_parameters_has_as_many_turns_as_items(self) -> None:
        assert self.estimate_of(
            """\
  first:
    repeat: {over: "=[dwell, 2 * dwell, 3 s]", as: rest}
    steps: [{wait: 10 s}]
    next: done
"""
        ) == (30, 30, 30)

    def test_alternatives_of_states_are_not_added(self) -> None:
        states = """\
  first: {wait: 1 s, next: [{if: long, go: second}, {go: third}]}
  second: {wait: 10 s, next: done}
  third: {wait: 100 s, next: done}
"""
        assert self.estimate_of(states) == (11, 101, 101)

    def test_an_actions_own_time_and_its_limit(self) -> None:
        states = "  first: {do: cycler.open_circuit, with: {duration: =dwell}, within: 500 s, next: done}\n"
        assert self.estimate_of(states) == (1, 2, 500)

    def test_a_question_may_take_for_ever(self) -> None:
        ask = "  first: {ask: Go on?, choices: {yes: done, no: scrap}}\n"
        assert self.estimate_of(ask) == (0, 0, None)
        assert self.estimate_of(ask.replace("no: scrap}", "no: scrap}, within: 1 min, otherwise: scrap"))[2] == 60

    def test_the_parameters_of_one_run_make_it_exact(self) -> None:
        program = compiled(load(protocol("  first: {wait: =dwell, next: done}\n"), "p.yaml"))
        found = estimate(program, {"volume": 35.0, "dwell": 7.0, "times": 1, "long": False})
        assert (found.least, found.expected, found.greatest) == (7, 7, 7)


@pytest.mark.parametrize("path", sorted(Path(__file__).parents[2].glob("protocols/*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_protocols_have_a_time(path: Path) -> None:
    found = estimate(compiled(load(path)))
    assert 0 <= found.least <= found.expected
    assert found.greatest is None or found.greatest >= found.expected


class TestDivisions:
    """A divisor that may be zero is told with the values for which it is; one that is guarded is not."""

    @pytest.mark.parametrize(
        ("value", "told"),
        [
            ("=10 min / cycles", None),  # from 1 to 500
            ("=10 min / (cycles - 5)", "with cycles = 5 `cycles - 5` is zero"),
            ("=10 min / (cycles - 5) if cycles != 5 else 10 min", None),
            ("=10 min * (volume / (volume - 50 µL))", "with volume = 50 µL `volume - 50 µL` is zero"),
            ("=10 min / (1 + dosed.volume / volume)", None),
        ],
    )
    def test_of_a_duration(self, value: str, told: str | None) -> None:
        problems = [p for p in problems_of(spoilt("- wait: 1 s", f'- wait: "{value}"')) if p.code == "P317"]
        assert [p.message.removeprefix("a division by zero: ") for p in problems] == ([told] if told else [])

    def test_of_a_condition_that_an_and_guards(self) -> None:
        text = spoilt("if: dosed.volume < 0.5 * volume", 'if: "cycles != 5 and 10 / (cycles - 5) > 1"')
        assert problems_of(text) == []
        assert [p.code for p in problems_of(text.replace("cycles != 5 and ", ""))] == ["P317"]
