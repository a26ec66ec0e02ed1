"""Commands without a daemon: what they say, where they look, and with which status they end."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from typer.testing import CliRunner

from labd.cli.app import app, only
from labd.cli.connection import BrokenOffError, Client, socket_of
from labd.lab.config import load_lab

LAB = "labd: 1\nlab: bench\nstore: store\ndevices: {}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LABD_SOCKET", raising=False)
    monkeypatch.setattr("labd.cli.connection.PLACES", (tmp_path / "service.sock",))
    return tmp_path


@pytest.fixture
def runner() -> CliRunner:
    return CliRunner()


def test_without_a_daemon_it_says_what_was_tried_and_how_to_start_one(folder: Path, runner: CliRunner) -> None:
    ended = runner.invoke(app, ["status"])
    assert ended.exit_code == 1
    assert ended.stdout == ""
    assert str(folder / "service.sock") in ended.stderr
    assert "labd serve --lab lab.yaml" in ended.stderr


def test_a_lab_yaml_in_the_folder_is_never_passed_over_for_another_lab(folder: Path, runner: CliRunner) -> None:
    (folder / "lab.yaml").write_text(LAB)
    ended = runner.invoke(app, ["stop", "run-0001"])
    assert str(folder / "store" / "labd.sock") in ended.stderr
    assert "service.sock" not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        (["--socket", "a.sock", "--lab", "lab.yaml"], "b.sock", "a.sock"),
        ([], "b.sock", "b.sock"),
        (["--lab", "lab.yaml"], "", "store/labd.sock"),
    ],
)
def test_what_is_said_most_plainly_wins(
    folder: Path, runner: CliRunner, arguments: list[str], environment: str, expected: str
) -> None:
    (folder / "lab.yaml").write_text(LAB)
    ended = runner.invoke(app, ["status", *arguments], env={"LABD_SOCKET": environment})
    assert expected in ended.stderr
    assert ended.stderr.count(".sock") == 1


@pytest.mark.parametrize(
    "more", ["", "api: {socket: run/here.sock}\n", "api: {socket: /run/labd/x.sock}\n", "api: {}\n"]
)
def test_the_fast_look_into_lab_yaml_finds_the_socket_that_the_daemon_uses(folder: Path, more: str) -> None:
    path = folder / "lab.yaml"
    path.write_text(LAB + more)
    assert socket_of(path) == load_lab(path).socket


def test_a_lab_yaml_that_does_not_hold_is_told_with_its_line(folder: Path, runner: CliRunner) -> None:
    (folder / "lab.yaml").write_text("labd: 1\nlab: bench\ndevices: {}\n")
    ended = runner.invoke(app, ["status"])
    assert ended.exit_code == 2
    assert "lab.yaml:1:1: L102 `store` is missing" in ended.stderr


@pytest.fixture
def stranger(folder: Path) -> Iterator[Path]:
    """A socket at which nobody listens any more."""
    path = folder / "dead.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(str(path))
    return path


def test_a_dead_daemons_socket_is_told_as_such(stranger: Path, runner: CliRunner) -> None:
    ended = runner.invoke(app, ["status", "--socket", str(stranger)])
    assert ended.exit_code == 1
    assert "its daemon has ended" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "no_such_protocol"], "no_such_protocol"),
        (["run", "first_step"], "did you mean `first_steps`?"),
        (["run", "."], "this is a folder\n      → name a protocol's file"),
        (["demo", "--directory", "/"], "/ is not empty; name a new folder"),
        (["answer", "run-0001"], "say a choice"),
        (["clear"], "name a run, or an interlock"),
        (["clear", "run-0001", "--interlock", "oxygen"], "name a run, or an interlock"),
        (["maintenance", "press"], "say what is done"),
        (["maintenance", "press", "--off", "--reason", "x"], "say what is done"),
        (["export", "run-0001", "--to", "xls"], "xls"),
        (["halt"], "halt"),
    ],
)
def test_bad_input_ends_with_2_and_no_traceback(
    folder: Path, runner: CliRunner, arguments: list[str], said: str
) -> None:
    ended = runner.invoke(app, arguments)
    assert ended.exit_code == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize(("values", "said"), [(["volume"], "no parameter"), (["a=1", "a=2"], "twice")])
def test_parameters_are_name_and_value(folder: Path, runner: CliRunner, values: list[str], said: str) -> None:
    (folder / "p.yaml").write_text("labd: 1\n")
    ended = runner.invoke(app, ["run", "p.yaml", *values])
    assert ended.exit_code == 2
    assert said in ended.stderr


def test_version_for_programs(runner: CliRunner) -> None:
    ended = runner.invoke(app, ["version", "--json"])
    assert ended.exit_code == 0
    assert set(json.loads(ended.stdout)) == {"version"}


PROTOCOL = """\
labd: 1
protocol: open_press
version: 1.0.0
roles: {press: crimper}
start: open
states:
  open: {do: press.open, within: 30 s, next: done}
  done: {end: complete}
"""


def test_check_tells_all_problems_of_all_files_with_their_places(folder: Path, runner: CliRunner) -> None:
    (folder / "good.yaml").write_text(PROTOCOL)
    (folder / "bad.yaml").write_text(PROTOCOL.replace("press.open", "press.opne").replace("start: open", "start: opne"))
    ended = runner.invoke(app, ["check", "good.yaml", "bad.yaml"])
    assert ended.exit_code == 2
    assert "good.yaml: holds" in ended.stdout
    assert "bad.yaml:5:8" in ended.stdout
    assert "bad.yaml:7:" in ended.stdout


def test_check_for_editors(folder: Path, runner: CliRunner) -> None:
    (folder / "bad.yaml").write_text(PROTOCOL.replace("within: 30 s", "within: 30"))
    ended = runner.invoke(app, ["check", "bad.yaml", "--json"])
    assert ended.exit_code == 2
    (problem,) = json.loads(ended.stdout)["files"]["bad.yaml"]["problems"]
    assert problem["line"] == 7


def test_check_asks_the_lab_what_it_has(folder: Path, runner: CliRunner) -> None:
    (folder / "good.yaml").write_text(PROTOCOL)
    (folder / "lab.yaml").write_text(LAB)
    assert runner.invoke(app, ["check", "good.yaml"]).exit_code == 0
    ended = runner.invoke(app, ["check", "good.yaml", "--lab", "lab.yaml"])
    assert ended.exit_code == 2
    assert "crimper" in ended.stdout


@pytest.mark.parametrize("named", ["status", "serve", "run", "campaign", "device"])
def test_where_a_command_is_named_the_others_are_not_prepared(runner: CliRunner, named: str) -> None:
    narrow, whole = runner.invoke(only([named]), [named, "--help"]), runner.invoke(app, [named, "--help"])
    assert (narrow.exit_code, narrow.stdout) == (0, whole.stdout)
    assert len(only([named]).registered_commands) + len(only([named]).registered_groups) <= 2


def test_where_no_command_is_named_all_are_there() -> None:
    assert [only(asked) for asked in ([], ["--help"], ["statu"])] == [app] * 3
    assert len(app.registered_commands) > 20


@pytest.mark.parametrize(("broken_off", "answered"), [(2, True), (3, False)])
def test_what_has_a_name_is_sent_once_more_where_no_answer_came(
    folder: Path, monkeypatch: pytest.MonkeyPatch, broken_off: int, *, answered: bool
) -> None:
    monkeypatch.setattr("labd.cli.connection.time.sleep", lambda _: None)
    heard: list[bytes] = []

    def answer(listener: socket.socket) -> None:
        for _ in range(3):
            connection, _ = listener.accept()
            with connection:
                asked = b""
                while not asked.endswith(b"}"):  # head and body may come one after the other
                    asked += connection.recv(65536)
                heard.append(asked)
                if len(heard) > broken_off:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]")

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(folder / "labd.sock"))
        listener.listen()
        daemon = Thread(target=answer, args=(listener,))
        daemon.start()
        client = Client(folder / "labd.sock")
        if answered:
            assert client.post_named("/batches", {"request": "r-1"}) == []
        else:
            with pytest.raises(BrokenOffError, match="broke off"):
                client.post_named("/batches", {"request": "r-1"})
        daemon.join()
    assert len(heard) == 3
    assert all(asked.endswith(b'{"request": "r-1"}') for asked in heard)
