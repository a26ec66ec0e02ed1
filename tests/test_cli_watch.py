"""`labd watch`: what its page says, and that it stays with a lab over sizes, silences and ends."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import pty
import re
import select
import signal
import socketserver
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from labd.cli.views import show_status
from labd.cli.watch_page import bar, page, share
from labd.cli.watching import Seen

NOW = "2026-03-02T10:00:00Z"
AT = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
LIMIT = 20.0  # s; nothing here takes long, and nothing is judged by how long it takes


def run(number: int, **more: Any) -> dict[str, Any]:
    found = {
        "run": f"run-{number:04d}",
        "protocol": "assemble",
        "version": "1.0.0",
        "sample": f"cell-{number:04d}",
        "state": "Execute",
        "protocol_state": "formation",
        "since": NOW,
        "progress": 0.415,
        "expected_end": "2026-03-02T12:30:00Z",
        "outcome": None,
        "cause": None,
        "question": None,
        "started": NOW,
        "ended": None,
    }
    return found | more


def device(name: str, **more: Any) -> dict[str, Any]:
    found = {
        "device": name,
        "driver": "toy",
        "role": "potentiostat",
        "health": "ok",
        "problem": None,
        "since": NOW,
        "busy_with": [],
        "units": [""],
        "maintenance": None,
        "read": "2026-03-02T09:59:56Z",
        "signals": {"voltage": {"v": 3.7, "u": "V", "q": "good"}},
    }
    return found | more


def status(**more: Any) -> dict[str, Any]:
    daemon = {"lab": "bench", "state": "online", "version": "0.1", "started": NOW, "at": NOW, "clock": "real"}
    found = {"daemon": daemon, "devices": [device("stat1")], "runs": [run(1)], "ended": 0, "alarms": []}
    return {**found, "interlocks": [], **more}


def job(number: int, **more: Any) -> dict[str, Any]:
    found = {"job": f"job-{number:04d}", "sample": f"c{number}", "state": "Waiting", "priority": 0}
    return {**found, "why": "its turn in the plan", "run": None, **more}


def shown(
    found: dict[str, Any],
    queue: list[dict[str, Any]] | None = None,
    *,
    width: int = 80,
    height: int | None = 24,
    silence: str | None = None,
    later: float = 0.0,
) -> list[str]:
    """The page's lines, as a terminal of so many columns and lines has them."""
    console = Console(file=io.StringIO(), width=width, height=height or 500, color_system=None, legacy_windows=False)
    line = None if queue is None else {"paused": None, "most_runs": 8, "jobs": queue}
    console.print(page(Seen(found, line, AT, silence), console, AT + timedelta(seconds=later), height))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert all(cell_len(text) <= width for text in lines)
    assert height is None or len(lines) <= height
    return [str(text) for text in lines]


# ── the page ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_run_is_told_with_its_states_its_progress_and_its_end() -> None:
    (line,) = [line for line in shown(status()) if line.startswith("run-0001")]
    assert line.split()[:4] == ["run-0001", "cell-0001", "Execute", "formation"]
    assert "━━━━──────  41%" in line
    assert re.search(r"\d\d:30", line)


def test_why_a_run_waits_stands_below_it_where_there_is_no_room_beside_it() -> None:
    found = status(runs=[run(1, cause="waits for a crimper: press works for run-0002"), run(2)])
    narrow, wide = shown(found), shown(found, width=140)
    assert "  ↳ waits for a crimper: press works for run-0002" in narrow
    assert any(line.startswith("run-0001") and "press works for run-0002" in line for line in wide)


def test_an_end_on_another_day_says_which() -> None:
    text = "\n".join(shown(status(runs=[run(1, expected_end="2026-03-04T12:30:00Z")])))
    assert re.search(r"Wed \d\d:30", text)


def test_progress_is_full_only_at_the_end() -> None:
    assert bar(0.999) == "━━━━━━━━━─  99%"
    assert bar(1.0) == "━━━━━━━━━━ 100%"


def test_what_needs_somebody_stands_on_top_in_words() -> None:
    alarm = {"id": "disk", "severity": "critical", "about": "lab", "text": "the disk is full", "since": NOW}
    tripped = {"name": "oxygen", "condition": "glovebox.oxygen > 50 ppm", "then": "hold", "devices": None}
    tripped |= {"latch": True, "builtin": False, "holds": True, "because": "", "tripped": NOW, "reason": None}
    asked = {"id": "run-0002-q1", "kind": "protocol", "text": "Is it sound?", "choices": ["keep it", "scrap it"]}
    runs = [run(1), run(2, question={**asked, "input": None}), run(3, state="Held", cause="the guard is open")]
    found = status(runs=runs, alarms=[{**alarm, "acknowledged_by": None}], interlocks=[tripped])
    text = shown(found)
    top = text[: text.index("")]
    assert "INTERLOCK oxygen tripped" in top[1]
    assert "labd clear --interlock oxygen" in " ".join(top)
    assert any("CRITICAL disk since" in line and "the disk is full" in line for line in top)
    assert any("run-0002 asks: Is it sound?" in line for line in top)
    assert any("run-0003 is Held: the guard is open" in line for line in top)


def test_a_silent_daemon_is_told_with_since_when() -> None:
    text = " ".join(shown(status(), silence="nobody listens", later=12))
    assert "NO ANSWER since" in text
    assert "for 12 s: nobody listens" in text


def test_the_age_of_values_and_trouble_of_devices() -> None:
    maintenance = {"reason": "new tip", "by": "mk", "since": ""}
    devices = [
        device("a"),
        device("b", busy_with=["run-0001"]),
        device("c", health="down", problem="no answer", read=None),
        device("d", maintenance=maintenance, problem="in maintenance: new tip"),
    ]
    text = shown(status(devices=devices))
    names = [line.split()[0] for line in text if line[:2] in ("a ", "b ", "c ", "d ")]
    assert names == ["c", "d", "b", "a"]
    assert any(line.startswith("a") and "4 s" in line for line in text)
    assert any(line.startswith("c") and "down" in line and "no answer" in line for line in text)
    assert any(line.startswith("d") and "maintenance" in line for line in text)


def mqtt(**more: Any) -> dict[str, Any]:
    found = {"broker": "broker.lan:8883", "connected": True, "since": NOW, "problem": None, "states_waiting": 0}
    return {**found, "signals_dropped": 0, **more}


def test_a_broker_that_is_away_is_told_and_one_that_is_there_takes_no_line() -> None:
    found = status()
    found["daemon"]["mqtt"] = mqtt()
    assert not [line for line in shown(found) if "mqtt" in line]
    found["daemon"]["mqtt"] = mqtt(connected=False, problem="Connection refused", states_waiting=3)
    (line,) = [line for line in shown(found, width=120) if "mqtt" in line]
    assert line.startswith("mqtt: NOT connected to broker.lan:8883 since ")
    assert "; Connection refused; 3 states wait" in line


def test_status_says_how_the_broker_is(capsys: pytest.CaptureFixture[str]) -> None:
    found = status(runs=[])
    found["daemon"]["mqtt"] = mqtt(problem="labd/1/bench/queue: the broker refuses it", signals_dropped=7)
    show_status(found)
    said = capsys.readouterr().out
    assert "mqtt: connected to broker.lan:8883 since " in said
    assert "; last problem: labd/1/bench/queue: the broker refuses it; 7 signals were dropped" in said


def test_jobs_that_wait_say_why_and_a_daemon_without_a_queue_has_none() -> None:
    text = shown(status(), [job(1), job(2, state="Ready", why=None), job(3, state="Running", run="run-0001")])
    assert any(line.startswith("job-0001") and "its turn in the plan" in line for line in text)
    assert any(line.startswith("job-0002") and "Ready" in line for line in text)
    assert not any("job-0003" in line for line in text)
    assert not any(line.startswith("job") for line in shown(status()))


@pytest.mark.parametrize("size", [(80, 24), (80, 10), (40, 6), (200, 50), (20, 3)])
def test_a_large_lab_fits_on_every_terminal_and_says_what_it_leaves_out(size: tuple[int, int]) -> None:
    width, height = size
    runs = [run(number) for number in range(60)]
    found = status(runs=runs, devices=[device(f"stat{number:03}") for number in range(128)])
    text = shown(found, [job(number) for number in range(64)], width=width, height=height)
    if height >= 24:
        assert sum("more" in line for line in text) == 3


def test_without_a_terminal_everything_is_said() -> None:
    found = status(runs=[run(number) for number in range(60)])
    assert sum(line.startswith("run-") for line in shown(found, height=None)) == 60


def test_room_is_shared() -> None:
    assert share(30, [5, 40, 40]) == [5, 12, 13]
    assert share(100, [5, 40, 40]) == [5, 40, 40]
    assert share(0, [5, 5]) == [0, 0]


# ── the command ──────────────────────────────────────────────────────────────────────────────────────────────────────
class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    answer = status()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        known = self.path == "/api/v1/status"
        body = self.server.answer if known else {"error": {"code": "not_found", "message": "no such path"}}  # type: ignore[attr-defined]
        raw = json.dumps(body).encode()
        self.send_response(200 if known else 404)
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: object) -> None: ...


@contextlib.contextmanager
def daemon(path: Path) -> Iterator[_Server]:
    """What answers as a daemon does, as far as it is watched."""
    path.unlink(missing_ok=True)
    with _Server(str(path), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
            path.unlink()


def arguments(path: Path, *more: str) -> list[str]:
    return [
        sys.executable,
        "-c",
        "from labd.cli import main; main()",
        "watch",
        "--socket",
        str(path),
        "--every",
        "0.2",
        *more,
    ]


class Screen:
    """`labd watch` on a terminal of 80 columns."""

    def __init__(self, path: Path) -> None:
        self.terminal, other = pty.openpty()
        self.resize(80, 24, quietly=True)
        self.before = termios.tcgetattr(other)
        self._other = other
        environment = {**os.environ, "TERM": "xterm-256color"}
        environment.pop("COLUMNS", None)
        self.process = subprocess.Popen(
            arguments(path), stdin=other, stdout=other, stderr=other, env=environment, start_new_session=True
        )
        self.said = b""

    def resize(self, columns: int, lines: int, *, quietly: bool = False) -> None:
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        if not quietly:
            self.process.send_signal(signal.SIGWINCH)

    def until(self, text: str) -> str:
        """Reads until something is shown from now on; gives all that was read."""
        self.said = b""
        while text.encode() not in self.said:
            ready, _, _ = select.select([self.terminal], [], [], LIMIT)
            assert ready, f"{text!r} was not shown; but {self.said[-2000:]!r}"
            self.said += os.read(self.terminal, 65536)
        return self.said.decode(errors="replace")

    def end(self) -> int:
        """Waits for its end; the terminal is as it was found."""
        drain = threading.Thread(target=self._drain, daemon=True)
        drain.start()
        status = self.process.wait(LIMIT)
        assert termios.tcgetattr(self._other) == self.before
        os.close(self._other)
        drain.join(LIMIT)
        os.close(self.terminal)
        assert b"\x1b[?1049l" in self.said  # the terminal's own screen is back
        assert b"\x1b[?25h" in self.said  # and its cursor
        assert b"Traceback" not in self.said
        return status

    def _drain(self) -> None:
        with contextlib.suppress(OSError):
            while found := os.read(self.terminal, 65536):
                self.said += found


def test_it_stays_over_a_restart_of_the_daemon_and_q_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "labd.sock"
    with daemon(path):
        screen = Screen(path)
        screen.until("run-0001")
    screen.until("NO ANSWER since")
    with daemon(path) as again:
        again.answer = status(runs=[run(7)])
        assert "run-0007" in screen.until("run-0007")
        screen.resize(40, 10)
        screen.until("run-0007")
        os.write(screen.terminal, b"q")
        assert screen.end() == 0


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_the_terminal_as_it_was(tmp_path: Path, how: signal.Signals) -> None:
    with daemon(tmp_path / "labd.sock"):
        screen = Screen(tmp_path / "labd.sock")
        screen.until("run-0001")
        screen.process.send_signal(how)
        assert screen.end() == 0


def test_once_prints_one_page(tmp_path: Path) -> None:
    with daemon(tmp_path / "labd.sock"):
        ended = subprocess.run(arguments(tmp_path / "labd.sock", "--once"), capture_output=True, text=True, check=True)
    assert "bench: online" in ended.stdout
    assert "run-0001" in ended.stdout
    assert "\x1b" not in ended.stdout
    assert ended.stderr == ""


def test_into_a_pipe_it_prints_a_page_again_and_again_until_nobody_reads(tmp_path: Path) -> None:
    with (
        daemon(tmp_path / "labd.sock") as served,
        subprocess.Popen(arguments(tmp_path / "labd.sock"), stdout=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdout is not None
        next(line for line in process.stdout if "run-0001" in line)
        served.answer = status(runs=[run(8)])
        next(line for line in process.stdout if "run-0008" in line)
        process.stdout.close()
        assert process.wait(LIMIT) == 0


def test_a_lab_that_nobody_runs_is_told_at_once(tmp_path: Path) -> None:
    ended = subprocess.run(arguments(tmp_path / "labd.sock"), capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "no daemon answers" in ended.stderr
