"""The protocol's machine: fed with what happened, it says what to do next, and decides everything once."""

from __future__ import annotations

import pytest

from labd.expr import Missing
from labd.protocol import InputErrors, Machine, OutOfTurn, load
from labd.protocol.messages import (
    Answered,
    Ask,
    Decided,
    Do,
    Done,
    Elapsed,
    End,
    Enter,
    Entered,
    Expired,
    Failed,
    HoldRun,
    Input,
    Resume,
    Sleep,
)
from labd.sdk import Quantity
from tests.protocol.sound import SOUND, spoilt
from tests.protocol.walk import OUTSIDE, done, enter, last, machine, step_of


def at_crimp(text: str = SOUND) -> tuple[Machine, Do]:
    """A machine whose crimp is ordered."""
    walked = machine(text)
    slept = last(done(walked, enter(walked, walked.start())))
    assert isinstance(slept, Sleep)
    command = enter(walked, walked.feed(Elapsed(slept.step_id)))
    assert isinstance(command, Do)
    return walked, command


def test_the_happy_way_from_start_to_end() -> None:
    walked = machine(SOUND, volume="40 µL")
    (entered,) = walked.start()
    assert entered == Enter("dose", frozenset({"robot"}), 1, "the run starts")
    transfer = last(walked.feed(Entered("dose")))
    assert isinstance(transfer, Do)
    assert (transfer.role, transfer.action, transfer.within, transfer.as_) == ("robot", "transfer", 90.0, "dosed")
    assert transfer.parameters == {
        "volume": Quantity(40.0, "µL"),
        "source": "LP57",
        "destination": "ot2/3/A1",
    }
    slept = last(done(walked, transfer))
    assert slept == Sleep("dose:1/3.else.1", 1.0)
    crimp = enter(walked, walked.feed(Elapsed("dose:1/3.else.1")))
    assert isinstance(crimp, Do)
    assert crimp.parameters == {"force": Quantity(7.8, "kN"), "dwell": Quantity(2.0, "s")}
    asked = enter(walked, done(walked, crimp))
    assert asked == Ask("form:1/1", "What does the cell weigh?", (), Input("quantity", "g", 1.0, 6.0))
    cycle = last(walked.feed(Answered("form:1/1", value=3.2, by="eva")))
    assert isinstance(cycle, Do)
    assert cycle.parameters["cycles"] == 3
    assert last(done(walked, cycle)) == End("complete", "done")
    assert walked.ended
    assert walked.visits == {"dose": 1, "crimp": 1, "form": 1, "done": 1}
    assert walked.results["weight"] == {"value": 3.2, "by": "eva"}


def test_the_roles_of_a_state_are_those_of_its_steps_and_of_its_expressions() -> None:
    text = spoilt("wait: 5 s", "wait: =5 s if press.force < 1 kN else 1 s").replace(
        "ask: The press refused", "ask: At {cycler.voltage} the press refused"
    )
    walked = machine(text)
    assert walked.roles_of("dose") == {"robot", "press"}
    assert walked.roles_of("look") == {"cycler"}
    assert walked.roles_of("crimp") == {"press"}
    assert walked.roles_of("done") == frozenset()


def test_what_is_decided_is_told_with_the_values_that_decided_it() -> None:
    walked, crimp = at_crimp()
    commands = done(walked, crimp, {"peak_force": 7.0, "dwell": 2.0, "displacement": None, "cycles": 3})
    assert commands == [
        Decided(
            "next crimp",
            True,
            "pressed.peak_force < 0.95 * force and visits < 2",
            "pressed.peak_force 7 kN, force 7.8 kN, visits 1",
        ),
        Enter(
            "crimp",
            frozenset({"press"}),
            2,
            "pressed.peak_force < 0.95 * force and visits < 2 (pressed.peak_force 7 kN, force 7.8 kN, visits 1)",
        ),
    ]
    (force, _) = walked.feed(Entered("crimp"))
    assert force == Decided("with force", {"v": 7.8, "u": "kN"}, "force", "force 7.8 kN", "crimp:2/1")


def test_both_branches_of_an_if_and_the_variables_they_set() -> None:
    walked = machine(SOUND)
    transfer = enter(walked, walked.start())
    little = {"volume": 10.0, "source": "a", "destination": "b", "tip": "c"}
    assert last(done(walked, transfer, little)) == Sleep("dose:1/3.then.2", 5.0)
    assert walked.results["tries"] == 1


class TestFailures:
    def test_a_caught_one_leads_where_the_protocol_says(self) -> None:
        walked, crimp = at_crimp()
        entered = last(walked.feed(Failed(crimp.step_id, "rejected", "the guard is open")))
        assert isinstance(entered, Enter)
        assert (entered.state, entered.because) == ("look", "press.crimp: the guard is open")

    def test_one_caught_by_a_hold_names_where_to_go_on(self) -> None:
        walked, crimp = at_crimp()
        held = last(walked.feed(Failed(crimp.step_id, "timeout", "60 s are over")))
        assert held == HoldRun("The press is slow. (press.crimp: 60 s are over)", ("crimp", "scrap"))
        assert last(walked.feed(Resume("scrap", by="eva"))) == End("scrapped", "scrap", "eva went on at scrap")

    def test_one_that_is_not_caught_holds_and_the_same_step_is_done_again(self) -> None:
        walked, crimp = at_crimp()
        assert last(walked.feed(Failed(crimp.step_id, "fault", "E-stop"))) == HoldRun("press.crimp: E-stop")
        assert (walked.held, walked.state) == (True, "crimp")
        repeated = last(walked.feed(Resume()))
        assert isinstance(repeated, Do)
        assert (repeated.step_id, repeated.parameters) == ("crimp:1/1~2", crimp.parameters)
        assert walked.visits["crimp"] == 1
        assert isinstance(last(done(walked, repeated)), Enter)


class TestQuestions:
    def asked(self) -> tuple[Machine, Ask]:
        walked, crimp = at_crimp()
        question = enter(walked, walked.feed(Failed(crimp.step_id, "rejected", "no")))
        assert isinstance(question, Ask)
        return walked, question

    def test_a_choice_leads_to_its_state(self) -> None:
        walked, question = self.asked()
        assert question.text == "The press refused to give 7.8 kN. Is it sound?"
        assert (question.choices, question.within) == (("keep it", "scrap it"), 1800.0)
        entered = last(walked.feed(Answered(question.step_id, "keep it", by="eva")))
        assert isinstance(entered, Enter)
        assert (entered.state, entered.because) == ("form", "eva chose: keep it")
        assert walked.results["word"] == {"choice": "keep it", "by": "eva"}

    def test_silence_leads_to_otherwise(self) -> None:
        walked, question = self.asked()
        assert last(walked.feed(Expired(question.step_id))) == End("scrapped", "scrap", "nobody answered in time")

    def test_silence_without_otherwise_holds_and_the_question_is_put_again(self) -> None:
        text = spoilt("    otherwise: scrap\n    as: word", "    as: word")
        walked, crimp = at_crimp(text)
        question = enter(walked, walked.feed(Failed(crimp.step_id, "rejected", "no")))
        held = last(walked.feed(Expired(step_of(question))))
        assert isinstance(held, HoldRun)
        assert "in time" in held.reason
        repeated = last(walked.feed(Resume()))
        assert isinstance(repeated, Ask)
        assert repeated.step_id == "look:1/1~2"

    def test_an_answer_that_crosses_its_expiry_changes_nothing(self) -> None:
        walked, question = self.asked()
        walked.feed(Expired(question.step_id))
        assert walked.feed(Answered(question.step_id, "keep it", by="eva")) == []
        assert walked.state == "scrap"

    def test_an_answer_that_is_no_choice_is_refused_and_the_question_stays(self) -> None:
        walked, question = self.asked()
        with pytest.raises(OutOfTurn, match="'perhaps' is none of the choices: keep it, scrap it"):
            walked.feed(Answered(question.step_id, "perhaps", by="eva"))
        assert walked.pending == (question,)

    @pytest.mark.parametrize("value", [0.5, 7.0, "3 g", None, True])
    def test_a_typed_answer_out_of_its_type_or_bounds_is_refused(self, value: object) -> None:
        walked, crimp = at_crimp()
        question = enter(walked, done(walked, crimp))
        with pytest.raises(OutOfTurn):
            walked.feed(Answered(step_of(question), value=value, by="eva"))
        assert walked.pending == (question,)


class TestHolds:
    WEAK = {"peak_force": 3.0, "dwell": 2.0, "displacement": None, "cycles": 3}

    def test_a_way_that_holds_repeats_the_last_step_when_the_operator_goes_on(self) -> None:
        walked, crimp = at_crimp(spoilt(" and visits < 2, go: crimp}", " and visits < 1, go: crimp}"))
        held = last(done(walked, crimp, self.WEAK))
        assert isinstance(held, HoldRun)
        assert "pressed.peak_force 3 kN" in held.reason
        repeated = last(walked.feed(Resume()))
        assert isinstance(repeated, Do)
        assert repeated.step_id == "crimp:1/1~2"

    def test_a_condition_without_a_value_holds_and_is_asked_again(self) -> None:
        walked, crimp = at_crimp()
        unknown = dict.fromkeys(self.WEAK)
        held = last(done(walked, crimp, unknown))
        assert isinstance(held, HoldRun)
        assert "`pressed.peak_force` has no value now" in held.reason
        assert last(walked.feed(Resume())) == held  # nothing was crimped again
        entered = last(walked.feed(Resume("form")))
        assert isinstance(entered, Enter)
        assert entered.state == "form"

    def test_a_parameter_without_a_value_holds_until_it_has_one(self) -> None:
        text = spoilt("wait: 1 s", "wait: =1 s if cycler.voltage > 1 V else 2 s")
        walked = machine(text)
        walked.update({"cycler": {"voltage": Missing("is 12 s old")}})
        held = last(done(walked, enter(walked, walked.start())))
        assert held == HoldRun("dose, step 3.else.1: `cycler.voltage` is 12 s old")
        walked.update(OUTSIDE)
        assert last(walked.feed(Resume())) == Sleep("dose:1/3.else.1~2", 1.0)

    def test_a_value_out_of_the_actions_bounds_is_never_sent(self) -> None:
        text = spoilt("dwell: 2 s}", "dwell: =100 s * cycles}")
        walked = machine(text, cycles=10)
        slept = last(done(walked, enter(walked, walked.start())))
        held = enter(walked, walked.feed(Elapsed(step_of(slept))))
        assert held == HoldRun("crimp, step 1: with dwell: 1000 s is above the greatest, 600 s")

    def test_the_operator_may_go_on_at_any_state(self) -> None:
        walked, crimp = at_crimp()
        walked.feed(Failed(crimp.step_id, "fault", "E-stop"))
        with pytest.raises(OutOfTurn, match="there is no state 'nowhere'"):
            walked.feed(Resume("nowhere"))
        entered = last(walked.feed(Resume("dose", by="eva")))
        assert isinstance(entered, Enter)
        assert (entered.state, entered.visit) == ("dose", 2)


class TestVisits:
    WEAK = TestHolds.WEAK

    def test_a_full_state_leads_to_its_otherwise(self) -> None:
        walked, crimp = at_crimp(spoilt(" and visits < 2, go: crimp}", ", go: crimp}"))
        second = enter(walked, done(walked, crimp, self.WEAK))
        assert step_of(second) == "crimp:2/1"
        assert last(done(walked, second, self.WEAK)) == End("scrapped", "scrap", "crimp was entered 2 times")

    def test_a_full_state_without_otherwise_holds_and_a_person_may_enter_it_once_more(self) -> None:
        text = spoilt(" and visits < 2, go: crimp}", ", go: crimp}").replace("{times: 2, otherwise: scrap}", "1")
        walked, crimp = at_crimp(text.replace("continue_at: [crimp, scrap]", "continue_at: [scrap]"))
        held = last(done(walked, crimp, self.WEAK))
        assert isinstance(held, HoldRun)
        assert "crimp was entered 1 times" in held.reason
        entered = last(walked.feed(Resume(by="eva")))
        assert isinstance(entered, Enter)
        assert (entered.state, entered.visit) == ("crimp", 2)


class TestOutOfTurn:
    def test_no_second_start(self) -> None:
        walked = machine(SOUND)
        walked.start()
        with pytest.raises(OutOfTurn, match="started before"):
            walked.start()

    def test_no_resume_of_what_is_not_held(self) -> None:
        walked, _ = at_crimp()
        with pytest.raises(OutOfTurn, match="not held"):
            walked.feed(Resume())

    def test_no_entering_of_another_state(self) -> None:
        walked = machine(SOUND)
        walked.start()
        with pytest.raises(OutOfTurn, match="crimp was not to be entered"):
            walked.feed(Entered("crimp"))

    def test_no_answer_to_an_action(self) -> None:
        walked, crimp = at_crimp()
        with pytest.raises(OutOfTurn, match="Answered does not answer Do"):
            walked.feed(Answered(crimp.step_id, "yes"))

    def test_an_event_of_a_step_before_changes_nothing(self) -> None:
        walked, crimp = at_crimp()
        assert walked.feed(Done("dose:1/1", {})) == []
        assert walked.pending == (crimp,)


def test_a_protocol_with_problems_makes_no_machine() -> None:
    with pytest.raises(InputErrors, match="forc"):
        Machine(load(spoilt("0.95 * force and", "0.95 * forc and")), {})
