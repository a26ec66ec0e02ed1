"""What a device of a role cannot do: told by the check, kept out of reservations, refused at the device."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from drivers.methodscript import DRIVER as METHODSCRIPT
from labd.protocol import check, load
from labd.run.facts import facts_of
from labd.sdk import Call, Rejected, Setup
from tests.run.conftest import at_work
from tests.run.test_recovery import end_of
from tests.toys import TOYS, ToyStat, toy_lab

REST = """\
labd: 1
protocol: rest
version: 1.0.0
summary: Rest, and switch off.
roles: {stat: {role: potentiostat, channels: 1}, other: potentiostat}
start: off
states:
  off: {summary: Off., do: other.cell_off, next: rest}
  rest: {summary: Rest., do: stat.open_circuit, with: {duration: 1 h, interval: 60 s}, next: done}
  done: {end: complete}
"""


class Restless(ToyStat):
    """Cannot rest."""

    def lacks(self) -> Mapping[str, str]:
        return {"open_circuit": "it never rests"}


class Stuck(ToyStat):
    """Cannot be switched off."""

    def lacks(self) -> Mapping[str, str]:
        return {"cell_off": "it has no switch"}


KINDS = {**TOYS, "restless": Restless, "stuck": Stuck}


def told(tmp_path: Path, devices: dict[str, str], text: str = REST) -> list[tuple[str, str]]:
    lab = toy_lab(tmp_path, devices, KINDS)
    (tmp_path / "rest.yaml").write_text(text)
    return [(problem.code, problem.message) for problem in check(load(tmp_path / "rest.yaml"), facts_of(lab))]


def test_a_lab_where_one_device_can_do_it_is_enough(tmp_path: Path) -> None:
    assert told(tmp_path, {"a": "restless", "b": "stat"}) == []
    assert told(tmp_path, {"a": "restless", "b": "stuck"}) == []


def test_what_no_device_can_do_is_told_at_its_step_with_why(tmp_path: Path) -> None:
    why = "a: it never rests; b: it never rests"
    assert told(tmp_path, {"a": "restless", "b": "restless"}) == [
        ("P506", f"no potentiostat of toys can do `stat.open_circuit`: {why}")
    ]


def test_what_no_single_device_can_do_is_told_at_the_role(tmp_path: Path) -> None:
    both = REST.replace("other.cell_off", "stat.cell_off").replace(", other: potentiostat", "")
    assert told(tmp_path, {"a": "restless", "b": "stuck"}, both) == [
        ("P506", "toys has no potentiostat for all of `stat`: cell_off not on b; open_circuit not on a")
    ]
    assert told(tmp_path, {"a": "restless", "b": "stat"}, both) == []


def test_more_channels_than_can_do_it_are_told(tmp_path: Path) -> None:
    two = REST.replace("channels: 1", "channels: 2").replace(", other: potentiostat", "").replace("other.", "stat.")
    assert told(tmp_path, {"a": "restless", "b": "stat", "c": "restless"}, two) == [
        ("P506", "toys has 1 of potentiostat for all of `stat`: open_circuit not on a, c")
    ]


def test_an_emstat_pico_drives_no_current() -> None:
    assert METHODSCRIPT(Setup("stat", {"port": "/dev/null", "model": "pico"})).lacks().keys() == {
        "constant_current",
        "cycle",
    }
    assert METHODSCRIPT(Setup("stat", {"port": "/dev/null"})).lacks() == {}


async def test_runs_are_given_devices_that_can(tmp_path: Path) -> None:
    async with at_work(tmp_path, {"a": "restless", "b": "stat", "c": "stuck"}, KINDS) as lab:
        runs = [await lab.start(position=f"tray/cells/A{number}", source=REST) for number in (1, 2, 3)]
        for run in runs:
            assert (await end_of(lab, run)).outcome == "complete"
        assert "open_circuit" not in lab.toy("a").happened
        assert "cell_off" not in lab.toy("c").happened
        rested = lab.toy("b").happened.count("open_circuit") + lab.toy("c").happened.count("open_circuit")
        assert rested == 3


async def test_a_device_refuses_what_it_cannot_do_before_anything_is_sent(tmp_path: Path) -> None:
    driver = Restless(Setup("a"))
    action = driver.actions["open_circuit"]
    with pytest.raises(Rejected, match="a has no open_circuit: it never rests"):
        await driver.invoke(action, action.parameters.model_validate({"duration": "1 s"}), Call("a1"))
    assert driver.happened == []
