"""`labd check --lab`: what the drivers say to a lab.yaml, at its places, before anything is connected."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

import drivers
from labd.lab.check import check_lab
from labd.sdk import About, Call, Driver, Effect, Nothing, Reading, action
from tests.lab.test_config import write
from tests.toys import TOYS

LAB = """\
labd: 1
lab: bench-1
store: state
devices:
  press:
    driver: plc_crimper
    settings: {address: "modbus://127.0.0.1:5020", profile: handshake}
    limits: {crimp.force: {max: 9 kN}, crimp.dwell: {min: 1 s, max: 1 min}}
  stat1: {driver: methodscript, settings: {port: /dev/stat1, model: emstat4_hr}}
  arm: {driver: meca500, settings: {address: 192.168.0.100}, positions: arm.yaml}
roles: {crimper: [press], potentiostat: [stat1], arm: [arm]}
"""
ARM = """\
home: {pose: [190, 0, 180, 180, 0, 180], taught: 2025-11-02, by: mk}
press/nest: {pose: [240, -50, 62.5, 180, 0, 180], taught: 2025-11-02, by: 4711, valid: 30000 day}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "arm.yaml").write_text(ARM)
    return tmp_path


def test_a_lab_that_holds_is_given_back_not_at_work(folder: Path) -> None:
    checked = check_lab(write(folder, LAB))
    assert checked.problems == ()
    assert checked.lab is not None
    assert checked.lab.devices["arm"].driver.setup.positions["press/nest"].pose == (240, -50, 62.5, 180, 0, 180)
    assert checked.lab.devices["arm"].driver.setup.positions["press/nest"].by == "4711"
    assert not checked.lab.devices["press"].connected


@pytest.mark.parametrize(
    ("old", "new", "code", "where", "told"),
    [
        ("driver: plc_crimper", "driver: plc_crimpr", "L201", "6:13", "did you mean `plc_crimper`?"),
        ("driver: plc_crimper", "driver: mettler", "L201", "6:13", "write `driver: mt_sics`"),
        ("driver: plc_crimper", "driver: ../evil", "L201", "6:13", "there is no driver"),
        ("address:", "adress:", "L202", "7:16", "did you mean `address`?"),
        ("{address: ", "{device_id: ", "L202", "7:27", "a whole number belongs here"),
        ('"modbus://127.0.0.1:5020"', "nowhere", "L202", "7:25", "write `modbus://"),
        ("profile: handshake", "profile: none.yaml", "L202", "7:61", "nor a file that can be read"),
        ("profile: handshake", "device_id: 900", "L202", "7:63", "at most 247"),
        ("profile: handshake", "reply_within: 1 kN", "L202", "7:66", "kN is a force"),
        ("model: emstat4_hr", "model: emstat4_h", "L202", "9:69", "did you mean `emstat4_hr`?"),
        ("port: /dev/stat1, ", "", "L202", "9:33", "`port` is missing"),
        ("192.168.0.100", "192.168.0.100:99999", "L202", "10:46", "write host or host:port"),
        ("crimp.force", "crimp.froce", "L205", "8:14", "did you mean `crimp.force`?"),
        ("crimp.force", "crimp", "L205", "8:14", "names no action and parameter"),
        ("9 kN", "9", "L105", "8:33", "write one like `9 kN`"),
        ("9 kN", "9 V", "L105", "8:33", "V is a voltage, kN a force"),
        ("9 kN", "9 kX", "L105", "8:33", "unknown unit"),
        ("1 min", "900 s", "L206", "8:69", "15 min is looser than the driver's own bound, 2 min"),
        ("{max: 9 kN}", "{min: 100 N}", "L206", "8:33", "write at least `500 N`, or delete it"),
        ("9 kN", "16 kN", "L206", "8:33", "write at most `15 kN`, or delete it"),
        ("min: 1 s", "min: 90 s", "L206", "8:59", "the least, 90 s, is above the greatest, 60 s"),
        ("min: 1 s, max: 1 min", "min: 5 min", "L206", "8:40", "leaves nothing of what the driver takes"),
        ("crimper: [press]", "crimpr: [press]", "L203", "11:9", "did you mean `crimper`?"),
        ("[press]", "[pres]", "L204", "11:19", "did you mean `press`?"),
        ("[press]", "[stat1]", "L204", "11:19", "`stat1` is of the role potentiostat, no crimper"),
        ("[press]", "[press, press]", "L302", "11:26", "stands twice"),
        ("positions: arm.yaml", "positions: arms.yaml", "L401", "10:73", "there is no file"),
    ],
)
def test_what_does_not_hold_is_told_at_its_place(
    folder: Path, old: str, new: str, code: str, where: str, told: str
) -> None:
    path = write(folder, LAB.replace(old, new, 1))
    checked = check_lab(path)
    assert checked.lab is None
    found = {(problem.code, problem.where): problem.render() for problem in checked.problems}
    assert (code, f"{path}:{where}") in found
    assert told in found[code, f"{path}:{where}"]


def test_an_error_of_the_shape_does_not_hide_those_of_the_drivers(folder: Path) -> None:
    text = LAB.replace("lab: bench-1", "lab: Bench").replace("port:", "prt:")
    found = check_lab(write(folder, text.replace("[press]", "[pres]"))).problems
    assert [(problem.code, problem.line) for problem in found] == [("L103", 2), ("L202", 9), ("L204", 11)]


def test_a_device_that_cannot_be_understood_is_not_called_missing(folder: Path) -> None:
    (problem,) = check_lab(write(folder, LAB.replace("    limits:", "    limit:"))).problems
    assert (problem.code, problem.mend) == ("L101", "did you mean `limits`?")


@pytest.mark.parametrize(
    ("line", "code", "where", "told"),
    [
        ("a: {pose: [1, 2, 3]}", "L402", "3:5", "a pose is six numbers"),
        ("a: {pose: [1, 2, 3, 4, 5, x]}", "L402", "3:5", "mm, then degrees"),
        ("a: {pse: [1, 2, 3, 4, 5, 6]}", "L101", "3:5", "did you mean `pose`?"),
        ("a: [1, 2, 3, 4, 5, 6]", "L103", "3:1", "a mapping"),
        ("a: {pose: [1, 2, 3, 4, 5, 6], taught: today}", "L103", "3:39", "write year, month and day"),
        ("a: {pose: [1, 2, 3, 4, 5, 6], valid: 90 day}", "L402", "3:38", "since when?"),
        ("a: {pose: [1, 2, 3, 4, 5, 6], taught: 2026-01-01, valid: 90}", "L105", "3:58", "needs a unit"),
        ("a: {pose: [1, 2, 3, 4, 5, 6], taught: 2026-01-01, valid: 1e300 s}", "L104", "3:58", "above the greatest"),
        ("home: {pose: [1, 2, 3, 4, 5, 6]}", "P103", "3:1", "the first is in line 1"),
        ("a: {pose: [1, 2, 3, 4, 5, 6]", "P102", "3:4", "not closed"),
    ],
)
def test_positions_are_told_in_their_own_file(folder: Path, line: str, code: str, where: str, told: str) -> None:
    (folder / "arm.yaml").write_text(f"{ARM}{line}\n")
    (problem,) = check_lab(write(folder, LAB)).problems
    assert (problem.code, problem.where) == (code, f"{folder / 'arm.yaml'}:{where}")
    assert told in problem.render()


def test_positions_that_are_no_longer_valid_are_one_warning(folder: Path) -> None:
    old = "taught: 2020-11-02, valid: 90 day"
    (folder / "arm.yaml").write_text(
        f"{ARM}a: {{pose: [1, 2, 3, 4, 5, 6], {old}}}\nb: {{pose: [1, 2, 3, 4, 5, 6], {old}}}\n"
    )
    checked = check_lab(write(folder, LAB))
    (warning,) = checked.problems
    assert (warning.code, warning.severity, warning.line, warning.column) == ("L403", "warning", 3, 58)
    assert warning.message == "`a` was good until 2021-01-31, and 1 more of this file"
    assert checked.lab is not None
    assert checked.lab.warnings == (warning,)


def test_the_lab_of_the_design_is_read(folder: Path) -> None:
    (folder / "positions").mkdir()
    (folder / "positions" / "arm.yaml").write_text(ARM)
    path = write(folder, DESIGN)
    assert check_lab(path).problems == ()


DESIGN = """\
labd: 1
lab: glovebox-2
store: /var/lib/labd
clock: real
mqtt:
  broker: embedded
  home_assistant: false
api: {listen: 127.0.0.1:8040}
devices:
  ot2:
    driver: opentrons
    settings: {address: "http://127.0.0.1:31950", pipettes: {left: p20_single_gen2, right: p300_single_gen2}}
    poll: {idle: 10 s, busy: 1 s}
    simulator: {seed: 7}
  press:
    driver: plc_crimper
    settings: {address: "modbus://127.0.0.1:5020", profile: handshake}
    limits: {crimp.force: {max: 9 kN}}
  stat1: {driver: methodscript, settings: {port: /dev/serial/by-id/usb-1, model: emstat4_hr}}
  stat2: {driver: methodscript, settings: {port: /dev/serial/by-id/usb-2, model: emstat4_hr}}
  arm:   {driver: meca500, settings: {address: 192.168.0.100}, positions: positions/arm.yaml}
  bath:  {driver: julabo, settings: {address: /dev/serial/by-id/usb-3}}
roles:
  pipetting_robot: [ot2]
  crimper: [press]
  potentiostat: [stat1, stat2]
  arm: [arm]
deck:
  - {place: ot2/1, labware: opentrons_96_tiprack_20ul}
  - place: ot2/2
    labware: vials_8x20ml
    contents: {A1: {material: LP57, lot: L-0412, volume: 12 mL, dead: 1 mL, expires: 2999-12-31}}
  - {place: tray/cells, labware: cell_tray_8}
parts: {cr2032_bottom: 64, cr2032_top: 64, separator: 64}
interlocks:
  - {name: bath, if: bath.temperature > 80 °C, for: 10 s, then: hold}
  - {name: guard, if: not press.guard_closed, then: abort, devices: [press]}
"""


def test_drivers_are_found_by_whoever_checks(folder: Path) -> None:
    text = "labd: 1\nlab: toys\nstore: s\ndevices: {press: {driver: press}}\n"
    checked = check_lab(write(folder, text), find=TOYS.__getitem__)
    assert checked.lab is not None
    assert checked.lab.devices["press"].driver.role == "crimper"


DOSED = """\
labd: 1
lab: bench-1
store: state
devices:
  ot2: {driver: opentrons, settings: {address: "http://127.0.0.1:31950"}}
  balance: {driver: mt_sics, settings: {address: "tcp://127.0.0.1:8001", pan: ot2/6}}
deck:
  - {place: ot2/6, labware: vials_8x20ml}
  - {place: ot2/5, labware: vials_8x20ml}
evidence:
  - {name: mass, after: ot2.transfer, to: ot2/6, mass: balance, density: 1.2 g/mL, within: 10 %}
"""


def test_a_dose_that_is_to_be_weighed_holds(tmp_path: Path) -> None:
    checked = check_lab(write(tmp_path, DOSED))
    assert checked.problems == ()
    assert checked.lab is not None
    (proof,) = checked.lab.devices["ot2"].witnesses.proofs["transfer"]
    assert (proof.density, proof.within) == (1.2, 0.1)  # type: ignore[attr-defined]
    whole = DOSED.replace("to: ot2/6", "to: ot2/6/A1")
    assert check_lab(write(tmp_path, whole)).problems == ()


@pytest.mark.parametrize(
    ("old", "new", "code", "where", "told"),
    [
        ("ot2.transfer", "ot.transfer", "L204", "11:25", "did you mean `ot2`?"),
        ("ot2.transfer", "ot2.mix", "L212", "11:25", "write `ot2.transfer`"),
        ("ot2.transfer", "balance.tare", "L212", "11:25", "name an action with `destination` and `volume`"),
        ("to: ot2/6", "to: ot2/5", "L212", "11:56", "balance weighs `ot2/6`, not `ot2/5`"),
        ("to: ot2/6", "to: ot2/7", "L212", "11:43", "nothing stands at `ot2/7`"),
        ("mass: balance", "mass: balanc", "L204", "11:56", "did you mean `balance`?"),
        ("mass: balance", "mass: ot2", "L204", "11:56", "`ot2` is of the role pipetting_robot, no balance"),
        ("1.2 g/mL", "1.2 g", "L105", "11:74", "g is a mass"),
        ("10 %", "0.1", "L105", "11:92", "needs a unit"),
        ("10 %", "200 %", "L104", "11:92", "above the greatest"),
        (", within: 10 %", "", "L102", "11:5", "`within` is missing"),
        ("to: ot2/6", "too: ot2/6", "L101", "11:39", "did you mean `to`?"),
    ],
)
def test_what_does_not_hold_of_evidence_is_told_at_its_place(
    tmp_path: Path, old: str, new: str, code: str, where: str, told: str
) -> None:
    path = write(tmp_path, DOSED.replace(old, new, 1))
    problems = [one for one in check_lab(path).problems if one.code == code]
    assert [one.where.removeprefix(f"{path}:") for one in problems] == [where]
    assert told in problems[0].render()


def test_an_evidence_that_stands_twice_is_told(tmp_path: Path) -> None:
    line = DOSED.splitlines()[-1]
    (problem,) = check_lab(write(tmp_path, DOSED + line + "\n")).problems
    assert (problem.code, "stands twice" in problem.message) == ("L302", True)


@pytest.mark.parametrize(
    ("one", "other", "where"),
    [
        (
            "{driver: mt_sics, settings: {address: /dev/ttyUSB0}}",
            '{driver: julabo, settings: {address: "serial:///dev/ttyUSB0?baudrate=4800"}}',
            "/dev/ttyUSB0",
        ),
        (
            "{driver: methodscript, settings: {port: /dev/ttyUSB0}}",
            "{driver: methodscript, settings: {port: /dev/../dev/ttyUSB0}}",
            "/dev/ttyUSB0",
        ),
        (
            "{driver: meca500, settings: {address: 10.0.0.7}}",
            '{driver: meca500, settings: {address: "10.0.0.7:10000"}}',
            "10.0.0.7:10000",
        ),
        (
            '{driver: plc_crimper, settings: {address: "modbus://10.0.0.7"}}',
            '{driver: plc_crimper, settings: {address: "modbus://10.0.0.7:502", device_id: 1}}',
            "10.0.0.7:502 unit 1",
        ),
    ],
)
def test_two_devices_on_one_link_are_told_with_place_and_mend(folder: Path, one: str, other: str, where: str) -> None:
    text = f"labd: 1\nlab: two\nstore: s\ndevices:\n  a: {one}\n  b: {other}\n"
    (problem,) = check_lab(write(folder, text)).problems
    assert (problem.code, problem.line) == ("L213", 6)
    assert problem.column > text.splitlines()[5].index("settings")
    assert problem.message == f"`a` is at {where} already"
    assert "a link of its own" in problem.mend


def test_units_behind_one_gateway_and_ports_that_are_free_to_choose_are_not_told(folder: Path) -> None:
    text = (
        "labd: 1\nlab: two\nstore: s\ndevices:\n"
        '  a: {driver: plc_crimper, settings: {address: "modbus://10.0.0.7", device_id: 1}}\n'
        '  b: {driver: plc_crimper, settings: {address: "modbus://10.0.0.7", device_id: 2}}\n'
        '  c: {driver: meca500, settings: {address: "127.0.0.1:0"}, simulator: {}}\n'
        '  d: {driver: meca500, settings: {address: "127.0.0.1:0"}, simulator: {}}\n'
    )
    assert check_lab(write(folder, text)).problems == ()


class Handle:
    """A type that pydantic knows nothing of."""


def test_an_action_of_which_no_model_can_be_made_is_told_before_anything_is_connected(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Odd(Driver):
        role = "sensor"

        @action(effect=Effect.READ, timeout=1.0)
        async def look(self, call: Call, at: Handle) -> Nothing:
            """Look."""
            raise NotImplementedError

        async def connect(self) -> About:
            raise NotImplementedError

        async def close(self) -> None:
            raise NotImplementedError

        async def read_state(self) -> Reading:
            raise NotImplementedError

        async def safe_state(self) -> None:
            raise NotImplementedError

    module = ModuleType("drivers.odd")
    module.DRIVER = Odd  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "drivers.odd", module)
    checked = check_lab(write(folder, "labd: 1\nlab: bench\nstore: s\ndevices:\n  odd: {driver: odd, settings: {}}\n"))
    (problem,) = checked.problems
    assert problem.code == "L201"
    assert "driver 'odd': no model can be made for its action 'look': Unable to generate pydantic" in problem.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("DRIVER = 1 / 0\n", "cannot be loaded: ZeroDivisionError: division by zero, drivers/broken.py:1"),
        ("x = 1\ndef\n", "cannot be loaded: invalid syntax (broken.py, line 2)"),
        ("import json\n\njson.loads('{')\n", ", drivers/broken.py:3"),
        ("import nowhere_to_be_found\n", "needs the package 'nowhere_to_be_found', which is not installed"),
        ("DRIVER = 3\n", "its DRIVER is no subclass of labd.sdk.Driver"),
    ],
)
def test_a_driver_that_cannot_be_loaded_is_told_with_why(
    folder: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    packages = folder / "drivers"
    packages.mkdir()
    (packages / "broken.py").write_text(text)
    monkeypatch.setattr(drivers, "__path__", [*drivers.__path__, str(packages)])
    monkeypatch.delitem(sys.modules, "drivers.broken", raising=False)
    importlib.invalidate_caches()
    lab = "labd: 1\nlab: bench\nstore: s\ndevices:\n  odd: {driver: broken, settings: {}}\n"
    (problem,) = check_lab(write(folder, lab)).problems
    assert (problem.code, problem.where) == ("L201", str(folder / "lab.yaml") + ":5:17")
    assert problem.message.startswith("driver 'broken'")
    assert said in problem.message
