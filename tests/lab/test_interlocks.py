"""Interlocks and `safe_by` of lab.yaml: what does not hold is told before anything is connected."""

from __future__ import annotations

from pathlib import Path

import pytest

from labd.lab.check import check_lab
from tests.lab.test_config import write
from tests.toys import TOYS

LAB = """\
labd: 1
lab: toys
store: store
devices:
  press: {driver: press, safe_by: {device: box, action: cut, with: {outlet: press}}}
  box-1: {driver: box}
  box: {driver: box}
interlocks:
  - {name: oxygen, if: box.oxygen > 50 ppm and not box_1.pumping, for: 10 s, then: hold}
"""


def test_conditions_and_safe_by_that_hold(tmp_path: Path) -> None:
    checked = check_lab(write(tmp_path, LAB), find=TOYS.__getitem__)
    assert checked.problems == ()
    assert checked.lab is not None
    estop, oxygen = checked.lab.rules
    assert (estop.name, estop.builtin, estop.latch) == ("press-estop", True, True)
    assert oxygen.condition.devices == ("box", "box-1")
    assert str(checked.lab.safe_by["press"]) == "box.cut"


@pytest.mark.parametrize(
    ("old", "new", "code", "where", "said"),
    [
        ("box.oxygen >", "box.oxigen >", "L209", "9:28", "did you mean `oxygen`?"),
        ("box.oxygen >", "bux.oxygen >", "L209", "9:24", "did you mean `box`?"),
        ("50 ppm", "50", "L210", "9:24", ""),
        ("50 ppm", "5 kN", "L210", "9:24", ""),
        ("box.oxygen > 50 ppm and not", "box.oxygen >> 50 ppm and not", "L208", "9:36", "does not belong here"),
        ("box.oxygen > 50 ppm and not box_1.pumping", "1 > 2", "L209", "9:24", "names no signal"),
        ("box.oxygen > 50 ppm and not box_1.pumping", "box.oxygen", "L210", "9:24", "a condition compares"),
        ("name: oxygen", "name: press-estop", "L302", "9:12", "labd's own interlock"),
        ("device: box,", "device: bax,", "L204", "5:44", "did you mean `box`?"),
        ("device: box,", "device: press,", "L204", "5:44", "press itself is what is lost"),
        ("action: cut", "action: cat", "L211", "5:57", "did you mean `cut`?"),
        ("{outlet: press}", "{outlet: 3}", "L211", "5:62", "outlet"),
    ],
)
def test_what_does_not_hold_is_told_at_its_place(
    tmp_path: Path, old: str, new: str, code: str, where: str, said: str
) -> None:
    path = write(tmp_path, LAB.replace(old, new, 1))
    problems = check_lab(path, find=TOYS.__getitem__).problems
    (problem,) = problems
    assert (problem.code, problem.where) == (code, f"{path}:{where}")
    assert said in problem.render()


def test_conditions_are_told_with_the_other_errors_of_a_file(tmp_path: Path) -> None:
    path = write(tmp_path, LAB.replace("store: store", "stores: store").replace("box.oxygen", "box.oxigen"))
    assert [problem.code for problem in check_lab(path, find=TOYS.__getitem__).problems] == ["L101", "L209"]


def test_names_are_no_longer_than_their_alarms_can_tell_apart(tmp_path: Path) -> None:
    fits = LAB.replace("name: oxygen", f"name: {'o' * 54}").replace(
        "  box-1:", f"  {'d' * 48}: {{driver: press}}\n  box-1:"
    )
    checked = check_lab(write(tmp_path, fits), find=TOYS.__getitem__)
    assert checked.lab is not None
    ids = [f"interlock-{rule.name}" for rule in checked.lab.rules]
    assert len(set(ids)) == len(ids) == 3
    assert max(map(len, ids)) == 64
    for old, long, where in (("o" * 54, "o" * 55, "10:12"), ("d" * 48, "d" * 49, "6:3")):
        path = write(tmp_path, fits.replace(old, long))
        (problem,) = check_lab(path, find=TOYS.__getitem__).problems
        assert (problem.code, problem.where) == ("L103", f"{path}:{where}")
        assert f"has {len(long)} characters" in problem.message
        assert problem.mend == f"write at most {len(old)}"
