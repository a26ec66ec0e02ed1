"""`labd check --lab`: whatever the file holds, its problems are told with their places, and the end is 2."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from labd.cli.app import app

LAB = """\
labd: 1
lab: bench
store: store
devices:
  press: {driver: plc_crimper, settings: {address: "modbus://127.0.0.1:5020"}}
deck:
  - place: ot2/2
    labware: vials_8x20ml
    contents: {A1: {material: LP57, volume: 12 mL, expires: 2999-12-31}}
"""
PROTOCOL = """\
labd: 1
protocol: open_press
version: 1.0.0
summary: Open the press.
roles: {press: crimper}
start: open
states:
  open: {summary: Open it., do: press.open, within: 30 s, next: done}
  done: {end: complete}
"""

Check = Callable[..., Result]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """Writes lab.yaml, and checks it with more arguments."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.yaml").write_text(PROTOCOL)

    def run(lab: str | bytes, *more: str) -> Result:
        (tmp_path / "lab.yaml").write_bytes(lab.encode() if isinstance(lab, str) else lab)
        return CliRunner().invoke(app, ["check", "--lab", "lab.yaml", *more])

    return run


def test_a_lab_that_holds(check: Check) -> None:
    ended = check(LAB, "good.yaml")
    assert ended.exit_code == 0
    assert ended.stdout == "lab.yaml: holds\ngood.yaml: holds: 1 state, 3 s expected (0 s to 30 s)\n"


def test_problems_are_shown_as_those_of_protocols(check: Check) -> None:
    ended = check(LAB.replace("plc_crimper", "plc_crimpr").replace("12 mL", "12"), "good.yaml")
    assert ended.exit_code == 2
    assert ended.stdout == (
        "lab.yaml:5:19: L201 there is no driver 'plc_crimpr': neither drivers/plc_crimpr.py nor a labd.drivers entry\n"
        '    5 |   press: {driver: plc_crimpr, settings: {address: "modbus://127.0.0.1:5020"}}\n'
        "      |                   ^^^^^^^^^^\n"
        "      → did you mean `plc_crimper`?\n"
        "lab.yaml:9:45: L105 `12` needs a unit\n"
        "    9 |     contents: {A1: {material: LP57, volume: 12, expires: 2999-12-31}}\n"
        "      |                                             ^^\n"
        "      → write `12 µL` where that is meant\n"
        "good.yaml: holds: 1 state, 3 s expected (0 s to 30 s)\n"
    )


def test_a_warning_is_told_and_is_no_failure(check: Check) -> None:
    ended = check(LAB.replace("2999", "2001"))
    assert ended.exit_code == 0
    assert ended.stdout.startswith("lab.yaml:9:61: warning L305 LP57 expired on 2001-12-31")
    assert ended.stdout.endswith("lab.yaml: holds\n")


def test_for_editors_they_have_the_same_fields_as_those_of_protocols(check: Check) -> None:
    ended = check(LAB.replace("2999", "2001").replace("address", "adress"), "good.yaml", "--json")
    assert ended.exit_code == 2
    told = json.loads(ended.stdout)
    assert told["files"]["good.yaml"]["problems"] == []
    assert [(one["code"], one["file"], one["line"], one["severity"]) for one in told["lab"]] == [
        ("L202", "lab.yaml", 5, "error"),
        ("L305", "lab.yaml", 9, "warning"),
    ]
    assert set(told["lab"][0]) == {
        "code", "message", "file", "line", "column", "source", "mend", "length", "severity"
    }  # fmt: skip


def test_a_lab_that_does_not_hold_leaves_protocols_to_the_standard_roles(check: Check) -> None:
    ended = check(LAB.replace("lab: bench", "lab: Bench"), "good.yaml")
    assert "good.yaml: holds" in ended.stdout
    assert "lab.yaml:2:6" in ended.stdout


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 4096,
        b"\x89PNG\r\n\x1a\n\0\0\0",
        b"labd: 1\nlab: \xe9tuve\n",
        b"\xef\xbb\xbflabd: 1\n",
        b"\xff\xfel\0a\0b\0",
        b"labd: 1\n\tlab: x\n",
        b"labd: 1\nlabd: 1\nlab: x\nlab: y\n",
        b"[" * 10_000,
        b"{a: " * 10_000,
        b"".join(b" " * level + b"a:\n" for level in range(600)),
        b"- " * 50_000,
        b"a: &a [1]\n" + b"".join(b"a%d: &a%d [*a%d, *a%d]\n" % (n, n, n - 1, n - 1) for n in range(1, 40)),
        b"labd: 1\nlab: *nobody\n",
        b"labd: !!python/object/apply:os.system [id]\n",
        b"labd: 1\ndevices: 7\nroles: [x]\ndeck: {a: b}\nparts: 1\nclock: [x]\nmqtt: x\napi: 3\ninterlocks: {}\n",
        b"labd: 1\nlab: x\nstore: [s]\ndevices: {a: 1, b: [], c: null, d: {driver: [x]}, 5: {}}\n",
        b"labd: 1\nlab: x\nstore: s\ndevices: {}\nroles: {a: 1, b: {}, c: [[x]], d: null}\n",
        b"labd: 1\nlab: x\nstore: s\ndevices: {}\ndeck: [1, null, [], {place: 3}, {contents: {A1: 3}}]\n",
        b"labd: 0x1\nlab: 1:30\nstore: .nan\n",
        b"labd: 1e400\n",
        b'"\\uD800": 1\n',
        b"? {a: b}\n: c\n",
        b"labd: {180, 180}\n",
        b"--- 1\n--- 2\n",
        b"'",
        b"%",
        b"@",
        b"a: b: c\n",
    ],
)
def test_whatever_it_holds_there_are_problems_and_no_traceback(check: Check, content: bytes) -> None:
    ended = check(content)
    assert ended.exit_code == 2, ended.exception
    assert ended.stdout.startswith("lab.yaml")
    assert " P1" in ended.stdout or " L1" in ended.stdout


def test_a_hundred_megabytes_are_not_read(tmp_path: Path) -> None:
    huge = tmp_path / "lab.yaml"
    with huge.open("wb") as stream:
        stream.write(b"labd: 1\n# ")
        stream.truncate(100_000_000)
    ended = CliRunner().invoke(app, ["check", "--lab", str(huge)])
    assert ended.exit_code == 2
    assert "P105 the file is larger than 256 kB" in ended.stdout


@pytest.mark.parametrize("name", ["", "nowhere.yaml", "folder"])
def test_what_is_no_file_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    ended = CliRunner().invoke(app, ["check", "--lab", str(tmp_path / name)])
    assert ended.exit_code == 2
    assert "P101" in ended.stdout


@pytest.mark.parametrize("content", [b"labd: [", b"\0\0", b"a: &a [*a]\n", b"labd: 1\nlab: x\n"])
def test_other_commands_tell_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LABD_SOCKET", raising=False)
    (tmp_path / "lab.yaml").write_bytes(content)
    ended = CliRunner().invoke(app, ["status"])
    assert ended.exit_code == 2
    assert "lab.yaml" in ended.stderr
