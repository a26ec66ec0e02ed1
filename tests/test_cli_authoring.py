"""Commands for whoever writes protocols: what they write, and with which status they end."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from labd.cli.app import app

DATA = Path(__file__).parent / "protocol" / "data"
BEFORE = (DATA / "layout" / "before.yaml").read_text()
AFTER = (DATA / "layout" / "after.yaml").read_text()


@pytest.fixture
def runner() -> CliRunner:
    return CliRunner()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "p.yaml"
    path.write_text(BEFORE)
    return path


# ── fmt ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_fmt_lays_a_file_out_and_says_so_once(runner: CliRunner, file: Path) -> None:
    first = runner.invoke(app, ["fmt", str(file)])
    assert (first.exit_code, first.stdout) == (0, f"{file}: laid out\n")
    assert file.read_text() == AFTER
    again = runner.invoke(app, ["fmt", str(file)])
    assert (again.exit_code, again.stdout) == (0, "")


def test_fmt_check_writes_nothing_and_ends_with_1(runner: CliRunner, file: Path) -> None:
    ended = runner.invoke(app, ["fmt", "--check", str(file)])
    assert (ended.exit_code, ended.stdout) == (1, f"{file}: would be laid out anew\n")
    assert file.read_text() == BEFORE


def test_fmt_check_of_a_laid_out_file_says_nothing(runner: CliRunner, file: Path) -> None:
    file.write_text(AFTER)
    ended = runner.invoke(app, ["fmt", "--check", str(file)])
    assert (ended.exit_code, ended.output) == (0, "")


def test_fmt_of_stdin_goes_to_stdout(runner: CliRunner) -> None:
    ended = runner.invoke(app, ["fmt", "-"], input=BEFORE)
    assert (ended.exit_code, ended.stdout) == (0, AFTER)


def test_fmt_tells_what_it_cannot_read_and_does_the_others(runner: CliRunner, file: Path) -> None:
    bad = file.with_name("bad.yaml")
    bad.write_text("labd: 1\nprotocol: x\nprotocol: y\n")
    ended = runner.invoke(app, ["fmt", str(bad), str(file.with_name("none.yaml")), str(file)])
    assert ended.exit_code == 2
    assert f"{bad}:3:1: P103" in ended.stderr
    assert "none.yaml: P101 the file does not exist" in ended.stderr
    assert bad.read_text() == "labd: 1\nprotocol: x\nprotocol: y\n"
    assert file.read_text() == AFTER


def test_fmt_keeps_a_files_mode_and_a_link(runner: CliRunner, file: Path) -> None:
    file.chmod(0o640)
    link = file.with_name("link.yaml")
    link.symlink_to(file)
    assert runner.invoke(app, ["fmt", str(link)]).exit_code == 0
    assert link.is_symlink()
    assert file.read_text() == AFTER
    assert file.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in file.parent.iterdir()) == ["link.yaml", "p.yaml"]


# ── import ───────────────────────────────────────────────────────────────────────────────────────────────────────
FORMATION = DATA / "unicycler" / "formation.json"


def test_import_prints_a_protocol_and_warns_on_stderr(runner: CliRunner) -> None:
    ended = runner.invoke(app, ["import", "unicycler", str(FORMATION)])
    assert ended.exit_code == 0
    assert ended.stdout == FORMATION.with_suffix(".yaml").read_text()
    assert "formation.json:4:41: warning P602 record.voltage_V" in ended.stderr


def test_import_writes_a_new_file_under_a_name(runner: CliRunner, tmp_path: Path) -> None:
    output = tmp_path / "made.yaml"
    ended = runner.invoke(app, ["import", "unicycler", str(FORMATION), "--output", str(output), "--name", "slow"])
    assert ended.exit_code == 0
    assert "protocol: slow\n" in output.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.json"], "none.json: P101 the file does not exist"),
        ([str(FORMATION), "--name", "9 lives"], "'9 lives' is no protocol's name"),
        ([str(FORMATION), "--output", str(FORMATION)], "is there already; name a new file"),
        ([str(DATA / "layout" / "before.yaml")], "this is no JSON"),
    ],
)
def test_import_refuses_with_2_and_no_traceback(runner: CliRunner, arguments: list[str], said: str) -> None:
    ended = runner.invoke(app, ["import", "unicycler", *arguments])
    assert ended.exit_code == 2
    assert said in ended.stderr
    assert ended.stdout == ""
