"""Dry runs: the real engine on simulated devices, whatever the lab of lab.yaml is made of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from labd.cli.app import app
from labd.journal import Event
from labd.lab.config import load_lab
from labd.simulate import Dry, dry_lab
from labd.simulate.plan import needed
from labd.simulate.runs import one_run
from labd.simulate.story import Asked, Story, read_story
from labd.simulate.tell import Summary, duration, never_visited

REAL = """\
labd: 1
lab: bench
store: /var/lib/labd
mqtt: {broker: {host: broker.example}}
devices:
  stat1: {driver: methodscript, settings: {port: /dev/serial/by-id/usb-stat1, model: emstat4_hr}}
  stat2: {driver: methodscript, settings: {port: /dev/serial/by-id/usb-stat2, model: emstat4_hr}}
  press: {driver: plc_crimper, settings: {address: "modbus://192.168.0.20:502", profile: handshake}}
deck:
  - {place: tray/cells, labware: cell_tray_8}
"""

ASKING = """\
labd: 1
protocol: asking
version: 1.0.0
summary: Rest, and ask.
parameters:
  rest: {type: quantity, default: 10 min, min: 1 s, max: 24 h}
roles: {cycler: potentiostat}
start: rest
states:
  rest:
    summary: Rest.
    do: cycler.open_circuit
    with: {duration: =rest, interval: 1 min}
    as: ocv
    next: look
  look:
    summary: Ask.
    ask: The cell rests at {ocv.final_voltage}. Is it sound?
    choices: {sound: done, dead: dead, weigh it: weigh, look again: {hold: Look, continue_at: [never, dead]}}
  weigh:
    summary: A typed answer.
    steps:
      - ask: What does it weigh?
        input: {type: quantity, min: 1 g, max: 6 g}
        as: weight
    next: done
  never:
    summary: Nobody comes here but a person.
    wait: 1 s
    next: done
  done: {end: complete}
  dead: {end: scrapped}
"""


ELECTRO = """\
labd: 1
lab: electro
store: store
devices:
  pico: {driver: methodscript, settings: {port: /dev/ttyUSB0, model: pico}}
  cycler:
    driver: neware
    settings:
      address: 10.0.0.7
      channels: [21-1-1]
      directory: /mnt/neware
      directory_there: C:/labd
      password_file: /etc/labd/bts
      max_current: 10 mA
  smu: {driver: keithley, settings: {address: "TCPIP0::10.0.0.9::5025::SOCKET", max_current: 10 mA}}
  usb: {driver: keithley, settings: {address: "tcp://10.0.0.10:5025", max_current: 10 mA}}
roles: {potentiostat: [pico, cycler, smu, usb]}
"""
CHARGE = """\
labd: 1
protocol: charge
version: 1.0.0
summary: Charge for a while.
roles: {cell: potentiostat}
start: charge
states:
  charge: {do: cell.constant_current, with: {current: 1 mA, until_time: 5 min, interval: 10 s}, next: done}
  done: {end: complete}
"""


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    path = tmp_path / "lab.yaml"
    path.write_text(REAL, encoding="utf-8")
    return path


@pytest.fixture
def asking(tmp_path: Path) -> Path:
    path = tmp_path / "asking.yaml"
    path.write_text(ASKING, encoding="utf-8")
    return path


def dry(lab: Path, source: str = ASKING, seed: int = 1) -> Dry:
    return Dry(lab, source, "asking.yaml", parameters={"rest": "5 min"}, roles={"potentiostat": 1}, seed=seed)


def test_no_address_of_a_real_device_is_left(lab: Path, tmp_path: Path) -> None:
    made = dry_lab(load_lab(lab), tmp_path / "dry", 3, frozenset({"stat1", "press"}))
    assert made.devices["press"].settings["address"] == "modbus://127.0.0.1:0"
    assert made.devices["stat1"].settings["port"] == str(tmp_path / "dry" / "ports" / "stat1")
    assert (made.clock, made.seed, made.mqtt, made.store) == ("virtual", 3, None, tmp_path / "dry")
    assert all(device.simulator is not None for device in made.devices.values())


def test_a_dry_run_of_an_opc_ua_device_needs_no_secrets(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(
        "labd: 1\nlab: bench\nstore: store\ndevices:\n  box:\n    driver: opcua_glovebox\n    settings:\n"
        '      {address: "opc.tcp://10.0.0.7:4840/box", user: labd, password_file: /etc/labd/box,\n'
        "       security: basic256sha256, certificate: /etc/labd/labd.der, private_key: /etc/labd/labd.pem}\n"
    )
    made = dry_lab(load_lab(path), tmp_path / "dry", 3, frozenset({"box"}))
    assert made.devices["box"].settings == {"address": "opc.tcp://127.0.0.1:0/box", "user": "labd"}


def test_only_the_devices_that_a_run_can_meet_are_simulated(lab: Path) -> None:
    config = load_lab(lab)
    roles = {"stat1": "potentiostat", "stat2": "potentiostat", "press": "crimper"}
    assert needed(config, roles, dry(lab)) == {"stat1"}
    named = Dry(lab, ASKING, "a", parameters={"at": "stat2/cell"}, roles={"crimper": 1})
    assert needed(config, roles, named) == {"stat2", "press"}


def test_a_device_that_can_do_what_is_asked_is_simulated_not_the_first_of_its_role(lab: Path) -> None:
    roles = {"stat1": "potentiostat", "stat2": "potentiostat", "press": "crimper"}
    asked = Dry(lab, ASKING, "a", roles={"potentiostat": 1}, able={"potentiostat": ("stat2",)})
    assert needed(load_lab(lab), roles, asked) == {"stat2"}


def test_no_folder_and_no_visa_resource_of_a_real_device_is_left(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(ELECTRO.replace("tcp://10.0.0.10:5025", "visa://USB0::0x05E6::0x2450::1::INSTR"), encoding="utf-8")
    made = dry_lab(load_lab(path), tmp_path / "dry", 3, frozenset({"cycler", "smu", "usb"}))
    assert made.devices["cycler"].settings["address"] == "127.0.0.1:0"
    assert "password_file" not in made.devices["cycler"].settings
    assert made.devices["cycler"].settings["directory"] == str(tmp_path / "dry" / "files" / "cycler")
    assert {made.devices[name].settings["address"] for name in ("smu", "usb")} == {"tcp://127.0.0.1:0"}


def test_a_dry_run_goes_to_the_channel_that_can_do_what_is_asked(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(ELECTRO, encoding="utf-8")
    (tmp_path / "charge.yaml").write_text(CHARGE, encoding="utf-8")
    answer = CliRunner().invoke(
        app, ["simulate", str(tmp_path / "charge.yaml"), "--lab", str(tmp_path / "lab.yaml"), "--runs", "1", "--json"]
    )
    told = json.loads(answer.stdout)
    assert set(told["outcomes"]) == {"complete"}, answer.output


def test_a_run_is_told_with_its_states_questions_and_lab_time(lab: Path) -> None:
    story = one_run(dry(lab))
    assert story.outcome in ("complete", "scrapped")
    assert story.states["rest"] == 1
    assert len(story.questions) >= 1
    assert story.actions == {"cycler.open_circuit": 1}
    assert story.seconds >= 300


def test_the_same_seed_tells_the_same_story(lab: Path) -> None:
    assert one_run(dry(lab, seed=5)) == one_run(dry(lab, seed=5))


def test_all_ways_are_seen_in_some_runs_and_what_nobody_saw_is_told(lab: Path, asking: Path) -> None:
    command = ["simulate", str(asking), "rest=1 min", "--lab", str(lab), "--runs", "16", "--jobs", "2", "--json"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["runs"] == 16
    assert sum(outcome["runs"] for outcome in told["outcomes"].values()) == 16
    assert set(told["outcomes"]) == {"complete", "scrapped"}
    assert told["never_visited"] == []
    asked = {one["text"]: one for one in told["questions"]}
    assert asked["What does it weigh?"]["times"] > 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["rest=3 µL"], "`3 µL` is a volume"),
        (["rst=3 min"], "did you mean `rest`?"),
        (["--position", "tray/cells/Z9"], "no place 'tray/cells/Z9'"),
    ],
)
def test_what_cannot_be_run_is_refused_with_its_mend(lab: Path, asking: Path, arguments: list[str], told: str) -> None:
    result = CliRunner().invoke(app, ["simulate", str(asking), "--lab", str(lab), *arguments])
    assert result.exit_code == 2
    assert told in result.output


def test_a_cell_that_begins_in_its_channel_is_a_sound_one(lab: Path) -> None:
    lab.write_text(REAL, encoding="utf-8")
    command = ["simulate", "eis_after_rest", "--lab", str(lab), "--runs", "1", "--json"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert list(json.loads(result.stdout)["outcomes"]) == ["complete"]


def test_a_dry_runs_cell_has_an_active_mass_where_a_protocol_asks_for_it(lab: Path) -> None:
    weighing = ASKING.replace("{ocv.final_voltage}", "{sample.active_mass * sample.specific_capacity}")
    story = one_run(dry(lab, weighing))
    assert any("rests at 1.92 mAh" in asked.text for asked in story.questions.values())


def test_a_lab_that_lacks_a_role_is_told_before_anything_runs(lab: Path) -> None:
    result = CliRunner().invoke(app, ["simulate", "cr2032_dose_crimp_form", "--lab", str(lab)])
    assert result.exit_code == 2
    assert "pipetting_robot" in result.output


def test_a_question_is_told_once_whatever_its_values_with_its_answers_and_why_runs_ended() -> None:
    def story(seed: int, mass: str, choice: str, outcome: str) -> Story:
        asked = {"dose:1/2>off:1/1": Asked(f"It weighs {mass}. Is that all right?", 1, {choice: 1})}
        return Story(seed, outcome, "in scrap: too heavy" if outcome == "scrapped" else None, 60.0, {"a": 1}, asked)

    stories = [story(1, "9.1 mg", "keep it", "complete"), story(2, "9.2 mg", "scrap it", "scrapped")]
    lines = list(Summary("p", "lab.yaml", 7, stories, []).lines())
    assert "asked 2 ×: It weighs 9.1 mg. Is that all right? [keep it 1, scrap it 1]" in lines
    assert "  1 × in scrap: too heavy" in lines


def test_a_state_on_the_way_to_an_end_keeps_the_reason_of_the_one_before() -> None:
    told = [
        ("protocol.entered", {"state": "rest", "because": "the run starts"}),
        ("protocol.entered", {"state": "reject", "because": "ocv.final_voltage < alive (alive 30 mV)"}),
        ("protocol.ended", {"state": "scrap", "outcome": "scrapped", "because": ""}),
    ]
    events = [Event(seq, "", "run-0001", kind, data, "") for seq, (kind, data) in enumerate(told)]
    assert read_story(events, 1, "scrapped", None, 1.0, {}).cause == "in scrap: ocv.final_voltage < alive"


def test_the_summary_says_least_median_and_greatest_time() -> None:
    stories = [Story(n, "complete", None, 60.0 * n, {"a": 1}, volumes={"LP57": 30.0 + n}, tips=1) for n in (1, 2, 3)]
    stories.append(Story(4, "held", "the arm is down", 7300.0, {"a": 1}))
    lines = list(Summary("p", "lab.yaml", 7, stories, never_visited({"a": 0, "b": 0}, stories)).lines())
    assert lines[3].split() == ["complete", "3", "1", "min", "2", "min", "3", "min", "3", "min"]
    assert lines[5] == "  1 × the arm is down"
    assert "states never visited: b" in lines
    assert "LP57: 31.5 µL a run (0 µL to 33 µL), 96 µL in all" in lines


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.5, "0.5 s"), (60, "1 min"), (200, "3 min 20 s"), (18720, "5 h 12 min"), (183600, "2 d 3 h")],
)
def test_times_are_told_in_two_units(seconds: float, told: str) -> None:
    assert duration(seconds) == told
