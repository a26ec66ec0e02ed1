"""A whole daemon and its broker over two lives: what is told, how far, and what is taken away. Virtual time."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

from labd.daemon import Daemon
from labd.lab.config import load_lab
from labd.run.lifecycle import Command
from labd.telemetry.broker import EmbeddedBroker
from tests.telemetry import parts

LAB = """\
labd: 1
lab: lab
store: store
clock: real
mqtt: {{broker: {{host: 127.0.0.1, port: {port}}}}}
devices:
"""
DEVICE = """\
  {name}:
    driver: methodscript
    settings: {{port: {name}, model: emstat4_hr}}
    simulator: {{}}
"""
REST = """\
labd: 1
protocol: rest
version: 1.0.0
summary: Watch a voltage.
roles: {stat: potentiostat}
start: rest
states:
  rest:
    summary: Watch it.
    do: stat.open_circuit
    with: {duration: 1 h, interval: 60 s}
    next: done
  done: {end: complete}
"""


def write_lab(folder: Path, port: int, *devices: str) -> Path:
    path = folder / "lab.yaml"
    path.write_text(LAB.format(port=port) + "".join(DEVICE.format(name=name) for name in devices))
    return path


async def test_two_lives_of_a_daemon_at_a_broker_that_stays(tmp_path: Path) -> None:
    async with EmbeddedBroker() as broker, parts.watching(broker.port) as watcher:
        daemon = Daemon(load_lab(write_lab(tmp_path, broker.port, "stat1", "stat2")))
        async with daemon.open():
            for device in daemon.lab.devices.values():
                await device.wait_ready()
            await parts.connected(daemon.telemetry)
            told = daemon.info()["mqtt"]
            assert (told["connected"], told["broker"]) == (True, f"127.0.0.1:{broker.port}")
            one = await daemon.engine.start(REST, "rest.yaml", {}, by="test")
            other = await daemon.engine.start(REST, "rest.yaml", {}, by="test")
            await asyncio.sleep(300)
            await daemon.engine.command(one.id, Command.ABORT, by="test")
            await watcher.first(f"run/{one.id}/state", outcome="aborted")
            await asyncio.sleep(1500)
        progress = [state["progress"] for state in watcher.of(f"run/{other.id}/state")]
        assert progress == sorted(progress)
        steps = [after - before for before, after in pairwise(progress)]
        assert progress[-1] > 0.45
        assert max(steps) < 0.04
        assert watcher.of("status")[-1]["state"] == "offline"

        await asyncio.sleep(25 * 3600)
        already = len(watcher.got)
        daemon = Daemon(load_lab(write_lab(tmp_path, broker.port, "stat2")))
        async with daemon.open():
            await watcher.until(lambda: watcher.of("device/stat1/about")[-1] is None)
            await watcher.until(lambda: watcher.of("device/stat1/state")[-1] is None)
            await watcher.until(lambda: watcher.of(f"run/{one.id}/state")[-1] is None)
            await watcher.until(lambda: any(got.topic == f"run/{other.id}/state" for got in watcher.got[already:]))
            anew = [got.topic for got in watcher.got[already:] if got.data is not None]
            assert {topic for topic in anew if topic.startswith("run/") and topic.endswith("/state")} == {
                f"run/{other.id}/state"
            }
            assert watcher.of("device/stat2/about")[-1]["driver"] == "methodscript"
            boots = {status["boot_id"] for status in watcher.of("status")}
            assert len(boots) == 2
