"""Campaign files, checked: all that is wrong at once, each with its place; and what a file that holds comes to."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from labd.campaign.checker import check_campaign, plan_of
from labd.campaign.loader import is_campaign
from labd.campaign.making import Texts
from labd.campaign.plan import Plan
from labd.campaign.problem import Choice, Mixture, Range
from labd.campaign.shipped import shipped_campaigns
from labd.files import InputErrors
from tests.campaign.living import FILE, PRESS

TEXTS = Texts(PRESS, "press.yaml")
WHOLE = """\
labd: 1
campaign: whole
space:
  liquids: {type: mixture, parts: {EC: {min: 0.2}, EMC: {max: 0.7}}, step: 0.1, least: 0.1}
  load: {type: quantity, min: 2000 N, max: 8 kN}
  salt: {type: choice, choices: {LiPF6: {radius: 0.25}, LiFSI: {radius: 0.26}}}
  times: {type: integer, min: 1, max: 4}
constraints: ["salt == 'LiPF6' or EC >= 0.4"]
objectives:
  off: {goal: minimise, unit: N, low: 0 N, high: 1 kN, weight: 2}
  long: {goal: window, value: =results.dwell * times, low: 2 s, high: 0.1 min}
combine: pareto
protocol: press
parameters: {force: =load * (EC + EMC), dwell: =1 s * times}
budget: {cells: 8, time: 2 h, money: 100, mass: 5 g}
costs: {money: =2 + 3 * EC, mass: =load / 10 kN * 1 g}
stop: {when: best.off < 0.1 kN and experiments >= 4}
optimiser: {use: latin}
prior: {off: =load - 7.8 kN}
"""


def plan(text: str = WHOLE) -> Plan:
    return plan_of(text, "whole.yaml", None, TEXTS)


def told(text: str) -> list[str]:
    _, problems = check_campaign(text, "c.yaml", None, TEXTS)
    return [f"{one.line}:{one.column} {one.code}" for one in problems]


def test_a_file_becomes_a_problem_in_the_units_that_it_is_written_in() -> None:
    found = plan()
    assert found.space.dimensions == (
        Mixture("liquids", ("EC", "EMC"), (0.2, 0.0), (1.0, 0.7), 1.0, 0.1, 0.1),
        Range("load", 2000.0, 8000.0, "N", None),
        Choice("salt", ("LiPF6", "LiFSI"), {"LiPF6": (0.25,), "LiFSI": (0.26,)}),
        Range("times", 1.0, 4.0, "", 1.0),
    )
    off, long = found.objectives
    assert (off.unit, off.low, off.high, off.weight) == ("N", 0.0, 1000.0, 2.0)
    assert (long.unit, long.low, long.high) == ("s", 2.0, pytest.approx(6.0))
    assert (found.budget.time, found.budget.mass, found.combine) == (7200.0, 5.0, "pareto")


POINT = {"EC": 0.4, "EMC": 0.6, "load": 3000.0, "salt": "LiFSI", "times": 2.0}


def test_a_point_becomes_the_protocols_parameters_with_their_units() -> None:
    assert plan().cells_of(POINT, 0) == {"force": "3 kN", "dwell": "2 s"}


def test_a_point_has_its_costs() -> None:
    assert plan().cost("money", POINT) == pytest.approx(3.2)
    assert plan().cost("mass", POINT) == pytest.approx(0.3)


def test_what_a_run_gives_is_told_in_the_objectives_units() -> None:
    results = {"off": {"v": 0.25, "u": "kN"}, "dwell": {"v": 2.0, "u": "s"}}
    assert plan().value("off", POINT, results) == pytest.approx(250.0)
    assert plan().value("long", POINT, results) == pytest.approx(4.0)
    assert plan().value("off", POINT, {}) is None


def test_a_prior_that_is_an_expression_gives_the_objectives_unit() -> None:
    assert plan().prior["off"](POINT) == pytest.approx(-4800.0)


def test_constraints_and_what_the_protocol_takes_are_one_condition() -> None:
    space = plan().space
    assert space.allowed is not None
    assert space.allowed(POINT)
    assert not space.allowed({**POINT, "EC": 0.3, "EMC": 0.7})  # the constraint
    assert not space.allowed({**POINT, "load": 500.0})  # the press takes 1 kN at least


def test_all_that_is_wrong_is_told_at_once_also_beside_a_wrong_shape() -> None:
    wrong = (
        WHOLE.replace("step: 0.1, least", "step: 0.3, least")
        .replace("max: 8 kN", "max: 8 s")
        .replace("goal: minimise", "goal: least")
        .replace("best.off < 0.1 kN", "best.long < 0.1 kN")
        .replace("=2 + 3 * EC", "=2 g")
        .replace("EC >= 0.4", "PC >= 0.4")
        .replace("use: latin", "use: latine")
    )
    assert told(wrong) == [
        "4:70 C110",
        "5:44 C105",
        "8:35 C112",
        "10:15 C103",
        "16:17 C113",
        "17:14 C113",
        "18:18 C119",
    ]


def test_the_protocols_own_mistakes_are_told_with_the_campaigns() -> None:
    _, problems = check_campaign(FILE, "c.yaml", None, Texts(PRESS.replace("go: done", "go: don"), "press.yaml"))
    assert {(one.file, one.code) for one in problems} >= {("c.yaml", "C114"), ("press.yaml", "P301")}


def test_figures_of_a_run_are_objectives_in_their_own_units() -> None:
    text = FILE.replace("off: {goal: minimise, unit: N}", "retention_20: {goal: maximise}")
    (objective,) = plan_of(text, "c.yaml", None, TEXTS).objectives
    assert objective.unit == "ppm"
    assert told(FILE.replace("off: {goal: minimise, unit: N}", "capacity_2: {goal: maximise, unit: kN}")) == [
        "7:38 C105"
    ]


def test_only_models_and_laws_that_labd_knows_are_called() -> None:
    virtual = "virtual: {x: {function: os:system, with: {command: ls}}}\nprior: {off: os.system}\n"
    assert told(f"{FILE}{virtual}") == ["13:25 C119", "14:14 C119"]


@pytest.mark.parametrize("text", ["", "[]", "labd: 1", "campaign: [", "labd: 1\ncampaign: x\nspace: 3\n", "\0"])
def test_whatever_stands_in_a_file_is_told_and_never_a_traceback(text: str) -> None:
    found, problems = check_campaign(text, "c.yaml", None, TEXTS)
    assert found is None
    assert problems


def test_a_campaign_is_told_from_a_protocol_by_its_key() -> None:
    assert is_campaign(FILE)
    assert not is_campaign(PRESS)


def test_the_protocol_is_found_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "press.yaml").write_text(PRESS, encoding="utf-8")
    file = tmp_path / "c.yaml"
    file.write_text(FILE, encoding="utf-8")
    assert plan_of(file, str(file)).protocol.name == "press"
    (tmp_path / "press.yaml").unlink()
    with pytest.raises(InputErrors, match="C114 there is no protocol `press`"):
        plan_of(file, str(file))


# ── what is not installed ────────────────────────────────────────────────────────────────────────────────────────────
def without(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == package else there(name))


def test_an_optimisers_missing_library_is_said_before_the_first_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "scipy")
    with pytest.raises(InputErrors, match=r"C119 optimiser gp needs scipy: pip install 'labd\[data\]'"):
        plan(FILE.replace("optimiser: random", "optimiser: gp"))


def test_whoever_only_checks_a_file_is_warned_of_a_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "scipy")
    found, problems = check_campaign(shipped_campaigns()["carbonate_screening"])
    assert found is not None
    assert [(one.code, one.severity) for one in problems] == [("C119", "warning")]


def test_a_figure_of_spectra_needs_what_fits_them(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "impedance")
    with pytest.raises(InputErrors, match="C119 spectra are fitted with the package impedance"):
        plan(FILE.replace("{goal: minimise, unit: N}", "{goal: minimise, value: =figures.r_ohmic}"))


def test_a_prior_without_a_value_somewhere_is_said_before_an_ask_breaks() -> None:
    with pytest.raises(InputErrors, match=r"C123 the prior of `off` has no value: .* by zero at force 5"):
        plan(f"{FILE}prior: {{off: =1 kN * (1 kN / (force - 5 kN))}}\n")
