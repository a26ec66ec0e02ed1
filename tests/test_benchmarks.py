"""The benchmarks' own rules: what a goal that is not reached comes to, and what is lost on the way to a subscriber."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import all as every
from benchmarks._figures import Figures
from benchmarks.mqtt._subscriber import SILENT, Subscriber


@pytest.mark.parametrize(
    ("value", "arguments", "status"), [(1.0, [], 0), (1.0, ["--strict"], 0), (3.0, [], 0), (3.0, ["--strict"], 1)]
)
def test_a_goal_that_is_not_reached_is_a_failure_where_that_is_asked_for(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    value: float,
    arguments: list[str],
    status: int,
) -> None:
    def run(_: bool, figures: Figures) -> None:
        figures.add("spent", value, "s", goal=2.0, better="lower")
        figures.add("told", 5.0, "s")

    monkeypatch.setattr(every, "importlib", SimpleNamespace(import_module=lambda _: SimpleNamespace(run=run)))
    monkeypatch.setattr(every, "Figures", partial(Figures, results=tmp_path))
    monkeypatch.setattr(
        every, "structlog", SimpleNamespace(**dict.fromkeys(vars(every.structlog), lambda *_, **__: None))
    )
    monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments, "stop"])
    assert every.main() == status
    assert ("short of their goal: stop.spent" in capsys.readouterr().err) == bool(status)


def publish(device: str, seq: int, count: int, replied: float) -> bytes:
    topic = f"labd/1/bench/device/{device}/signal".encode()
    told = {"seq": seq, "values": {"replied": {"v": replied}, "count": {"v": count}}}
    body = len(topic).to_bytes(2, "big") + topic + json.dumps(told).encode()
    assert len(body) < 2**14
    return bytes((0x30, len(body) & 0x7F | 0x80, len(body) >> 7)) + body


def test_what_is_lost_is_told_by_the_devices_own_count() -> None:
    now = time.time()
    sent = [publish("d1", seq, count, now) for seq, count in enumerate((5, 6, 8, 9), 1)]
    sent += [publish("d2", 1, 1, now - SILENT - 1), publish("d2", 2, 2, now - SILENT - 0.9)]

    subscribed = threading.Event()

    def serve() -> None:
        link, _ = server.accept()
        with link:
            for answer in (b"\x20\x02\x00\x00", b"\x90\x03\x00\x01\x00"):
                link.recv(4096)
                link.sendall(answer)
            subscribed.wait(30)
            link.sendall(b"".join(sent))

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        subscriber = Subscriber(server.getsockname()[1], "#")
        subscriber.looking, subscriber.began = True, now - 1.0
        subscribed.set()
        while subscriber.got < len(sent):
            subscriber.take()
        thread.join()
        told = subscriber.tell()
        subscriber.link.close()
    assert (told["missing"], told["topics"], told["silent"]) == (1, 2, 1)
    assert told["polls"] > told["rate"] > 0
