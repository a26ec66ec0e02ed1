"""lab.yaml: what is refused, where, and how to mend it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from labd.files import CODES, InputErrors, Problem
from labd.lab.config import LabConfig, load_lab

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


def problems_of(path: Path) -> Sequence[Problem]:
    """The errors of a file, none of them of an unknown code."""
    with pytest.raises(InputErrors) as caught:
        load_lab(path)
    assert {problem.code for problem in caught.value.problems} <= CODES.keys()
    return caught.value.problems


def test_a_lab_is_read_with_its_units_and_paths(tmp_path: Path) -> None:
    config = load_lab(write(tmp_path, GOOD))
    assert config.devices["press"].poll.busy == 0.5
    assert config.directory == tmp_path / "state"
    assert config.socket == tmp_path / "state" / "labd.sock"
    assert config.deck[0].wells == ["A1", "B1", "A2", "B2", "A3", "B3", "A4", "B4"]
    assert config.clock_kind == {"scaled": 60.0}
    assert config.warnings == ()


@pytest.mark.parametrize(
    ("old", "new", "code", "where", "told"),
    [
        ("lab: bench-1", "lab: Bench 1", "L103", "2:6", "write `bench-1`"),
        ("lab: bench-1", "lab: 7", "L103", "2:6", "a text belongs here, not `7`"),
        ("lab: bench-1\n", "", "L102", "1:1", "`lab` is missing"),
        ("labd: 1", "labd: 2", "L106", "1:7", "write `labd: 1`"),
        ("labd: 1", "labd: true", "L106", "1:7", "write `labd: 1`"),
        ("labd: 1\n", "", "L102", "1:1", "`labd`, the version of the file, is missing"),
        ("labd: 1", "labd: 1\nprotocol: dose\nstates: {}", "L101", "2:1", "unknown key `protocol`"),
        ("clock: {scaled: 60}", "clock: fast", "L103", "4:8", "write `real`, `virtual` or `{scaled: 60}`"),
        ("clock: {scaled: 60}", "clock: vitual", "L103", "4:8", "did you mean `virtual`?"),
        ("clock: {scaled: 60}", "clock: {scaled: 0}", "L104", "4:17", "`scaled` is more than 0"),
        ("clock: {scaled: 60}", "clock: {scaled: .inf}", "P106", "4:17", "write a finite number"),
        ("clock: {scaled: 60}", "clock: {scald: 60}", "L101", "4:9", "did you mean `scaled`?"),
        ("store: state", "store: state\nmqtt: {broker: embeded}", "L103", "4:16", "did you mean `embedded`?"),
        ("store: state", "store: state\nmqtt: {broker: {hots: x}}", "L101", "4:17", "did you mean `host`?"),
        ("store: state", "store: state\nmqtt: {}", "L102", "4:1", "`broker` is missing"),
        ("store: state", "store: state\nmqtt: {broker: embedded, port: 70000}", "L104", "4:32", "at most 65535"),
        ("store: state", "store: state\napi: {listen: 8040}", "L103", "4:15", "a text belongs here"),
        ("store: state", "store: state\napi: {listen: here}", "L103", "4:15", "write address and port"),
        ("store: state", "store: state\nseed: yes", "L103", "4:7", "a whole number belongs here"),
        ("store: state", "store: state\nseed: 012", "P106", "4:7", "write `12` for a number"),
        ("    settings:", "    setings:", "L101", "8:5", "did you mean `settings`?"),
        ("  press:\n", "  Press 1:\n", "L103", "6:3", "write `press-1`"),
        ("    driver: plc_crimper\n", "", "L102", "6:3", "`driver` is missing"),
        ("idle: 10 s", "idle: 10", "L105", "9:18", "write `10 s`"),
        ("idle: 10 s", "idle: 10 kN", "L105", "9:18", "kN is a force"),
        ("idle: 10 s", "idle: 0 s", "L104", "9:18", "below the least"),
        ("idle: 10 s", "idle: 1:30", "L105", "9:18", "is no quantity"),
        ("idle: 10 s", "idle: off", "L105", "9:18", "is no quantity"),
        ("idle: 10 s", "idle: [1 s]", "L103", "9:12", "a duration belongs here, not a list"),
        ("simulator: {}", "simulator:", "L103", "11:5", "write `simulator: {}`"),
        ("{max: 9 kN}", "9 kN", "L103", "10:27", "a mapping"),
        ("[press]", "press", "L103", "12:18", "a list belongs here"),
        ("roles: {crimper: [press]}", "parts: {lid: -1}", "L104", "12:14", "at least 0, not -1"),
        ("roles: {crimper: [press]}", "parts: {lid: 1.5}", "L103", "12:14", "a whole number"),
        ("roles: {crimper: [press]}", "parts:", "L103", "12:1", "`parts` has no value"),
        ("cell_tray_8", "cell_tray_9", "L301", "14:34", "did you mean `cell_tray_8`?"),
        ("cell_tray_8", "shelf", "L301", "14:34", "carries its wells"),
        ("place: tray/cells", "place: tray", "L103", "14:13", "write device or place and slot"),
        ("lab: bench-1", "lab: bench-1\nlab: bench-2", "P103", "3:1", "the first is in line 2"),
        ("store: state", "store: state\n\tx: 1", "P102", "4:1", "use spaces"),
        ("store: state", "store: &s state", "P104", "3:8", "an anchor"),
        ("store: state", "store: !!str state", "P104", "3:8", "a tag"),
        ("deck:", "deck: {", "P102", "14:3", ""),
    ],
)
def test_an_error_names_the_place_and_the_mend(
    tmp_path: Path, old: str, new: str, code: str, where: str, told: str
) -> None:
    path = write(tmp_path, GOOD.replace(old, new, 1))
    problem = problems_of(path)[0]
    assert (problem.code, problem.where) == (code, f"{path}:{where}")
    assert told in problem.render()


def test_one_slip_is_told_once(tmp_path: Path) -> None:
    (problem,) = problems_of(write(tmp_path, GOOD.replace("driver:", "drver:")))
    assert (problem.code, problem.mend) == ("L101", "did you mean `driver`?")


def test_errors_of_different_parts_are_told_at_once(tmp_path: Path) -> None:
    text = (
        GOOD.replace("lab: bench-1", "lab: Bench 1").replace("idle: 10 s", "idle: 10")
        + "  - {place: tray/cells, labware: cell_tray_8}\n"
    )
    assert [(problem.code, problem.line) for problem in problems_of(write(tmp_path, text))] == [
        ("L103", 2),
        ("L105", 9),
        ("L302", 15),
    ]


def test_virtual_time_is_refused_to_a_lab_with_a_real_device(tmp_path: Path) -> None:
    text = GOOD.replace("clock: {scaled: 60}", "clock: virtual").replace("    simulator: {}\n", "")
    (problem,) = problems_of(write(tmp_path, text))
    assert (problem.code, problem.line, problem.column) == ("L207", 4, 8)
    assert "press has no `simulator`" in problem.message


def test_virtual_time_is_refused_to_a_lab_with_a_broker_outside(tmp_path: Path) -> None:
    text = GOOD.replace("clock: {scaled: 60}", "clock: virtual\nusers: {}\nmqtt: {broker: {host: broker.lab}}")
    (problem,) = problems_of(write(tmp_path, text))
    assert (problem.code, problem.mend) == ("L207", "write `clock: {scaled: 60}`, or `broker: embedded`")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "the file is empty"),
        (b"- 1\n- 2\n", "this is no lab"),
        (b"labd: 1\nprotocol: dose\n", "this is a protocol"),
        (b"protocol: dose\nstates: {}\n", "this is a protocol"),
        (b"\x80\x81\xff", "no UTF-8"),
        ("labd: 1\nlab: caf\xe9\n".encode("latin-1"), "it looks like Latin-1"),
        (b"\xef\xbb\xbf" + GOOD.encode(), "byte-order mark"),
        (GOOD.encode("utf-16"), "byte-order mark"),
        (b"\x7fELF\0\0\0", "a binary file"),
        (b"labd: 1\nlab: a\0b\n", "a binary file"),
        (b"labd: 1\n---\nlab: b\n", "a second document"),
        (b"%YAML 1.1\n---\nlabd: 1\n", "directive"),
        (b"labd: " + b"[" * 10_000, "levels deep"),
        (b"".join(b"  " * level + b"a:\n" for level in range(200)), "levels deep"),
        (b"a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n", "an anchor"),
        (b"labd: *x\n", "an alias"),
        (b"? [a]\n: b\n", "a key is a text"),
        (b"#" * 300_000, "larger than 256 kB"),
    ],
)
def test_a_file_that_is_no_lab_is_refused_in_words(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "lab.yaml"
    path.write_bytes(content)
    assert told in "\n".join(problem.render() for problem in problems_of(path))


def test_a_file_that_is_missing_is_told(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path / "lab.yaml")
    assert (problem.code, problem.message) == ("P101", "the file does not exist")


def test_a_folder_is_told(tmp_path: Path) -> None:
    assert problems_of(tmp_path)[0].message == "this is a folder"


INTERLOCKS = """\
interlocks:
  - {name: oxygen, if: glovebox.oxygen > 50 ppm, for: 10 s, then: hold}
  - {name: guard, if: not press.guard_closed, then: abort, devices: [press]}
"""


def loaded(tmp_path: Path, more: str) -> LabConfig:
    return load_lab(write(tmp_path, GOOD + more))


def test_interlocks_are_read(tmp_path: Path) -> None:
    config = loaded(tmp_path, INTERLOCKS)
    oxygen, guard = config.interlocks
    assert (oxygen.if_, oxygen.for_, oxygen.then, oxygen.devices) == ("glovebox.oxygen > 50 ppm", 10.0, "hold", None)
    assert guard.devices == ["press"]
    assert (oxygen.latches, guard.latches) == (False, True)
    assert config.warnings == ()


def test_whether_an_interlock_latches_can_be_said(tmp_path: Path) -> None:
    said = INTERLOCKS.replace("then: hold", "then: hold, latch: true").replace(
        "then: abort", "then: abort, latch: false"
    )
    assert [one.latches for one in loaded(tmp_path, said).interlocks] == [True, False]


@pytest.mark.parametrize(
    ("old", "new", "code", "where", "told"),
    [
        ("then: hold", "then: hlod", "L103", "16:67", "did you mean `hold`?"),
        ("for: 10 s", "for: 10", "L105", "16:55", "write `10 s`"),
        ("[press]", "[pres]", "L204", "17:70", "did you mean `press`?"),
        ("name: guard", "name: oxygen", "L302", "17:12", "stands twice"),
        ("if: not", "iff: not", "L101", "17:19", "did you mean `if`?"),
    ],
)
def test_interlocks_are_checked(tmp_path: Path, old: str, new: str, code: str, where: str, told: str) -> None:
    path = write(tmp_path, GOOD + INTERLOCKS.replace(old, new))
    problem = next(one for one in problems_of(path) if one.severity == "error")
    assert (problem.code, problem.where) == (code, f"{path}:{where}")
    assert told in problem.render()


def test_maintenance_is_read(tmp_path: Path) -> None:
    maintenance = "    maintenance: {reason: new die, by: mk, since: 2026-03-01}\n"
    config = load_lab(write(tmp_path, GOOD.replace("    simulator: {}\n", f"    simulator: {{}}\n{maintenance}")))
    said = config.devices["press"].maintenance
    assert said is not None
    assert (said.reason, said.by, str(said.since)) == ("new die", "mk", "2026-03-01")
    assert config.warnings == ()
