"""Commands over MQTT 3.1.1, with the embedded broker, on virtual time."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from labd import clock
from labd.journal import Journal
from labd.lab.config import Broker, Mqtt
from labd.lab.samples import Noted
from labd.telemetry.broker import EmbeddedBroker
from tests.telemetry.commanding import WAITING, Commander, commander, hearing

EMBEDDED = Mqtt(broker="embedded", port=0)


async def test_a_run_is_started_held_let_go_on_stopped_and_cleared(tmp_path: Path) -> None:
    async with hearing(tmp_path, EMBEDDED) as lab, commander(lab.port) as eva:
        await eva.give("c1", "start", arguments={"protocol": WAITING, "sample": "cell-7"})
        accepted, done = await eva.answered("c1", 2)
        assert (accepted["state"], done["state"], done["result"]) == ("accepted", "done", {"run": "run-0001"})
        one = {"run": "run-0001"}
        await eva.give("c2", "hold", arguments=one)
        assert await eva.states("c2", 2) == ["accepted", "done"]
        assert (await lab.engine.state("run-0001")).state == "Held"
        await eva.give("c3", "unhold", arguments=one)
        assert await eva.states("c3", 2) == ["accepted", "done"]
        await eva.give("c4", "stop", arguments={**one, "cause": "enough"})
        assert (await eva.answered("c4", 2))[-1]["result"] == {**one, "state": "Stopped", "outcome": "stopped"}
        assert (await lab.engine.state("run-0001")).cause == "enough"
        await eva.give("c5", "clear", arguments=one)
        (refused,) = await eva.answered("c5")
        assert (refused["state"], "nothing to clear" in refused["reason"]) == ("rejected", True)


async def test_a_run_is_started_for_the_sample_that_carries_a_barcode(tmp_path: Path) -> None:
    async with hearing(tmp_path, EMBEDDED) as lab, commander(lab.port) as eva:
        await lab.engine.lab.samples.note("nmc-7", Noted({"barcode": "https://cells/7"}), by="mk")
        await eva.give("c1", "start", arguments={"protocol": WAITING, "sample": "https://cells/7"})
        assert await eva.states("c1", 2) == ["accepted", "done"]
        assert (await lab.engine.state("run-0001")).sample == "nmc-7"
        await eva.give("c2", "start", arguments={"protocol": WAITING, "sample": "https://cells/8"})
        (refused,) = await eva.answered("c2")
        assert "or a barcode that is known" in refused["reason"]


async def test_an_abort_of_all_makes_the_lab_safe_and_says_so(tmp_path: Path) -> None:
    async with hearing(tmp_path, EMBEDDED) as lab, commander(lab.port) as eva:
        run = await lab.start()
        await eva.give("c1", "abort", arguments={"all": True})
        assert (await eva.answered("c1", 2))[-1]["result"] == {"runs": [run], "safe": {"press": None}}
        assert lab.press.safe
        assert (await lab.engine.wait(run)).cause == "aborted by eva"


async def test_what_could_not_be_made_safe_is_told_as_failed(tmp_path: Path) -> None:
    async with hearing(tmp_path, EMBEDDED) as lab, commander(lab.port) as eva:
        lab.press.safe_takes = 1e6
        await eva.give("c1", "abort", arguments={"all": True})
        accepted, failed = await eva.answered("c1", 2)
        assert (accepted["state"], failed["state"]) == ("accepted", "failed")
        assert failed["reason"].startswith("not safe: press: ")


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"issued": -30.0, "life": 29.0}, "it expired 1."),
        ({"issued": 3600.0}, "set your clock"),
        ({"life": 31.0}, "30 s at most"),
        ({"topic_verb": "hold"}, "the topic says hold, the payload stop"),
        ({"arguments": {}}, "name one run"),
        ({"arguments": {"run": "run-0001", "all": True}}, "name one run"),
        ({"arguments": {"run": "run-0099"}}, "there is no run 'run-0099'"),
        ({"arguments": {"rum": "run-0001"}}, "rum: Extra inputs"),
        ({"fields": {"urgent": True}}, "urgent: Extra inputs"),
        ({"fields": {"verb": "explode"}, "topic_verb": "explode"}, "verb: Input should be"),
    ],
)
async def test_what_is_late_or_wrong_is_rejected_in_words_and_not_done(
    tmp_path: Path, more: dict[str, Any], reason: str
) -> None:
    async with hearing(tmp_path, EMBEDDED) as lab, commander(lab.port) as eva:
        run = await lab.start()
        await eva.give("c1", "stop", **{"arguments": {"run": run}, **more})
        (told,) = await eva.answered("c1")
        assert told["state"] == "rejected"
        assert reason in told["reason"]
        assert (await lab.engine.state(run)).state == "Execute"


@pytest.mark.parametrize("more", [{"issued": 4.0}, {"issued": -19.0, "life": 30.0}, {"life": 0.5}])
async def test_clocks_that_are_a_little_apart_are_borne(tmp_path: Path, more: dict[str, Any]) -> None:
    async with hearing(tmp_path, EMBEDDED) as lab, commander(lab.port) as eva:
        await eva.give("c1", "hold", arguments={"all": True}, **more)
        assert await eva.states("c1", 2) == ["accepted", "done"]


async def test_an_alarm_is_acknowledged_and_an_interlock_cleared_by_name(tmp_path: Path) -> None:
    async with hearing(tmp_path, EMBEDDED) as lab, commander(lab.port) as eva:
        lab.lab.alarms.tell("disk", "problem", "lab", "the disk is nearly full")
        await eva.give("c1", "acknowledge", arguments={"alarm": "disk"})
        assert await eva.states("c1", 2) == ["accepted", "done"]
        assert lab.lab.alarms.active[0].acknowledged_by == "eva"
        await eva.give("c2", "acknowledge", arguments={"alarm": "fire"})
        assert "there is no alarm 'fire'" in (await eva.answered("c2"))[0]["reason"]
        await eva.give("c3", "clear", arguments={"interlock": "oxygen"})
        assert "there is no interlock 'oxygen'" in (await eva.answered("c3"))[0]["reason"]
        await eva.give("c4", "clear", arguments={})
        assert "name one run" in (await eva.answered("c4"))[0]["reason"]


async def test_a_retained_command_is_rejected_whenever_it_comes(tmp_path: Path) -> None:
    async with EmbeddedBroker() as broker, commander(broker.port) as eva:
        await eva.give("c1", "abort", arguments={"all": True}, retain=True)
        config = Mqtt(broker=Broker(host="127.0.0.1", port=broker.port))
        async with hearing(tmp_path, config) as lab:
            (told,) = await eva.answered("c1")
            assert (told["state"], "retained" in told["reason"]) == ("rejected", True)
            assert lab.press.safe == []


async def test_noise_on_a_commands_topic_harms_nobody(tmp_path: Path) -> None:
    async with hearing(tmp_path, EMBEDDED) as lab, commander(lab.port) as eva:
        for noise in ("{", "[]", "7", '{"command_id": 7}', "", "\0"):
            await eva.client.publish("labd/1/toys/cmd/eva/stop", noise, qos=1)
        await eva.client.publish("labd/1/toys/cmd/Eva/stop", "{}", qos=1)
        await eva.give("c1", "hold", arguments={"all": True})
        assert await eva.states("c1", 2) == ["accepted", "done"]


async def test_a_command_that_comes_twice_is_answered_as_the_first_time_and_done_once(tmp_path: Path) -> None:
    async with hearing(tmp_path, EMBEDDED) as lab, commander(lab.port) as eva:
        for _ in range(2):
            await eva.give("c1", "start", arguments={"protocol": WAITING})
        assert await eva.states("c1", 2) == ["accepted", "done"]
        await eva.give("c1", "start", arguments={"protocol": WAITING}, issued=-3600.0)  # hours later, as a bridge may
        assert (await eva.answered("c1", 4))[2:] == eva.answers["c1"][:2]
        assert lab.engine.working == ("run-0001",)


async def test_it_is_answered_so_after_a_restart_too(tmp_path: Path) -> None:
    async with hearing(tmp_path, EMBEDDED) as lab, commander(lab.port) as eva:
        await eva.give("c1", "start", arguments={"protocol": WAITING})
        first = list(await eva.answered("c1", 2))
        await eva.give("c2", "stop", arguments={"run": "run-0077"})
        refused = list(await eva.answered("c2"))
    async with hearing(tmp_path, EMBEDDED) as lab, commander(lab.port) as eva:
        await eva.give("c1", "start", arguments={"protocol": WAITING})
        assert await eva.answered("c1", 2) == first
        await eva.give("c2", "stop", arguments={"run": "run-0077"})
        assert await eva.answered("c2") == refused
        assert lab.engine.working == ("run-0001",), "it went on, and no other was started"


@pytest.mark.parametrize(("before", "why"), [([], "another command_id"), (["accepted"], "the daemon was started anew")])
async def test_of_what_was_cut_by_the_daemons_end_that_is_told_unasked(
    tmp_path: Path, before: list[str], why: str
) -> None:
    journal = await Journal.open(tmp_path / "journal.sqlite")
    replies = [{"command_id": "c1", "state": state, "reason": None, "result": None} for state in before]
    journal.keep("command/eva/c1", {"user": "eva", "command_id": "c1", "at": clock.stamp(), "replies": replies})
    await journal.close()
    async with EmbeddedBroker() as broker, commander(broker.port) as eva:
        async with hearing(tmp_path, Mqtt(broker=Broker(host="127.0.0.1", port=broker.port))) as lab:
            (told,) = await eva.answered("c1")
            assert (told["state"], why in told["reason"]) == ("failed", True)
            await eva.give("c1", "start", arguments={"protocol": WAITING})
            assert await eva.states("c1", 2 + len(before)) == ["failed", *before, "failed"]
            assert lab.engine.working == ()
        async with hearing(tmp_path, Mqtt(broker=Broker(host="127.0.0.1", port=broker.port))):
            await eva.give("c1", "start", arguments={"protocol": WAITING})
            assert (await eva.states("c1", 3 + 2 * len(before)))[-1] == "failed", "and it is not told unasked again"
            assert len(eva.answers["c1"]) == 3 + 2 * len(before)


async def test_an_answer_is_written_with_what_it_is_of(tmp_path: Path) -> None:
    async with hearing(tmp_path, EMBEDDED) as lab, commander(lab.port) as eva:
        run = await lab.start()
        commits: list[list[str]] = []
        lab.journal.on_commit(lambda events: commits.append([event.kind for event in events]))
        for verb in ("hold", "unhold"):
            commits.clear()
            await eva.give(verb, verb, arguments={"run": run})
            assert await eva.states(verb, 2) == ["accepted", "done"]
            first = next(kinds for kinds in commits if "command.taken" in kinds)
            assert {"run.state", "command.answered", "command.accepted"} <= set(first)


async def test_one_that_comes_again_is_not_answered_before_the_first_answer_is_durable(tmp_path: Path) -> None:
    async with hearing(tmp_path, EMBEDDED) as lab, commander(lab.port) as eva:
        written, append = asyncio.Event(), lab.journal.append

        async def slow(*events: Any, **more: Any) -> Any:
            await written.wait()
            return await append(*events, **more)

        lab.journal.append = slow  # type: ignore[method-assign]
        for _ in range(2):
            await eva.give("c1", "abort", arguments={"all": True})
            await asyncio.sleep(10)
        assert eva.answers == {}
        written.set()
        assert await eva.states("c1", 2) == ["accepted", "done"]


async def test_the_same_id_of_another_user_is_another_command(tmp_path: Path) -> None:
    async with hearing(tmp_path, EMBEDDED) as lab, commander(lab.port, "labd/1/toys/reply/mk/+") as eva:
        await eva.give("c1", "hold", arguments={"all": True})
        await eva.answered("c1", 2)
        now = clock.now()
        command = (
            f'{{"command_id":"c1","verb":"hold","arguments":{{"all":true}},"issued_at":"{now.isoformat()}",'
            f'"expires_at":"{(now + timedelta(seconds=9)).isoformat()}"}}'
        )
        await eva.client.publish("labd/1/toys/cmd/mk/hold", command, qos=1)
        while len(eva.elsewhere) < 2:
            await asyncio.sleep(0.1)
        ordered = await lab.journal.events(kinds={"lab.ordered"})
        assert [event.data["by"] for event in ordered] == ["eva", "mk"]


async def test_nothing_is_answered_before_it_is_durable_and_an_abort_waits_for_no_disk(tmp_path: Path) -> None:
    async with hearing(tmp_path, EMBEDDED) as lab, commander(lab.port) as eva:
        written, append = asyncio.Event(), lab.journal.append

        async def slow(*events: Any, **more: Any) -> Any:
            await written.wait()
            return await append(*events, **more)

        lab.journal.append = slow  # type: ignore[method-assign]
        await eva.give("c1", "abort", arguments={"all": True})
        while not lab.press.safe:
            await asyncio.sleep(0.01)
        await asyncio.sleep(10)
        assert eva.answers == {}
        written.set()
        assert await eva.states("c1", 2) == ["accepted", "done"]


async def test_what_is_a_day_old_is_forgotten(tmp_path: Path) -> None:
    async with hearing(tmp_path, EMBEDDED) as lab, commander(lab.port) as eva:
        await eva.give("c1", "hold", arguments={"all": True})
        await eva.answered("c1", 2)
        await asyncio.sleep(25 * 3600)
        await eva.give("c2", "hold", arguments={"all": True})
        await eva.answered("c2", 2)
        assert list(await lab.journal.kept("command/")) == ["command/eva/c2"]


async def test_answers_of_an_outage_follow_it(tmp_path: Path) -> None:
    broker = EmbeddedBroker()
    await broker.__aenter__()
    config = Mqtt(broker=Broker(host="127.0.0.1", port=broker.port))
    async with hearing(tmp_path, config) as lab:
        run = await lab.start()
        async with commander(broker.port) as eva:
            await eva.give("c1", "hold", arguments={"run": run})
            await eva.answered("c1", 2)
            lab.press.safe_takes = 5.0
            await eva.give("c2", "stop", arguments={"run": run})
            await eva.answered("c2", 1)
        await broker.__aexit__(None, None, None)
        await lab.engine.wait(run)
        async with EmbeddedBroker(broker.port) as again, commander(again.port) as eva:
            await _done(eva, "c2")


async def _done(eva: Commander, command_id: str) -> None:
    while "done" not in [told["state"] for told in eva.answers.get(command_id, ())]:
        await eva.answered(command_id, len(eva.answers.get(command_id, ())) + 1)
