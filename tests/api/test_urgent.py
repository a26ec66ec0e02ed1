"""Orders to the whole lab, over the interface and from the command line."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Served
from tests.api.test_commands import labd
from tests.toys import ToyPress


@pytest.fixture
def anyio_backend(real_time: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return real_time


async def test_an_abort_of_all_says_which_runs_and_which_devices_it_reached(served: Served) -> None:
    async with served() as bench:
        press = bench.engine.lab.devices["press"].driver
        assert isinstance(press, ToyPress)
        press.script["crimp"] = [1000.0]
        run = (await bench.start())["run"]
        answer = await bench.client.post("/commands/abort", json={"by": "eva", "cause": "smoke"})
        assert (answer.status_code, answer.json()) == (
            200,
            {"command": "abort", "runs": [run], "safe": {"press": None}, "left": {}},
        )
        assert (await bench.wait(run))["outcome"] == "aborted"
        events = await bench.engine.journal.events(kinds={"lab.ordered", "command.accepted"})
        assert {event.kind: event.data["by"] for event in events} == {"lab.ordered": "eva", "command.accepted": "eva"}


@pytest.mark.parametrize("verb", ["unhold", "clear", "answer"])
async def test_only_what_makes_a_lab_quieter_can_be_given_to_all(served: Served, verb: str) -> None:
    async with served() as bench:
        assert (await bench.client.post(f"/commands/{verb}", json={"by": "eva"})).status_code == 422


async def test_who_gives_it_must_be_said(served: Served) -> None:
    async with served() as bench:
        answer = await bench.client.post("/commands/stop", json={})
        assert answer.status_code == 422
        assert "by" in answer.json()["error"]["message"]


async def test_without_safe_mode_there_is_nothing_to_resume(served: Served) -> None:
    async with served() as bench:
        answer = await bench.client.post("/resume", json={"by": "eva"})
        assert answer.status_code == 409
        assert "not in safe mode" in answer.json()["error"]["message"]
        ended = await labd(bench, "resume")
        assert (ended.status, ended.err) == (1, "labd: the lab is not in safe mode: there is nothing to resume\n")


async def test_the_command_line_stops_all_or_one_and_never_guesses_which(served: Served) -> None:
    async with served() as bench:
        ended = await labd(bench, "stop")
        assert ended.status == 2
        assert "`labd stop run-0001`, or all of them, `labd stop --all`" in ended.err
        both = await labd(bench, "abort", "run-0001", "--all")
        assert (both.status, "run-0001 and --all" in both.err) == (2, True)
        nothing = await labd(bench, "stop", "--all")
        assert (nothing.status, nothing.out) == (0, "no run could take stop\n")
        run = (await bench.start())["run"]
        held = await labd(bench, "hold", "--all", "--cause", "lunch")
        assert (held.status, held.out) == (0, f"hold: {run}\n")
        ended = await labd(bench, "abort", "--all", "--json")
        assert ended.json == {"command": "abort", "runs": [run], "safe": {"press": None}, "left": {}}
        assert (await bench.wait(run))["outcome"] == "aborted"


async def test_a_device_that_did_not_become_safe_is_told_and_ends_the_command_with_1(served: Served) -> None:
    async with served() as bench:
        press = bench.engine.lab.devices["press"].driver

        async def broken(unit: str | None = None) -> None:
            raise RuntimeError("no relay")

        press.safe_state = broken  # type: ignore[method-assign]
        ended = await labd(bench, "abort", "--all")
        assert ended.status == 1
        assert "no run could take abort" in ended.out
        assert "press: NOT SAFE: " in ended.out
        assert "no relay" in ended.out
