"""lab.yaml: what is refused, where, and how to mend it."""

from __future__ import annotations

from pathlib import Path

import pytest

from labd.lab.config import LabError, load_lab

GOOD = """\
labd: 1
lab: bench-1
store: state
clock: {scaled: 60}
devices:
  press:
    driver: plc_crimper
    settings: {address: "modbus://127.0.0.1:5020", profile: handshake}
    poll: {idle: 10 s, busy: 500 ms}
    limits: {crimp.force: {max: 9 kN}}
    simulator: {}
roles: {crimper: [press]}
deck:
  - {place: tray/cells, labware: cell_tray_8, fill: half_cell}
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "lab.yaml"
    path.write_text(text)
    return path


def test_a_lab_is_read_with_its_units_and_paths(tmp_path: Path) -> None:
    config = load_lab(write(tmp_path, GOOD))
    assert config.devices["press"].poll.busy == 0.5
    assert config.directory == tmp_path / "state"
    assert config.socket == tmp_path / "state" / "labd.sock"
    assert config.deck[0].wells == ["A1", "B1", "A2", "B2", "A3", "B3", "A4", "B4"]
    assert config.clock_kind == {"scaled": 60.0}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("lab: bench-1", "lab: Bench 1", "lab.yaml:2:1: lab:"),
        ("clock: {scaled: 60}", "clock: fast", "lab.yaml:4:1: clock: 'fast' is none of"),
        ("    settings:", "    setings:", "lab.yaml:8:5: devices.press.setings: unknown key"),
        ("idle: 10 s", "idle: 10", "idle: 10 needs a unit, such as `10 s`"),
        ("idle: 10 s", "idle: 10 kN", "kN is a force"),
        ("[press]", "[pres]", "there is no device 'pres'; known are press"),
        ("max: 9 kN", "max: 9 kX", "lab.yaml:10:14: unknown unit"),
        ("cell_tray_8", "cell_tray_9", "lab.yaml:14:25: deck.0.labware: labware 'cell_tray_9' is unknown"),
        ("lab: bench-1", "lab: bench-1\nlab: bench-2", "lab.yaml:3:1: found duplicate key"),
        ("    simulator: {}\n", "", None),
        ("store: state", "store: state\n\tx: 1", "lab.yaml:4:"),
    ],
)
def test_an_error_names_the_place_and_the_mend(tmp_path: Path, old: str, new: str, told: str | None) -> None:
    path = write(tmp_path, GOOD.replace(old, new))
    if told is None:
        load_lab(path)
        return
    with pytest.raises(LabError) as caught:
        load_lab(path)
    assert told in str(caught.value)


def test_all_errors_are_told_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("lab: bench-1", "lab: Bench 1").replace("settings:", "setings:")
    with pytest.raises(LabError) as caught:
        load_lab(write(tmp_path, text))
    assert len(str(caught.value).splitlines()) == 2


def test_virtual_time_is_refused_to_a_lab_with_a_real_device(tmp_path: Path) -> None:
    text = GOOD.replace("clock: {scaled: 60}", "clock: virtual").replace("    simulator: {}\n", "")
    with pytest.raises(LabError, match="simulated labs only; press has no simulator"):
        load_lab(write(tmp_path, text))


@pytest.mark.parametrize("content", [b"", b"\x80\x81\xff", b"- 1\n- 2\n"])
def test_a_file_that_is_no_lab_is_refused_in_words(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "lab.yaml"
    path.write_bytes(content)
    with pytest.raises(LabError, match=r"lab\.yaml"):
        load_lab(path)


def test_a_file_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="cannot be read: No such file"):
        load_lab(tmp_path / "lab.yaml")
