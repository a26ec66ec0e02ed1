"""`labd journal verify`, `labd backup` and `labd restore` as people and scripts meet them."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import labd
from labd.cli.app import app
from tests.journal.written import tampering, write, write_signals

LAB = "labd: 1\nlab: bench\nstore: store\ndevices: {}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def hash_(folder: Path) -> str:
    """A lab with five events; gives the hash of the last."""
    (folder / "lab.yaml").write_text(LAB)
    write_signals(folder / "store" / "signals.sqlite")
    return write(folder / "store" / "journal.sqlite")[-1].hash


@pytest.fixture
def runner() -> CliRunner:
    return CliRunner()


def _version_99(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


def test_verify_tells_a_head_that_it_takes_again_later(hash_: str, runner: CliRunner) -> None:
    ended = runner.invoke(app, ["journal", "verify"])
    assert ended.exit_code == 0, ended.output
    assert "whole, 5 events from 2026-01-01T08:00:00Z to 2026-01-01T08:00:04Z" in ended.stdout
    head = ended.stdout.split()[-1]
    assert head == f"5:{hash_}"
    again = runner.invoke(app, ["journal", "verify", "--expect", head, "--expect", hash_, "--lab", "lab.yaml"])
    assert again.exit_code == 0
    assert "all that was noted before is there (2)" in again.stdout


def test_verify_names_what_does_not_fit_and_ends_with_1(folder: Path, hash_: str, runner: CliRunner) -> None:
    journal = folder / "store" / "journal.sqlite"
    with tampering(journal) as connection:
        connection.execute("UPDATE events SET data = '{\"force\":9}' WHERE seq = 3")
    ended = runner.invoke(app, ["journal", "verify", str(journal)])
    assert ended.exit_code == 1
    assert "broken: event 3 (action.done, 2026-01-01T08:00:02Z) does not fit" in ended.stdout
    told = json.loads(runner.invoke(app, ["journal", "verify", "--json"]).stdout)
    assert (told["whole"], told["events"], told["flaw"]["seq"], told["flaw"]["what"]) == (False, 5, 3, "data")
    assert told["head"] == {"seq": 5, "hash": hash_}


def test_verify_finds_an_end_that_was_cut_off(folder: Path, hash_: str, runner: CliRunner) -> None:
    with tampering(folder / "store" / "journal.sqlite") as connection:
        connection.execute("DELETE FROM events WHERE seq = 5")
    assert runner.invoke(app, ["journal", "verify"]).exit_code == 0
    ended = runner.invoke(app, ["journal", "verify", "--expect", f"5:{hash_}"])
    assert ended.exit_code == 1
    assert "there is no event 5, the last is 4" in ended.stdout


def test_verify_tells_what_it_cannot_look_at_and_ends_with_2(folder: Path, runner: CliRunner) -> None:
    for arguments, words in (
        ([], "there is no lab.yaml here; say which lab is meant"),
        (["--expect", "12:ab"], "is no hash of an event"),
        (["nowhere.sqlite"], "there is no journal here"),
        (["--lab", "nowhere.yaml"], "nowhere.yaml"),
    ):
        ended = runner.invoke(app, ["journal", "verify", *arguments])
        assert ended.exit_code == 2, arguments
        assert words in ended.stderr
        assert ended.stdout == ""


def test_a_backup_can_be_verified_and_restored_where_there_is_nothing(
    folder: Path, hash_: str, runner: CliRunner
) -> None:
    ended = runner.invoke(app, ["backup", "bench.tar"])
    assert ended.exit_code == 0, ended.output
    assert "bench.tar: 3 files" in ended.stdout
    assert f"last event: 5:{hash_}" in ended.stdout
    verified = runner.invoke(app, ["journal", "verify", "bench.tar", "--expect", f"5:{hash_}"])
    assert verified.exit_code == 0, verified.output
    (folder / "new").mkdir()
    restored = runner.invoke(app, ["restore", "bench.tar", "--lab", "new/lab.yaml"])
    assert restored.exit_code == 0, restored.output
    assert f"written: {folder / 'new' / 'lab.yaml'}" in restored.stdout
    assert (folder / "new" / "lab.yaml").read_text() == LAB
    assert "whole, 6 events" in runner.invoke(app, ["journal", "verify", "--lab", "new/lab.yaml"]).stdout


def test_restore_asks_for_replace_and_says_where_the_old_journal_went(
    folder: Path, hash_: str, runner: CliRunner
) -> None:
    assert runner.invoke(app, ["backup", "bench.tar", "--json"]).exit_code == 0
    refused = runner.invoke(app, ["restore", "bench.tar"])
    assert refused.exit_code == 1
    assert "with --replace it is moved aside" in refused.stderr
    restored = runner.invoke(app, ["restore", "bench.tar", "--replace", "--json"])
    assert restored.exit_code == 0, restored.output
    told = json.loads(restored.stdout)
    assert told["backup"]["journal"] == {"version": told["backup"]["journal"]["version"], "seq": 5, "hash": hash_}
    verified = runner.invoke(app, ["journal", "verify", f"{told['aside']}/journal.sqlite", "--expect", hash_])
    assert verified.exit_code == 0


def test_restore_refuses_what_is_no_backup(folder: Path, runner: CliRunner) -> None:
    (folder / "text.tar").write_text("no backup")
    ended = runner.invoke(app, ["restore", "text.tar"])
    assert ended.exit_code == 1
    assert "text.tar: this is no backup of labd" in ended.stderr
    ended = runner.invoke(app, ["restore", "text.tar", "--lab", "nowhere/lab.yaml"])
    assert ended.exit_code == 2
    assert "there is no folder" in ended.stderr


@pytest.mark.parametrize("name", ["journal.sqlite", "signals.sqlite"])
def test_a_newer_store_is_refused_in_words_by_every_command(
    folder: Path, hash_: str, runner: CliRunner, name: str
) -> None:
    assert runner.invoke(app, ["backup", "bench.tar"]).exit_code == 0
    _version_99(folder / "store" / name)
    environment = {**os.environ, "PYTHONPATH": str(Path(labd.__file__).parents[1])}
    command = [sys.executable, "-c", "from labd.cli import main; main()", "serve"]
    served = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)
    assert served.returncode == 1
    assert served.stderr.splitlines()[-1].startswith(f"labd: {folder / 'store' / name}: this ")
    assert "version 99, written by a newer labd" in served.stderr
    assert "Traceback" not in served.stderr
    made = runner.invoke(app, ["backup", "second.tar"])
    assert made.exit_code == 1
    assert "version 99, written by a newer labd" in made.stderr
    if name == "journal.sqlite":
        verified = runner.invoke(app, ["journal", "verify"])
        assert verified.exit_code == 2
        assert "version 99, written by a newer labd" in verified.stderr
