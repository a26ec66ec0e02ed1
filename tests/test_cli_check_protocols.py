"""`labd check FILE`: whatever a protocol's file holds, its problems are told with their places, and the end is 2."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from labd.cli.app import app

PROTOCOL = """\
labd: 1
protocol: rest
version: 1.0.0
parameters:
  gentle: {type: boolean, default: true}
  times: {type: integer, default: 3, min: 1, max: 9}
  rest: {type: quantity, default: 10 min, min: 1 s, max: 24 h}
  volume: {type: quantity, default: 35 µL, min: 10 µL, max: 100 µL}
roles: {cycler: potentiostat, robot: pipetting_robot}
start: rest
states:
  rest:
    summary: Let it soak.
    steps:
      - {do: robot.transfer, with: {source: LP57, destination: =sample.position, volume: 35 µL}}
      - {repeat: {times: 2}, steps: [{do: cycler.open_circuit, with: {duration: =rest}, within: 25 h}]}
      - {if: gentle and times > 2 and volume > 0 µL, then: [{wait: 1 s}]}
    next: done
  done: {end: complete}
"""

Check = Callable[..., Result]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """Writes a protocol, and checks it with more arguments."""
    monkeypatch.chdir(tmp_path)

    def run(content: str | bytes, *more: str) -> Result:
        (tmp_path / "p.yaml").write_bytes(content.encode() if isinstance(content, str) else content)
        return CliRunner().invoke(app, ["check", "p.yaml", *more])

    return run


def test_one_that_holds_is_told_in_one_line(check: Check) -> None:
    ended = check(PROTOCOL)
    assert ended.exit_code == 0
    assert ended.stdout == "p.yaml: holds: 1 state, 20 min 41 s expected (2 s to 2 d 2 h), LP57 35 µL, 1 tip\n"


def test_for_editors_it_has_problems_time_and_needs(check: Check) -> None:
    found = json.loads(check(PROTOCOL, "--json").stdout)["files"]["p.yaml"]
    assert found["problems"] == []
    assert {name: found["time"][name] for name in ("least", "expected", "greatest", "unknown")} == {
        "least": 2.0,
        "expected": 1241.0,
        "greatest": 180301.0,
        "unknown": [],
    }
    assert found["time"]["states"]["rest"]["expected"] == 1241.0
    assert found["needs"]["materials"]["LP57"] == {"least": 35.0, "expected": 35.0, "greatest": 35.0}
    broken = json.loads(check(PROTOCOL.replace("25 h", "25"), "--json").stdout)["files"]["p.yaml"]
    assert (broken["time"], broken["needs"], len(broken["problems"])) == (None, None, 1)


def test_warnings_are_no_failure(check: Check) -> None:
    ended = check(PROTOCOL.replace("    summary: Let it soak.\n", ""))
    assert ended.exit_code == 0
    assert ended.stdout.startswith("p.yaml:12:3: warning W102 `rest` has no `summary`")
    assert "p.yaml: holds: 1 state" in ended.stdout


MISREAD = ["yes", "off", "1:30", "012", ".inf", ".nan", "0x1F", "1_000", "2026-11-28", "~", "''", "[]", "{}", "1e999"]


def test_a_file_that_is_not_there_hides_no_other(check: Check) -> None:
    ended = check(PROTOCOL, "first_stepz", ".", "--json")
    assert ended.exit_code == 2
    found = json.loads(ended.stdout)["files"]
    assert found["p.yaml"]["problems"] == []
    assert [
        (found[name]["problems"][0]["code"], found[name]["problems"][0]["mend"]) for name in ("first_stepz", ".")
    ] == [
        ("P101", "did you mean `first_steps`?"),
        ("P101", "name a protocol's file in it"),
    ]


def test_a_quote_that_is_never_closed_is_told_where_it_was_opened(check: Check) -> None:
    ended = check(PROTOCOL.replace("summary: Let", 'summary: "Let'))
    assert "p.yaml:13:14: P102" in ended.stdout


def test_a_state_with_nothing_in_it_is_told_at_its_own_name(check: Check) -> None:
    ended = check(PROTOCOL.replace("  done: {end: complete}", "  done:\n  other: {end: complete}"))
    assert "p.yaml:19:3: P113 this state has nothing in it" in ended.stdout


def test_values_that_were_forgotten_are_told_in_the_order_of_the_file() -> None:
    from labd.protocol import InputErrors, bind_parameters, load

    names = ("zinc", "anode", "lid", "base")
    declared = "".join(f"  {name}: {{type: position}}\n" for name in names)
    protocol = load(PROTOCOL.replace("parameters:\n", f"parameters:\n{declared}"), "p.yaml")
    with pytest.raises(InputErrors) as raised:
        bind_parameters(protocol, {})
    assert [problem.message.split("`")[1] for problem in raised.value.problems] == list(names)


@pytest.mark.parametrize("value", MISREAD)
@pytest.mark.parametrize(
    ("piece", "place"),
    [
        ("gentle: {type: boolean, default: true}", "true}"),
        ("times: {type: integer, default: 3,", "3,"),
        ("rest: {type: quantity, default: 10 min", "10 min"),
        ("volume: {type: quantity, default: 35 µL", "35 µL"),
        ("{times: 2}", "2}"),
        ("within: 25 h", "25 h"),
        ("duration: =rest", "=rest"),
        ("wait: 1 s", "1 s"),
        ("volume: 35 µL}}", "35 µL}}"),
    ],
)
def test_what_people_and_machines_read_differently_is_told(check: Check, piece: str, place: str, value: str) -> None:
    assert PROTOCOL.count(piece) == 1
    new = value + "".join(sign for sign in place if sign in ",}")
    ended = check(PROTOCOL.replace(piece, piece[: -len(place)] + new))
    optional = value == "~" and piece.startswith(("within", "gentle", "times: {type", "rest: {", "volume: {"))
    assert ended.exit_code == (0 if optional else 2), ended.stdout
    assert ended.exception is None or isinstance(ended.exception, SystemExit)
    assert optional or "p.yaml:" in ended.stdout


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("volume: 35 µL}}", "volume: -35 µL}}", "P208"),
        ("volume: 35 µL}}", "volume: =volume - 50 µL}}", "P208"),
        ("labd: 1", "labd: 2", "P107"),
        ("labd: 1", "labd: 1.0", "P107"),
        ("labd: 1", "labd: one", "P107"),
        ("  done: {end: complete}", "  done: {}", "P114"),
        ("  done: {end: complete}", "  done:", "P113"),
        ("  done: {end: complete}", "  done: {end: complete}\n  done: {end: scrapped}", "P103"),
        ("    steps:\n", "    steps: []\n    more:\n", "P113"),
        ("    summary: Let", "\tsummary: Let", "P102"),
        ("next: done", "next: rest", "P305"),
    ],
)
def test_slips_have_their_codes(check: Check, old: str, new: str, code: str) -> None:
    ended = check(PROTOCOL.replace(old, new, 1))
    assert ended.exit_code == 2
    assert f" {code} " in ended.stdout


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "P113"),
        (b"\0" * 4096, "P101"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "P101"),
        (b"\x7fELF\x02\x01\x01" + bytes(range(256)) * 40, "P101"),
        (b"\xef\xbb\xbf" + PROTOCOL.encode(), "P101"),
        (PROTOCOL.encode("utf-16"), "P101"),
        (PROTOCOL.encode("latin-1"), "P101"),
        (b"[" * 10_000, "P105"),
        (b"{a: " * 10_000, "P105"),
        (b"- " * 10_000 + b"x", "P105"),
        (b"a:\n" + b"".join(b" " * level + b"a:\n" for level in range(1, 600)), "P105"),
        (b"a: &a [x]\n" + b"".join(b"b%d: &b%d [*a, *a]\n" % (n, n) for n in range(30)), "P104"),
        (b"labd: 1\nstates: &s {a: *s}\n", "P104"),
        (b"labd: !!python/object/apply:os.system [id]\n", "P104"),
        (b"%TAG ! x\n---\nlabd: 1\n", "P10"),
        (b"labd: 1\n---\nlabd: 1\n", "P104"),
        (b"just a text\n", "P113"),
        (b"- 1\n- 2\n", "P113"),
        (b"labd: 1\nprotocol: [\n", "P102"),
        (b"'", "P102"),
        (b"labd: 1\nstates: " + b"7" * 5_000 + b"\n", "P1"),
        (b"labd: 1\nstart: '=" + b"(" * 5_000 + b"'\n", "P1"),
    ],
)
def test_whatever_it_holds_there_are_problems_and_no_traceback(check: Check, content: bytes, code: str) -> None:
    ended = check(content)
    assert ended.exit_code == 2, ended.exception
    assert ended.exception is None or isinstance(ended.exception, SystemExit)
    assert ended.stdout.startswith("p.yaml")
    assert f" {code}" in ended.stdout


def test_an_expression_as_deep_as_a_well_is_told(check: Check) -> None:
    ended = check(PROTOCOL.replace("wait: 1 s", f"wait: '={'(' * 3000}1 s{')' * 3000}'"))
    assert ended.exit_code == 2
    assert "P209" in ended.stdout


def test_a_hundred_megabytes_are_not_read(tmp_path: Path) -> None:
    huge = tmp_path / "huge.yaml"
    with huge.open("wb") as stream:
        stream.write(b"labd: 1\n# ")
        stream.truncate(100_000_000)
    ended = CliRunner().invoke(app, ["check", str(huge)])
    assert ended.exit_code == 2
    assert "P105 the file is larger than 256 kB" in ended.stdout


def test_the_command_itself_ends_with_2_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "deep.yaml").write_bytes(b"{a: " * 10_000)
    (tmp_path / "picture.yaml").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    command = [sys.executable, "-c", "from labd.cli import main; main()", "check", "deep.yaml", "picture.yaml"]
    environment = {"PYTHONPATH": str(Path(__file__).parents[1]), "PATH": "/usr/bin:/bin"}
    answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert "deep.yaml:1:" in answer.stdout
    assert "picture.yaml: P101 this is a binary file" in answer.stdout
    assert "Traceback" not in answer.stdout + answer.stderr
