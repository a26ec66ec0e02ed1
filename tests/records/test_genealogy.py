"""The genealogy as a fold: what counts as the sample's own, who vouched for what, and where lots come from."""

from __future__ import annotations

from typing import Any

import pytest

from labd.journal import Event
from labd.records.genealogy import genealogy
from labd.records.trace import Stocked


class Story:
    """A journal of one sample, written by hand; each event a second after the one before."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.second = 0
        self.actions = 0

    def tell(self, what: str, /, *, within: str | None = "run-0001", wait: int = 1, **data: Any) -> None:
        self.second += wait
        at = f"2026-01-01T08:{self.second // 60:02}:{self.second % 60:02}.000000Z"
        self.events.append(Event(len(self.events) + 1, at, within, what, data, ""))

    def start(self, run: str = "run-0001", **parameters: Any) -> None:
        told = {"protocol": "p", "version": "1.0.0", "by": "mk", "home": "tray/A1", "parameters": parameters}
        self.tell("run.started", within=run, sample="a", **told)

    def moved(self, before: str | None, after: str | None, **more: Any) -> None:
        self.tell("sample.moved", **{"sample": "a", "from": before, "to": after, **more})

    def act(self, name: str, outcome: str = "done", wait: int = 10, **told: Any) -> str:
        """An action, ordered now and settled `wait` seconds later."""
        self.actions += 1
        action_id = f"run-0001-{self.actions:03d}"
        device, _, action = name.partition(".")
        effect = told.get("effect", "once")
        intent = {"device": device, "unit": "", "role": device, "action": action, "effect": effect, "state": "s"}
        self.tell("action.intended", action_id=action_id, parameters=told.get("parameters", {}), **intent)
        self.tell("action.sent", wait=0, action_id=action_id)
        more = {"message": "no answer"} if outcome != "done" else {"result": told.get("result", {})}
        self.tell(f"action.{outcome}", wait=wait, action_id=action_id, **more)
        return action_id

    def told(self, **stocked: Stocked) -> dict[str, Any]:
        return genealogy("a", self.events, {name.replace("_", "/"): one for name, one in stocked.items()})


@pytest.fixture
def story() -> Story:
    found = Story()
    found.start(anode="tray/anodes/A1")
    found.moved(None, "tray/A1")
    return found


def micro(volume: float) -> dict[str, Any]:
    return {"v": volume, "u": "µL"}


def dose(story: Story, to: str = "tray/A1", outcome: str = "done") -> str:
    given = {"source": "vials/A1", "destination": to, "volume": micro(20.0)}
    return story.act("ot2.transfer", outcome, parameters=given, result={"volume": micro(19.8), "destination": to})


def test_a_transfer_to_another_place_is_no_dose(story: Story) -> None:
    dose(story, "waste/A1")
    dose(story)
    told = story.told(vials_A1=Stocked("LP57", "L-1"))
    (one,) = told["doses"]
    assert (one["what"], one["lot"], one["lot_by"]) == ("LP57", "L-1", "lab.yaml")
    assert (one["asked"], one["volume"]) == (micro(20.0), micro(19.8))
    assert [step["kind"] for step in told["steps"]] == ["other", "dose"]
    (other,) = told["transfers"]
    assert (other["what"], other["volume"], other["to"]) == ("LP57", micro(19.8), "waste/A1")


def test_what_a_pump_gives_is_a_dose_where_the_sample_lies_at_its_outlet(story: Story) -> None:
    given = {"parameters": {"volume": micro(20.0)}, "result": {"volume": micro(19.8)}}
    story.act("pump.dispense", **given)
    story.moved("tray/A1", "pump/outlet")
    story.act("pump.prime", **given)
    story.act("pump.dispense", **given)
    told = story.told()
    (one,) = told["doses"]
    assert (one["source"], one["asked"], one["volume"]) == ("pump", micro(20.0), micro(19.8))
    assert [step["kind"] for step in told["steps"]] == ["other", "other", "dose"]


def test_a_dose_that_a_person_vouched_for_counts_and_says_so(story: Story) -> None:
    action_id = dose(story, outcome="unknown")
    told = {"action_id": action_id, "question_id": "q1", "kind": "outcome", "text": "Was it done?"}
    story.tell("question.asked", **told, choices=["done", "not done"], input=None)
    story.tell("question.answered", question_id="q1", choice="done", value=None, by="jd")
    story.tell("action.reconciled", action_id=action_id, verdict="done", by="jd", result={"volume": micro(20.0)})
    found = story.told()
    assert [one["settled_by"] for one in found["doses"]] == ["jd"]
    assert [(one["text"], one["by"]) for one in found["remarks"]] == [
        ("ot2.transfer: unknown: no answer", None),
        ("ot2.transfer: done", "jd"),
    ]
    assert [(one["choice"], one["by"], one["end"]) for one in found["questions"]] == [("done", "jd", "answered")]


def test_what_was_not_done_is_no_dose(story: Story) -> None:
    action_id = dose(story, outcome="unknown")
    story.tell("action.reconciled", action_id=action_id, verdict="not_done", by="jd")
    dose(story, outcome="failed")
    found = story.told()
    assert (found["doses"], found["steps"]) == ([], [])
    assert len(found["remarks"]) == 3


def carried(story: Story, source: str = "tray/anodes/A1", to: str = "tray/A1") -> str:
    picked = story.act("arm.pick", parameters={"place": source}, result={"gripped": True})
    story.tell("part.moved", wait=0, sample="a", place="arm/gripper", held=True)
    story.act("arm.place", parameters={"place": to}, result={"released": True})
    story.tell("part.moved", wait=0, sample="a", place="arm/gripper", held=False)
    return picked


def test_a_part_is_named_by_the_stock_else_by_lab_yaml_else_by_the_protocols_parameter(story: Story) -> None:
    picked = carried(story)
    parts = story.told()["parts"]
    assert [(part["what"], part["lot"], part["source"], part["on_sample"]) for part in parts] == [
        ("anode", None, "tray/anodes/A1", True)
    ]
    (part,) = story.told(tray_anodes_A1=Stocked("graphite"))["parts"]
    assert (part["what"], part["lot_by"]) == ("graphite", "lab.yaml")
    told = {"thing": "part", "place": "tray/anodes/A1", "name": "graphite 12 mm", "lot": "A-118", "amount": 1}
    story.tell("stock.spent", **told, unit="pieces", wells=["tray/anodes/A1"], sample="a", action_id=picked)
    found = story.told(tray_anodes_A1=Stocked("graphite"))
    (part,) = found["parts"]
    assert (part["what"], part["lot"], part["lot_by"]) == ("graphite 12 mm", "A-118", "journal")
    assert [(one["what"], one["lot"], one["amount"]) for one in found["materials"]] == [("graphite 12 mm", "A-118", 1)]


def test_a_dose_from_a_mixture_has_the_lots_of_all_its_portions(story: Story) -> None:
    action_id = dose(story)
    portions = [{"material": "EC", "lot": "L-1", "amount": 10.0}, {"material": "EMC", "lot": "L-2", "amount": 9.8}]
    told = {"place": "vials/A1", "portions": portions, "amount": 19.8, "unit": "µL", "run": "run-0001"}
    story.tell("stock.spent", within=None, **told, thing="liquid", sample="a", action_id=action_id)
    story.tell("stock.spent", thing="tips", place="ot2/1", name="20", lot=None, sample="a", action_id=action_id)
    (one,) = story.told()["doses"]
    assert (one["what"], one["lot"], one["lot_by"]) == ("EC + EMC", "L-1 + L-2", "journal")


def test_a_half_cell_that_became_the_sample_is_its_first_part(story: Story) -> None:
    told = {"thing": "part", "place": "tray/A1", "name": "half_cell", "lot": "H-3", "amount": 1, "unit": "pieces"}
    story.tell("stock.spent", **told, wells=["tray/A1"], sample="a", action_id=None)
    (part,) = story.told()["parts"]
    assert (part["what"], part["lot"], part["on_sample"]) == ("half_cell", "H-3", True)


def test_what_the_stock_says_of_other_samples_is_not_its_own(story: Story) -> None:
    story.tell("stock.spent", thing="part", place="tray/B1", name="anode", sample="b", action_id=None)
    assert story.told()["materials"] == []


def test_times_between_steps_are_told_from_end_to_end_and_to_the_order(story: Story) -> None:
    dose(story)
    carried(story)
    story.act("press.crimp", wait=5, parameters={"force": {"v": 7.8, "u": "kN"}}, result={})
    story.act("stat.open_circuit", wait=30, result={"final_voltage": {"v": 3.1, "u": "V"}})
    told = story.told()
    times = [(one["from"], one["to"], one["seconds"], one["waited"]) for one in told["intervals"]]
    assert times == [
        ("dose", "part", 22.0, 12.0),
        ("part", "crimp", 6.0, 1.0),
        ("crimp", "open_circuit", 31.0, 1.0),
        ("electrolyte", "crimp", 33.0, 33.0),
    ]
    assert [one["action"] for one in told["measurements"]] == ["open_circuit"]


def test_masses_are_told_with_the_state_that_weighed(story: Story) -> None:
    given = {"mass": {"v": 0.0123, "u": "g"}, "stable": False}
    story.act("balance.weigh", effect="read", result=given)
    (mass,) = story.told()["masses"]
    assert (mass["mass"], mass["stable"], mass["state"]) == ({"v": 0.0123, "u": "g"}, False, "s")


def test_what_its_fate_was(story: Story) -> None:
    assert story.told()["fate"]["outcome"] == "under way"
    story.tell("run.state", **{"from": "Holding", "to": "Held", "by": "mk", "command": "hold", "cause": "lunch"})
    assert story.told()["fate"]["because"] == "lunch"
    story.tell("run.state", **{"from": "Unholding", "to": "Execute", "by": "mk", "command": "unhold", "cause": None})
    assert story.told()["fate"]["because"] is None
    story.tell("question.asked", question_id="q1", kind="protocol", text="Sound?", choices=["yes"], input=None)
    story.tell("question.expired", question_id="q1")
    story.tell("run.ended", outcome="scrapped", cause=None)
    story.moved("tray/A1", None, by="jd")
    told = story.told()
    assert (told["fate"]["outcome"], told["fate"]["run"], told["place"]) == ("scrapped", "run-0001", None)
    assert told["fate"]["taken_out"]["by"] == "jd"
    assert [one["end"] for one in told["questions"]] == ["expired"]
    assert [one["text"] for one in told["remarks"]] == ["held: lunch"]


def test_a_broken_window_is_told_and_other_decisions_are_not(story: Story) -> None:
    story.tell("protocol.decided", what="window dose.start to crimp.start", value="expired", because="30 min passed")
    story.tell("protocol.decided", what="next", value=True, because="force 5 kN")
    story.tell("run.ended", outcome="scrapped", cause="the time window dose.start to crimp.start has expired")
    told = story.told()
    assert [one["text"] for one in told["remarks"]] == ["window dose.start to crimp.start: 30 min passed"]
    assert told["fate"]["because"] == "the time window dose.start to crimp.start has expired"


def test_a_second_run_goes_on_where_the_first_left_it(story: Story) -> None:
    story.tell("run.ended", outcome="complete", cause=None)
    story.start("run-0002")
    story.act("stat.cycle", parameters={"c_rate": 0.1}, result={"capacities": {"v": [1.9], "u": "mAh"}})
    told = story.told()
    assert [run["outcome"] for run in told["runs"]] == ["complete", None]
    assert (told["place"], told["cycling"][0]["c_rate"]) == ("tray/A1", 0.1)


def test_a_sample_without_a_run_has_its_notes() -> None:
    story = Story()
    said = {"sample": "a", "barcode": "7", "active_mass": 0.0123, "about": {}, "by": "mk"}
    story.tell("sample.registered", within=None, **said)
    told = story.told()
    assert told["notes"][0]["said"]["active_mass"] == {"v": 0.0123, "u": "g"}
    assert (told["fate"]["outcome"], told["runs"], told["steps"], told["intervals"]) == (None, [], [], [])


def test_an_answered_value_has_the_unit_that_was_asked_for(story: Story) -> None:
    asked = {"type": "quantity", "unit": "µL", "min": 1.0, "max": None}
    story.tell("question.asked", question_id="q1", kind="supply", text="How much?", choices=[], input=asked)
    story.tell("question.answered", question_id="q1", choice="", value=5000.0, by="jd")
    (question,) = story.told()["questions"]
    assert question["value"] == {"v": 5000.0, "u": "µL"}
