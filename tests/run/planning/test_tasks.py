"""From protocols to works: the usual way, its units, what holds the sample, the times."""

from __future__ import annotations

import pytest

from labd.protocol import load
from labd.protocol.checker import compiled
from labd.run.planning import Begun, Bench, Window, greedy, problems_of
from labd.run.planning.durations import Durations
from labd.run.planning.tasks import Past, Recipes, tasks_of
from labd.run.planning.varying import varying
from labd.run.shipped import find_protocol, library

PLACES = {"press/nest": "crimper", "stat/1": "potentiostat", "arm/gripper": "arm"}


def shipped(name: str):  # type: ignore[no-untyped-def]
    protocol = load(find_protocol(name), name, library())
    return protocol, compiled(protocol)


def test_autobass_is_a_chain_that_leaves_the_cell_in_the_press() -> None:
    protocol, program = shipped("autobass_cr2032")
    work = tasks_of("job-0001", protocol, program)
    states = [task.state for task in work.tasks]
    assert states == ["prepare", "lower_half", "wet", "upper_half", "to_press", "crimp", "retrieve"]
    assert {task.state: set(task.keeps) for task in work.tasks if task.keeps} == {
        "to_press": {"crimper"},
        "crimp": {"crimper"},
    }
    assert work.tasks[0].roles == {"arm": 1, "crimper": 1, "pipetting_robot": 1, "thermostat": 1}
    assert work.tasks[1].roles == {"arm": 1}
    assert work.windows == (Window((2, "start"), (5, "start"), 742.0, None, "wet.start to crimp.start"),)


def test_a_cell_stays_in_its_channel_until_the_arm_takes_it_out() -> None:
    protocol, program = shipped("cr2032_dose_crimp_form")
    tasks = {task.state: task for task in tasks_of("job-0001", protocol, program, places=PLACES).tasks}
    assert tasks["to_cycler"].keeps == {"potentiostat"}
    assert tasks["to_cycler"].frees == {"crimper"}
    assert tasks["form"].keeps == {"potentiostat"}
    assert tasks["store"].frees == {"potentiostat"}
    assert "potentiostat" not in tasks["store"].roles


def test_a_state_that_picks_and_places_leaves_the_gripper_empty() -> None:
    protocol, program = shipped("carry")
    pick, place = tasks_of("job-0001", protocol, program).tasks
    assert pick.keeps == {"arm"}
    assert place.keeps == frozenset()


def test_a_sample_that_begins_in_a_channel_is_known_to_be_there() -> None:
    protocol, program = shipped("formation_c_rate_ladder")
    recipes = Recipes(places=PLACES)
    work = recipes.work("job-0001", protocol, program, home="stat/1", at={"potentiostat": "stat.1"})
    assert all(task.keeps == {"potentiostat"} for task in work.tasks)
    plan = greedy([work], Bench({"potentiostat": ("stat.2", "stat.1")}), 0.0)
    assert {row.units["potentiostat"] for row in plan.rows} == {("stat.1",)}


def test_what_was_learnt_replaces_what_the_checker_expects() -> None:
    protocol, program = shipped("autobass_cr2032")
    durations = Durations()
    recipes = Recipes(durations)
    before = {task.state: task.duration for task in recipes.work("a", protocol, program).tasks}
    durations.learn("autobass_cr2032", "wet", 120.0, {"force": 7.8})
    after = {task.state: task.duration for task in recipes.work("a", protocol, program).tasks}
    assert before["wet"] > 0
    assert after == before | {"wet": 120.0}


def test_only_parameters_that_change_a_states_time_keep_its_times_apart() -> None:
    protocol, program = shipped("cr2032_dose_crimp_form")
    found = varying(protocol.digest, program)
    assert found.names["form"] == ("current", "cycles")
    assert found.names["rest"] == ("rest",)
    assert found.names["crimp"] == ()
    assert found.key("form", {"cycles": 2, "current": {"v": 0.1, "u": "mA"}}) == (("current", 0.1), ("cycles", 2.0))


def test_a_run_under_way_goes_on_from_where_it_is() -> None:
    protocol, program = shipped("autobass_cr2032")
    past = [
        Past("prepare", 0.0, {"arm": ("arm",), "crimper": ("press",)}, 30.0),
        Past("lower_half", 30.0, {"arm": ("arm",)}, 170.0),
        Past("wet", 170.0, {"arm": ("arm",), "pipetting_robot": ("ot2",)}),
    ]
    work = Recipes().work("run-0001", protocol, program, past=past)
    assert work.begun[2] == Begun(170.0, {"arm": ("arm",), "pipetting_robot": ("ot2",)})
    assert [task.state for task in work.tasks][2:4] == ["wet", "upper_half"]
    bench = Bench({"arm": ("arm",), "crimper": ("press",), "pipetting_robot": ("ot2",), "thermostat": ("bath",)})
    plan = greedy([work], bench, 200.0)
    assert problems_of(plan, [work], bench) == []
    due = plan.due("run-0001")
    assert due is not None
    assert (due.state, due.start) == ("upper_half", pytest.approx(170.0 + work.tasks[2].duration))


def test_a_run_beside_its_usual_way_is_planned_from_there() -> None:
    protocol, program = shipped("autobass_cr2032")
    past = [Past("crimp", 0.0, {"crimper": ("press",)}, 20.0), Past("look", 20.0, {})]
    work = Recipes().work("run-0001", protocol, program, past=past)
    assert [task.state for task in work.tasks] == ["crimp", "look", "retrieve"]
