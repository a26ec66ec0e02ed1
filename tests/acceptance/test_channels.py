"""Many channels whose runs end in the same second: none fails, and none waits for another to be told of."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path

from labd import clock
from labd.daemon import Daemon
from labd.lab.config import load_lab

CHANNELS = 128
PROTOCOL = """\
labd: 1
protocol: two_rests
version: 1.0.0
summary: A rest that ends when all others do, and a short one at once after it.
parameters: {rest: {type: quantity, default: 1 min, min: 1 s}}
roles: {stat: potentiostat}
start: rest
states:
  rest:
    do: stat.open_circuit
    with: {duration: =rest, interval: 10 s}
    next: again
  again:
    do: stat.open_circuit
    with: {duration: 2 s, interval: 1 s}
    next: done
  done: {end: complete}
"""


def lab_yaml(names: list[str]) -> str:
    """One EmStat4 a port, as benches of many channels are built."""
    devices = "".join(
        f"  {name}: {{driver: methodscript, settings: {{port: ports/{name}, model: emstat4_hr}}, "
        "poll: {idle: 60 s, busy: 5 s}, simulator: {}}\n"
        for name in names
    )
    roles = f"roles: {{potentiostat: [{', '.join(names)}]}}\n"
    return f"labd: 1\nlab: channels\nstore: store\nclock: virtual\ndevices:\n{devices}{roles}"


async def test_128_channels_end_in_the_same_second_and_every_run_is_complete(tmp_path: Path) -> None:
    names = [f"stat{number:03d}" for number in range(CHANNELS)]
    (tmp_path / "lab.yaml").write_text(lab_yaml(names))
    async with Daemon(load_lab(tmp_path / "lab.yaml"), outward=False).open() as daemon:
        await asyncio.gather(*(device.wait_ready() for device in daemon.lab.devices.values()))
        end = clock.monotonic() + 60.0
        runs = [
            await daemon.engine.start(PROTOCOL, "p.yaml", {"rest": f"{end - clock.monotonic():.3f} s"}, by="test")
            for _ in names
        ]
        states = await asyncio.gather(*(daemon.engine.wait(run.id) for run in runs))
        assert [state.outcome for state in states] == ["complete"] * CHANNELS
        assert {state.cause for state in states} == {None}
        assert all(device.health == "ok" for device in daemon.lab.devices.values())

        wrong = {"action.failed", "action.unknown", "question.asked", "run.failed", "device.safe"}
        assert await daemon.journal.events(kinds=wrong) == []
        done = await daemon.journal.events(kinds={"action.done", "run.ended"})
        last: dict[str, dict[str, float]] = {}
        for event in done:
            last.setdefault(str(event.run), {})[event.kind] = datetime.fromisoformat(event.at).timestamp()
        assert len(last) == CHANNELS
        ends = [kinds["action.done"] for kinds in last.values()]
        assert max(ends) - min(ends) < 1.0  # they do end together
        assert max(kinds["run.ended"] - kinds["action.done"] for kinds in last.values()) < 1.0
        # by the devices' own clocks: a rest of 60 s, one of 2 s, and what the wire takes
        assert max(ends) - min(datetime.fromisoformat(str(state.started)).timestamp() for state in states) < 65.0
