"""What a campaign does with what it proposes, with what fails, with its budget, and with people's words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labd.campaign.problem import CampaignError, Observation
from labd.run.lifecycle import Command, CommandRefusedError
from tests.campaign.living import FILE, Lab, lab, points

MORE = FILE.replace("cells: 3", "cells: 40")
WIDE = MORE.replace("max: 9 kN", "max: 10 kN")  # above 9.5 kN the protocol scraps the cell


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Lab]:
    with lab(tmp_path / "lab") as found:
        yield found


class Asked:
    """An optimiser that remembers what it was asked, and proposes what it is told to."""

    def __init__(self) -> None:
        self.asks: list[tuple[Any, ...]] = []
        self.forces: list[list[float]] = []
        self.error: Exception | None = None

    def ask(self, problem: Any, told: Any, pending: Any, count: int, seed: int) -> Any:
        from labd.campaign.problem import Prediction, Proposal

        self.asks.append((list(told), [dict(one) for one in pending], count, seed))
        if self.error is not None:
            raise self.error
        forces = self.forces.pop(0) if self.forces else [3.0 + 0.1 * len(self.asks)] * count
        return [Proposal({"force": one}, {"off": Prediction(1.0, 0.5)}, "it is told to") for one in forces]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    found = Asked()
    monkeypatch.setattr("labd.campaign.optimisers.optimiser", lambda *_, **__: found)
    return found


def test_what_was_measured_goes_back_to_the_optimiser_in_the_objectives_unit(here: Lab, asked: Asked) -> None:
    asked.forces = [[7.0, 6.0], [5.0]]
    here.start()
    here.until_over()
    told = asked.asks[1][0]
    assert [(one.point, one.values["off"], one.failed) for one in told] == [
        ({"force": 7.0}, pytest.approx(800.0), False),
        ({"force": 6.0}, pytest.approx(1800.0), False),
    ]


def test_a_scrapped_cell_is_told_as_a_failure_with_its_cause_and_not_as_a_zero(here: Lab, asked: Asked) -> None:
    asked.forces = [[9.8, 6.0], [5.0]]
    here.start(WIDE.replace("cells: 40", "cells: 3"))
    campaign = here.until_over()
    failed = asked.asks[1][0][0]
    assert (failed.failed, dict(failed.values), failed.cause.startswith("scrapped: ")) == (True, {}, True)
    assert campaign.record.experiments["p0001"].status == "failed"
    best = campaign.outlook.best()
    assert best is not None
    assert best.id == "p0002"


def test_a_run_that_a_person_stops_says_nothing_of_its_point(here: Lab, asked: Asked) -> None:
    asked.forces = [[7.0, 6.0], [5.0]]
    campaign = here.start()
    here.let(3.0)
    run = campaign.record.of("running")[0].run
    here.drive(here.site.engine.command(run, Command.STOP, by="eva", cause="a smell"))
    here.until_over()
    assert [one.status for one in campaign.record.all] == ["lost", "observed", "observed"]
    assert len(asked.asks[1][0]) == 1


def test_a_rolling_campaign_asks_again_as_one_ends_and_says_what_is_pending(here: Lab, asked: Asked) -> None:
    asked.forces = [[7.0, 6.0], [5.0], [4.0]]
    here.start(MORE.replace("batch: 2", "batch: 2\nrolling: true"))
    here.let(9.0)
    assert [(len(told), pending, count) for told, pending, count, _ in asked.asks[:2]] == [
        (0, [], 2),
        (1, [{"force": 6.0}], 1),
    ]


def test_failures_one_after_another_pause_it_until_a_person_looks(here: Lab, asked: Asked) -> None:
    asked.forces = [[9.8, 9.7], [5.0, 5.1]]
    here.start(f"{WIDE}stop: {{failures: 2}}\n")
    campaign = here.until_over()
    assert campaign.record.paused is not None
    assert campaign.record.paused.startswith("2 experiments failed one after another: scrapped: ")
    here.drive(here.campaigns.resume("pressing", by="eva"))
    here.let(30.0)
    assert [one.status for one in campaign.record.all][:4] == ["failed", "failed", "observed", "observed"]


def test_it_ends_when_what_is_wanted_is_reached(here: Lab, asked: Asked) -> None:
    asked.forces = [[7.0, 7.7]]
    here.start(f"{MORE}stop: {{when: best.off < 0.15 kN}}\n")
    campaign = here.until_over()
    assert campaign.record.ended == "it is reached: best.off < 0.15 kN (best.off 100 N)"


def test_it_ends_when_the_best_stays_the_same(here: Lab, asked: Asked) -> None:
    asked.forces = [[7.8, 5.0], [4.0, 3.0]]
    here.start(f"{MORE}stop: {{unchanged: 3}}\n")
    assert here.until_over().record.ended == "the best is the same since 3 experiments"


def test_it_ends_when_its_money_does_not_go_for_one_more(here: Lab, asked: Asked) -> None:
    asked.forces = [[7.0, 6.0], [5.0, 4.0]]
    here.start(MORE.replace("{cells: 40}", "{money: 20}\ncosts: {money: =force / 1 kN}"))
    campaign = here.until_over()
    assert campaign.record.ended == "the budget is spent: 2 EUR are left, and one more costs 3.3 EUR"
    assert len(campaign.record.all) == 3  # 7 and 6, then 5; the second of the round is left away
    assert campaign.outlook.spent().money == pytest.approx(18.0)


def test_it_ends_when_its_time_is_over_and_what_waits_is_vetoed(here: Lab, asked: Asked) -> None:
    here.start(MORE.replace("{cells: 40}", "{time: 15 s}").replace("batch: 2", "batch: 6"))
    campaign = here.until_over()
    assert campaign.record.ended == "its time is over: 15 s"
    found = [one.status for one in campaign.record.all]
    assert (found.count("observed"), found.count("vetoed")) == (3, 3)
    assert all(job.state in ("Completed", "Aborted") for job in here.site.engine.queue.jobs(ended=True))


def test_an_optimiser_that_cannot_pauses_it_with_its_words(here: Lab, asked: Asked) -> None:
    asked.error = CampaignError("it needs scipy")
    here.start()
    campaign = here.until_over()
    assert campaign.record.paused == "it needs scipy"
    asked.error = None
    here.drive(here.campaigns.resume("pressing", by="eva"))
    assert here.until_over().record.ended == "all 3 cells are made"


def test_an_optimiser_that_breaks_pauses_its_own_campaign_and_no_other(here: Lab, asked: Asked) -> None:
    asked.error = ZeroDivisionError("oh")
    here.start()
    assert "failed: ZeroDivisionError('oh')" in (here.until_over().record.paused or "")
    asked.error = None
    here.start(FILE.replace("campaign: pressing", "campaign: other"))
    assert here.until_over("other").record.ended == "all 3 cells are made"


def test_campaigns_go_on_side_by_side_each_with_its_own_samples(here: Lab) -> None:
    here.start()
    here.start(FILE.replace("campaign: pressing", "campaign: other"))
    first, second = here.until_over(), here.until_over("other")
    samples = {one.sample for campaign in (first, second) for one in campaign.record.of("observed")}
    assert samples == {f"{name}-p000{number}" for name in ("pressing", "other") for number in (1, 2, 3)}


def test_of_several_objectives_the_front_is_told(here: Lab, asked: Asked) -> None:
    asked.forces = [[7.0, 6.0], [5.0]]
    two = "  off: {goal: minimise, unit: N}\n  low: {goal: minimise, value: =results.off * 0 + force, unit: kN}\n"
    here.start(FILE.replace("  off: {goal: minimise, unit: N}\n", two))
    campaign = here.until_over()
    assert campaign.outlook is not None
    assert {one.id for one in campaign.outlook.front()} == {"p0001", "p0002", "p0003"}


def test_what_waits_is_made_when_the_budget_goes_for_no_more(here: Lab, asked: Asked) -> None:
    asked.forces = [[7.0, 6.0, 5.0]]
    text = MORE.replace("{cells: 40}", "{money: 19}\ncosts: {money: =force / 1 kN}")
    here.start(text.replace("batch: 2", "batch: 3\nrolling: true"))
    campaign = here.until_over()
    assert [one.status for one in campaign.record.all] == ["observed"] * 3
    assert (campaign.record.ended or "").startswith("the budget is spent: 1 EUR are left, and one more costs 3.")


def test_a_point_without_a_cost_is_not_allowed_and_harms_nothing(here: Lab) -> None:
    text = MORE.replace("{cells: 40}", "{cells: 2, money: 90}\ncosts: {money: =1 / (force / 1 kN - 7)}")
    campaign = here.start(text)
    with pytest.raises(CommandRefusedError, match=r"`costs\.money`: .* by zero"):
        here.drive(campaign.add([{"force": 7.0}], by="eva", why="a hunch"))
    with pytest.raises(CommandRefusedError, match=r"`costs\.money`: -1 is no cost"):
        here.drive(campaign.add([{"force": 6.0}], by="eva", why="a hunch"))
    here.until_over()
    assert all(float(one.point["force"]) > 7.0 for one in campaign.record.all)


def test_what_the_lab_refuses_again_and_again_pauses_it(here: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from labd.files import InputErrors, Problem

    async def submit(asked: Any) -> None:
        raise InputErrors([Problem("T103", "no such force", line=row.number) for row in asked.rows])

    monkeypatch.setattr(here.site.engine.queue, "submit", submit)
    here.start(MORE)
    campaign = here.until_over()
    assert campaign.record.paused == "the lab has refused 3 proposals one after another: no such force"
    assert {one.status for one in campaign.record.all} == {"refused"}
    assert len(campaign.record.all) == 4


def test_a_file_that_cannot_be_read_anew_pauses_its_own_campaign(here: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    here.start()
    here.kill()

    def broken(*_: Any) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("labd.campaign.checker.plan_of", broken)
    here.up()
    here.let(5.0)
    assert "labd failed: ZeroDivisionError('oh')" in (here.campaigns.find("pressing").record.paused or "")


def test_nothing_turns_in_circles_while_nothing_may_be_started_and_its_time_is_over(here: Lab) -> None:
    campaign = here.start(MORE.replace("{cells: 40}", "{time: 15 s}"))
    here.let(3.0)
    here.site.engine.lab.barriers.set("smoke", "there is smoke")
    here.let(60.0)  # on virtual time this comes to no end where something does not wait
    assert campaign.record.state == "working"
    here.site.engine.lab.barriers.lift("smoke")
    assert here.until_over().record.ended == "its time is over: 15 s"


# ── figures ──────────────────────────────────────────────────────────────────────────────────────────────────────────
class NoSeries:
    """The signal store of a lab in which nothing was measured in time."""

    async def series(self, **_: Any) -> list[Any]:
        return []


def of_figure(name: str) -> str:
    return MORE.replace("{goal: minimise, unit: N}", f"{{goal: maximise, value: =figures.{name}}}")


def test_an_objective_is_read_from_a_figure_of_its_run_in_its_own_unit(here: Lab, asked: Asked) -> None:
    here.site.engine.signals = NoSeries()  # type: ignore[assignment]
    asked.forces = [[3.0, 4.0]]
    text = of_figure("peak_force").replace("value:", "unit: N, value:").replace("cells: 40", "cells: 2")
    campaign = here.start(text)
    here.until_over()
    assert [one.values["off"] for one in campaign.record.all] == [pytest.approx(7800.0)] * 2  # what the press reaches


def test_a_figure_that_nothing_measured_is_a_failure_that_says_so(here: Lab, asked: Asked) -> None:
    here.site.engine.signals = NoSeries()  # type: ignore[assignment]
    campaign = here.start(of_figure("capacity_2").replace("cells: 40", "cells: 2"))
    here.until_over()
    one = campaign.record.experiments["p0001"]
    assert (one.status, one.values) == ("failed", {})
    assert one.cause == "the run is complete and gives no off; the cell was not cycled"


# ── people ───────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def waiting(here: Lab, asked: Asked) -> Lab:
    """A campaign whose two proposals wait in a paused queue."""
    asked.forces = [[7.0, 6.0]]
    here.drive(here.site.engine.queue.pause(by="eva"))
    here.start(MORE)
    here.let(5.0)
    return here


def go_on(here: Lab) -> None:
    here.drive(here.site.engine.queue.resume(by="eva"))
    here.let(20.0)


def test_a_vetoed_proposal_is_not_made_and_its_reason_is_kept(waiting: Lab) -> None:
    campaign = waiting.campaigns.find("pressing")
    waiting.drive(campaign.veto("p0001", by="eva", why="that tears the can"))
    go_on(waiting)
    one = campaign.record.experiments["p0001"]
    assert (one.status, one.run, one.notes[0].why) == ("vetoed", None, "that tears the can")
    assert waiting.site.engine.queue.job(one.job).state == "Aborted"


def test_an_edited_proposal_is_made_as_it_was_edited_and_once(waiting: Lab) -> None:
    campaign = waiting.campaigns.find("pressing")
    waiting.drive(campaign.edit("p0001", {"force": 3.3}, by="eva", why="lower"))
    go_on(waiting)
    one = campaign.record.experiments["p0001"]
    started = waiting.events("run.started")
    assert (one.status, one.point) == ("observed", {"force": 3.3})
    assert [event.data["parameters"]["force"]["v"] for event in started][:2] == [6.0, 3.3]


def test_what_a_person_adds_is_made_and_told_like_any_other(waiting: Lab, asked: Asked) -> None:
    campaign = waiting.campaigns.find("pressing")
    (added,) = waiting.drive(campaign.add([{"force": 4.4}], by="eva", why="a hunch"))
    go_on(waiting)
    assert (added.by, added.why, added.status, added.ask) == ("eva", "a hunch", "observed", None)
    assert {"force": 4.4} in [one.point for one in asked.asks[1][0]]


def test_what_is_added_twice_under_one_name_is_added_once(waiting: Lab) -> None:
    campaign = waiting.campaigns.find("pressing")
    (first,) = waiting.drive(campaign.add([{"force": 4.4}], by="eva", why="a hunch", request="r-1"))
    (again,) = waiting.drive(campaign.add([{"force": 4.4}], by="eva", why="a hunch", request="r-1"))
    (other,) = waiting.drive(campaign.add([{"force": 4.4}], by="eva", why="a hunch", request="r-2"))
    assert (again.id, other.id) == (first.id, "p0004")
    with pytest.raises(CommandRefusedError, match="'r-1' has added p0003, other points: name it otherwise"):
        waiting.drive(campaign.add([{"force": 4.5}], by="eva", why="a hunch", request="r-1"))
    assert [event.data.get("request") for event in waiting.events("campaign.proposed")] == [None, "r-1", "r-2"]


def test_a_job_that_is_cancelled_in_the_queue_is_a_veto(waiting: Lab) -> None:
    campaign = waiting.campaigns.find("pressing")
    one = campaign.record.experiments["p0002"]
    waiting.drive(waiting.site.engine.queue.cancel(one.job, by="mk", why="no lid"))
    assert (one.status, one.cause) == ("vetoed", "cancelled in the queue by mk: no lid")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"force": 12.0}, "force 12.0: outside of `force`, its bounds, step or sum"),
        ({"force": 3.33}, "force 3.33: outside of `force`, its bounds, step or sum"),
        ({"fork": 3.0}, "the space has no `fork`; a point has force"),
    ],
)
def test_a_point_outside_of_the_space_is_refused(waiting: Lab, changes: dict[str, float | str], said: str) -> None:
    campaign = waiting.campaigns.find("pressing")
    with pytest.raises(CommandRefusedError) as refused:
        waiting.drive(campaign.edit("p0001", changes, by="eva", why="why not"))
    assert str(refused.value) == said


def test_what_has_begun_can_be_neither_vetoed_nor_edited(here: Lab, asked: Asked) -> None:
    campaign = here.start()
    here.let(3.0)
    one = campaign.record.of("running")[0]
    with pytest.raises(CommandRefusedError, match=f"{one.id} is running: `labd stop {one.run}` ends its run"):
        here.drive(campaign.veto(one.id, by="eva", why="no"))


def test_a_paused_campaign_proposes_nothing_and_goes_on_when_it_is_resumed(here: Lab, asked: Asked) -> None:
    campaign = here.start()
    here.drive(campaign.hold(by="eva", why="lunch"))
    here.let(60.0)
    assert len(asked.asks) == 1
    here.drive(here.campaigns.resume("pressing", by="eva"))
    assert here.until_over().record.ended == "all 3 cells are made"


def test_a_stopped_campaign_lets_what_is_at_work_come_to_its_end(here: Lab, asked: Asked) -> None:
    campaign = here.start()
    here.let(3.0)
    here.drive(campaign.stop(by="eva", why="enough"))
    here.until_over()
    assert [one.status for one in campaign.record.all] == ["observed", "vetoed"]
    assert campaign.record.ended == "stopped by eva: enough"


def test_a_vetoed_point_is_not_proposed_again(here: Lab) -> None:
    here.drive(here.site.engine.queue.pause(by="eva"))
    text = MORE.replace("min: 2 kN, max: 9 kN, step: 0.1 kN", "min: 2 kN, max: 6 kN, step: 1 kN")
    campaign = here.start(text.replace("batch: 2", "batch: 1").replace("cells: 40", "cells: 4"))
    here.let(5.0)
    vetoed = dict(campaign.record.experiments["p0001"].point)
    here.drive(campaign.veto("p0001", by="eva", why="that tears the can"))
    go_on(here)
    here.until_over()
    tried = [one.point for one in campaign.record.of("observed")]
    assert (len(tried), vetoed in tried) == (4, False)


def test_an_edit_beyond_the_budget_is_refused(here: Lab, asked: Asked) -> None:
    asked.forces = [[7.0, 6.0]]
    here.drive(here.site.engine.queue.pause(by="eva"))
    campaign = here.start(MORE.replace("{cells: 40}", "{money: 14}\ncosts: {money: =force / 1 kN}"))
    here.let(5.0)
    with pytest.raises(CommandRefusedError, match="7 EUR are left for p0002, and it would cost 8 EUR"):
        here.drive(campaign.edit("p0002", {"force": 8.0}, by="eva", why="more"))
    here.drive(campaign.edit("p0002", {"force": 7.0}, by="eva", why="a little more"))


# ── its file ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_same_file_again_is_the_campaign_that_is_at_work(here: Lab) -> None:
    assert here.start() is here.start()


def test_another_file_of_the_same_name_is_refused_while_the_first_is_at_work(here: Lab) -> None:
    here.start()
    with pytest.raises(CommandRefusedError, match="labd campaign stop pressing"):
        here.start(MORE)


def test_after_its_end_the_same_file_starts_a_second_campaign(here: Lab) -> None:
    first = here.start()
    here.until_over()
    second = here.start()
    assert (first.id, second.id) == ("pressing", "pressing-2")
    assert points(here.until_over("pressing-2").record.all) == points(first.record.all)


# ── virtual cells ────────────────────────────────────────────────────────────────────────────────────────────────────
def test_what_virtual_cells_say_is_kept_and_told_with_the_first_ask_and_is_no_result(
    here: Lab, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[Any] = []

    def observe(self: Any, some: Any, objectives: Any) -> list[Observation]:
        called.append([self.arguments(point) for point in some])
        return [Observation(point, {"off": 0.0}, fidelity=self.name) for point in some]

    monkeypatch.setattr("labd.campaign.virtual.Virtual.observe", observe)
    virtual = (
        "virtual: {light: {function: simulators.cells.virtual:outcome, with: {force: =force, dose: 45}, count: 3}}"
    )
    asked.forces = [[3.0, 4.0, 5.0], [7.0, 6.0]]  # the first are those of the virtual cells
    campaign = here.start(f"{MORE}{virtual}\n")
    here.let(5.0)
    told = asked.asks[1][0]
    assert [(one.fidelity, one.values["off"]) for one in told] == [("light", 0.0)] * 3
    assert called == [[{"force": force, "dose": 45} for force in (3.0, 4.0, 5.0)]]
    assert len(here.events("campaign.simulated")) == 1
    here.let(20.0)
    assert campaign.outlook is not None
    assert campaign.outlook.best() is campaign.record.experiments["p0001"]


MODELLED = """\
virtual:
  light:
    function: simulators.cells.virtual:outcome
    with: {formulation: {EC: 0.5, EMC: 0.5, molality: 1.0}, dose: 45, force: =force, cycles: 1}
    figures: {off: r_ohmic}
    count: 4
    processes: 1
"""


def test_real_virtual_cells_inform_the_first_ask_of_the_embedded_optimiser(here: Lab) -> None:
    campaign = here.start(f"{FILE.replace('optimiser: random', 'optimiser: gp')}{MODELLED}")
    assert here.until_over().record.ended == "all 3 cells are made"
    said = campaign.record.simulated["light"]
    assert len(said) == 4
    assert all(not one["failed"] and one["values"]["off"] > 0 for one in said)
    assert all("light" in one.why for one in campaign.record.all)  # it believes them, more or less


def test_virtual_cells_that_all_fail_are_said_and_teach_nothing(here: Lab) -> None:
    campaign = here.start(f"{FILE}{MODELLED.replace('cycles: 1', 'cycles: 0')}")
    paused = here.until_over().record.paused or ""
    assert paused.startswith("all 4 virtual cells light failed, so they teach nothing: ValueError: 0 cycles")
    assert campaign.record.simulated == {}
