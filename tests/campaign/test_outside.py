"""Optimisers outside: the example clients as processes of their own, and what an ask takes and refuses."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labd.clock import LabLoop, Timeline
from labd.run.lifecycle import CommandRefusedError
from tests.campaign.living import PRESS, Lab, lab
from tests.campaign.serving import Served, served

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples" / "campaigns"
OUTSIDE = """\
labd: 1
campaign: outside
space:
  force: {type: quantity, min: 2 kN, max: 9 kN, step: 0.1 kN}
objectives:
  load: {goal: target, target: 5 kN, low: 2 kN, high: 9 kN}
protocol: press
parameters: {force: =force}
batch: 2
budget: {cells: 40}
stop: {when: abs(best.load - 5 kN) < 0.2 kN}
optimiser: external
"""
LOADED = PRESS.replace("results:\n", "results:\n  load: =force\n")


# ── asks and answers ─────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def here(tmp_path: Path) -> Iterator[Lab]:
    with lab(tmp_path / "lab") as found:
        found.start(OUTSIDE, LOADED)
        yield found


def answer(here: Lab, ask: int, *forces: float) -> list[Any]:
    found: list[Any] = here.drive(here.campaigns.answer("outside", ask, [{"force": one} for one in forces], by="tim"))
    return found


def test_an_ask_says_what_is_wanted_what_was_seen_and_what_is_pending(here: Lab) -> None:
    first = here.campaigns.ask("outside")
    assert (first.ask, first.count, first.told, first.pending) == (1, 2, (), ())
    assert first.problem["space"][0] == {
        "name": "force",
        "type": "range",
        "low": 2.0,
        "high": 9.0,
        "unit": "kN",
        "step": 0.1,
    }
    answer(here, 1, 3.0, 4.0)
    here.let(30.0)
    second = here.campaigns.ask("outside")
    assert (second.ask, second.count) == (2, 2)
    assert [one["values"] for one in second.told] == [{"load": 3.0}, {"load": 4.0}]


def test_an_answer_that_is_sent_twice_is_taken_once(here: Lab) -> None:
    assert answer(here, 1, 3.0, 4.0) == answer(here, 1, 3.0, 4.0)
    assert len(here.campaigns.find("outside").record.all) == 2


@pytest.mark.parametrize(
    ("ask", "forces", "said"),
    [
        (2, [3.0], "outside is at ask 1, not 2"),
        (1, [3.0, 4.0, 5.0], "outside wants 2 proposals now, not 3"),
        (1, [3.0, 12.0], "force 12.0: outside of `force`"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused_whole(here: Lab, ask: int, forces: list[float], said: str) -> None:
    with pytest.raises(CommandRefusedError, match=said):
        answer(here, ask, *forces)
    assert here.campaigns.find("outside").record.all == []


# ── the example clients ──────────────────────────────────────────────────────────────────────────────────────────────
async def start(found: Served) -> None:
    body = {"campaign": OUTSIDE, "protocol": LOADED, "protocol_name": "press.yaml", "by": "eva"}
    answer = await found.client.post("/campaigns", json=body)
    assert answer.status_code == 201, answer.text


async def runs(*command: str) -> str:
    """A process to its end; gives what it says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


class TestTheExamples:
    """Their peer is another process, so time is the machine's, but sixty times as fast."""

    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        return "asyncio", {"loop_factory": lambda: LabLoop(Timeline(factor=60.0))}

    async def test_a_tenant_over_rest_finds_what_is_wanted(self, tmp_path: Path) -> None:
        async with served(tmp_path) as found:
            await start(found)
            said = await runs(str(EXAMPLES / "tenant.py"), str(found.client.base_url), "outside", "0.05")
            assert "outside: it is reached" in said
            told = (await found.client.get("/campaigns/outside")).json()
        assert told["state"] == "ended"
        assert {one["by"] for one in told["proposals"]} == {"tenant"}

    async def test_a_listener_over_mqtt_finds_what_is_wanted(self, tmp_path: Path) -> None:
        async with served(tmp_path) as found:
            await start(found)
            assert found.telemetry.address is not None
            port = str(found.telemetry.address[1])
            said = await runs(str(EXAMPLES / "listener.py"), "127.0.0.1", port, "toys", "outside")
            assert "outside: it is reached" in said
            assert found.campaigns.find("outside").record.all[0].by == "listener"
