"""The files of taught positions and calibrations, line by line; and what a recording shows of secrets."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from labd.io.http import HttpLink
from labd.io.tcp import TcpLink
from labd.lab.calibrations import read_calibrations
from labd.lab.check import check_lab
from labd.lab.findings import Findings
from labd.lab.positions import PositionFile
from labd.lab.recording import links_of, secrets_of, without_secrets
from labd.lab.teaching import with_entry

TODAY = dt.date(2026, 3, 1)
FILE = """\
# by hand
home: {pose: [1, 2, 3, 4, 5, 6]}   # up
'press/nest':
  pose: [1, 2, 3, 4, 5, 6]
  by: mk
tray: {pose: [6, 5, 4, 3, 2, 1]}"""


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("home", [0, 2, 3, 4, 5]),
        ("press/nest", [0, 1, 5]),
        ("tray", [0, 1, 2, 3, 4]),
        ("new/A1", [0, 1, 2, 3, 4, 5]),
        ("1st", [0, 1, 2, 3, 4, 5]),
    ],
)
def test_one_entry_is_set_and_all_other_lines_stay(name: str, kept: list[int]) -> None:
    lines = FILE.splitlines()
    text = with_entry(FILE, name, "{}")
    key = "'1st'" if name == "1st" else name
    assert f"{key}: {{}}\n" in text
    assert [line for line in text.splitlines() if line != f"{key}: {{}}"] == [lines[number] for number in kept]
    assert with_entry(text, name, "{}") == text
    assert with_entry("", name, "{}") == f"{key}: {{}}\n"


def read(path: Path, text: str) -> tuple[dict[str, str], list[tuple[str, str, int]]]:
    path.write_text(text)
    findings = Findings(None)
    found = read_calibrations(PositionFile("press", path, "press.yaml"), findings, TODAY)
    told = [(problem.code, problem.severity, problem.line) for problem in findings.problems]
    return {name: one.value for name, one in found.items()}, told


def test_calibrations_are_read_with_their_days(tmp_path: Path) -> None:
    path = tmp_path / "press.yaml"
    good = "force: {value: 1.003, calibrated: 2026-01-31, by: mk, valid: 365 day}\n"
    assert read(path, good) == ({"force": "1.003"}, [])
    assert read(path, "") == ({}, [])
    assert read(path, good.replace("365 day", "7 day")) == ({"force": "1.003"}, [("L403", "warning", 1)])
    assert read(path, "- 1\n") == ({}, [("L402", "error", 1)])
    assert read(path, "force: {calibrated: 2026-01-31}\n")[1] == [("L102", "error", 1)]
    assert read(path, "force: {value: 1, valid: 7 day}\n")[1] == [("L402", "error", 1)]
    path.unlink()
    assert read_calibrations(PositionFile("press", path, "press.yaml"), Findings(None), TODAY) == {}


def test_the_check_of_a_lab_tells_a_calibration_that_is_no_longer_good_once(tmp_path: Path) -> None:
    device = "{driver: julabo, settings: {address: ports/x}, calibrations: bath.yaml}"
    (tmp_path / "lab.yaml").write_text(f"labd: 1\nlab: bench\nstore: s\ndevices:\n  bath: {device}\n")
    (tmp_path / "bath.yaml").write_text("offset: {value: 0.1 K, calibrated: 2020-01-31, by: mk, valid: 7 day}\n")
    found = check_lab(tmp_path / "lab.yaml")
    (problem,) = found.problems
    assert (problem.code, problem.severity) == ("L403", "warning")
    assert "labd device bath calibrate offset=" in problem.mend
    assert found.lab is not None
    assert found.lab.calibrations["bath"]["offset"].value == "0.1 K"


# ── recordings ───────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("login password=hunter2\r\n", "login password=*******\r\n"),
        ('{"token": "abc.def", "volume": 3}', '{"token": "*******", "volume": 3}'),
        ("GET http://anna:geheim@10.0.0.7/x", "GET http://anna:******@10.0.0.7/x"),
        ("Authorization: Basic YW5uYQ==\r\n", "Authorization: **************\r\n"),
        ("S S     12.345 g\r\n", "S S     12.345 g\r\n"),
        ("connect hunter2!", "connect *******!"),
    ],
)
def test_secrets_are_covered_and_frames_keep_their_length(text: str, clean: str) -> None:
    secrets = secrets_of({"password": "hunter2", "address": "10.0.0.7", "user": "x"})
    assert secrets == ("hunter2",)
    assert without_secrets(text, secrets) == clean
    assert len(clean) == len(text)


def test_the_links_of_a_driver_are_found_within_what_it_is_made_of() -> None:
    class Part:
        __slots__ = ("link",)

        def __init__(self) -> None:
            self.link = TcpLink("10.0.0.7", 1)

    class Made:
        def __init__(self) -> None:
            self.parts = {"a": [Part()]}
            self.http = HttpLink("http://10.0.0.7:80")
            self.self = self

    found = links_of(Made())
    assert [link.kind for link in found] == ["stream", "http"]
