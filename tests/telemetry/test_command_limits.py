"""Commands that are too many, too large or no commands: bounded, answered, and in nobody's way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from labd import clock
from labd.lab.config import Mqtt
from labd.telemetry import known, limits
from labd.telemetry.commands import Commands
from labd.telemetry.limits import Bucket, Hand, id_in, no_number
from labd.telemetry.publisher import Incoming
from tests.telemetry.commanding import WAITING, Bench, commander, hearing

EMBEDDED = Mqtt(broker="embedded", port=0)


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


def commands_of(lab: Bench) -> Commands:
    commands = lab.telemetry._commands
    assert commands is not None
    return commands


def command(command_id: str, verb: str, user: str = "eva", **arguments: Any) -> Incoming:
    issued = clock.outside()
    payload = {
        "command_id": command_id,
        "issued_at": issued.isoformat(),
        "expires_at": (issued + timedelta(seconds=20)).isoformat(),
        "verb": verb,
        "arguments": arguments,
    }
    return Incoming(f"labd/1/toys/cmd/{user}/{verb}", json.dumps(payload).encode())


def waiting(commands: Commands) -> list[dict[str, Any]]:
    return [json.loads(message.payload) for message in commands._replies]


HEAD = '{"command_id": "c1", "issued_at": "2026-01-01T00:00:00Z", "expires_at": "2026-01-01T00:00:09Z", "verb": "start"'


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (HEAD.encode() + b', "arguments": {"protocol": "' + b"x" * 3_000_000 + b'"}}', "a command has 2500000 at most"),
        (HEAD.encode() + b', "arguments": ' + b"[" * 100_000, "recursion limit"),
        (HEAD.encode() + b', "arguments": {"protocol": "\xff\xfe"}}', "invalid unicode"),
        (HEAD.encode() + b', "arguments": {"protocol": "\\ud800"}}', "hex escape"),
        (HEAD.encode() + b', "arguments": {"protocol": "x", "parameters": {"a": NaN}}}', "no numbers"),
        (HEAD.encode() + b', "arguments": {"protocol": "x", "parameters": {"a": [1e999]}}}', "no numbers"),
        (HEAD.encode() + b', "arguments": {"parameters": {"a": ' + b"9" * 10_000 + b"}}}", "out of range"),
        (HEAD.encode() + b', "arguments": {}, "more": 1}', "more: Extra inputs"),
        (b'{"command_id": "c1", "issued_at": 7}', "verb: Field required"),
    ],
)
async def test_what_is_no_command_is_refused_with_why_and_the_daemon_goes_on(
    tmp_path: Path, payload: bytes, why: str
) -> None:
    async with hearing(tmp_path, EMBEDDED) as lab, commander(lab.port) as eva:
        await eva.client.publish("labd/1/toys/cmd/eva/start", payload, qos=1)
        (told,) = await eva.answered("c1")
        assert (told["state"], why in told["reason"]) == ("rejected", True), told["reason"]
        assert len(told["reason"]) < limits.LONGEST
        await eva.give("c2", "hold", arguments={"all": True})
        assert await eva.states("c2", 2) == ["accepted", "done"]


@pytest.mark.parametrize("deep", [b"[" * 1_000_000, b'{"a":' * 200_000, b'"' * 7, b"\xff\xfe\x00"])
async def test_noise_without_an_id_has_no_answer_and_ends_nothing(tmp_path: Path, deep: bytes) -> None:
    async with hearing(tmp_path, EMBEDDED) as lab, commander(lab.port) as eva:
        await eva.client.publish("labd/1/toys/cmd/eva/stop", deep, qos=1)
        await eva.give("c2", "hold", arguments={"all": True})
        assert await eva.states("c2", 2) == ["accepted", "done"]
        assert eva.answers.keys() == {"c2"}


async def test_as_deep_as_json_may_be_is_read_and_refused_by_the_protocol(tmp_path: Path) -> None:
    async with hearing(tmp_path, EMBEDDED) as lab, commander(lab.port) as eva:
        deep: Any = 1
        for _ in range(190):
            deep = [deep]
        for verb, more in (("start", {}), ("submit", {"count": 1})):
            arguments = {"protocol": WAITING, "parameters": {"volume": deep}, **more}
            await eva.give(f"c-{verb}", verb, arguments=arguments)
            (told,) = await eva.answered(f"c-{verb}")
            assert (told["state"], "volume" in told["reason"]) == ("rejected", True), told
        await eva.give("c2", "answer", arguments={"run": "run-0001", "value": deep})
        assert "run-0001" in (await eva.answered("c2"))[0]["reason"]


async def test_arguments_that_do_not_fit_are_not_journaled_as_taken(tmp_path: Path) -> None:
    async with hearing(tmp_path, EMBEDDED) as lab, commander(lab.port) as eva:
        await eva.give("c1", "hold", arguments={"run": "x" * 1_000_000})
        (told,) = await eva.answered("c1")
        assert (told["state"], told["reason"][:15]) == ("rejected", "arguments: run:")
        assert await lab.journal.events(kinds={"command.taken"}) == []


async def test_a_flood_is_bounded_and_stands_in_no_aborts_way(tmp_path: Path, logged: list[Any]) -> None:
    async with hearing(tmp_path, EMBEDDED) as lab:
        run = await lab.start()
        commands, append, written = commands_of(lab), lab.journal.append, asyncio.Event()

        async def slow(*events: Any, **more: Any) -> Any:
            await written.wait()
            return await append(*events, **more)

        lab.journal.append = slow  # type: ignore[method-assign]
        for number in range(5_000):
            user = f"user-{number % 50}"
            commands.hear(command(f"c{number}", "unhold", user, run=run))
        assert len(commands._group._tasks) == limits.IN_HAND  # type: ignore[union-attr]
        rejected = waiting(commands)
        assert len(rejected) == limits.ANSWERS
        assert rejected[0]["state"] == "rejected"
        assert "give it again" in rejected[0]["reason"]
        commands.hear(command("a1", "abort", "eva", all=True))
        while not lab.press.safe:
            await asyncio.sleep(0.01)
        written.set()
        async with asyncio.timeout(600):
            while await lab.journal.kept("command/eva/a1") == {}:
                await asyncio.sleep(1)
        assert len(logged) < 100, "a flood costs no line a command"


async def test_what_was_too_much_may_be_sent_again_under_the_same_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "IN_HAND_OF_ONE", 0)
    async with hearing(tmp_path, EMBEDDED) as lab, commander(lab.port) as eva:
        await eva.give("c1", "hold", arguments={"all": True})
        (told,) = await eva.answered("c1")
        assert (told["state"], "give it again" in told["reason"]) == ("rejected", True)
        monkeypatch.undo()
        await eva.give("c1", "hold", arguments={"all": True})
        assert await eva.states("c1", 3) == ["rejected", "accepted", "done"]


async def test_refusals_of_a_flood_do_not_fill_the_journal(tmp_path: Path) -> None:
    async with hearing(tmp_path, EMBEDDED, {"anna": "engineer"}) as lab:
        commands = commands_of(lab)
        for number in range(3_000):
            commands.hear(command(f"c{number}", "abort", "mallory", all=True))
        await asyncio.sleep(0.5)
        answered = await lab.journal.events(kinds={"command.answered"})
        assert 1_000 <= len(answered) <= 1_010
        assert lab.press.safe == []


async def test_answers_that_nobody_takes_are_bounded(tmp_path: Path) -> None:
    async with hearing(tmp_path, EMBEDDED) as lab, commander(lab.port) as eva:
        await eva.give("c1", "hold", arguments={"all": True})
        await eva.answered("c1", 2)
        commands = commands_of(lab)
        for _ in range(10_000):
            commands.hear(command("c1", "hold", all=True))
        assert len(commands._replies) <= limits.ANSWERS + 1


async def test_the_end_of_one_too_many_is_not_waited_for_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with hearing(tmp_path, EMBEDDED) as lab, commander(lab.port) as eva:
        monkeypatch.setattr(limits, "ENDS", 0)
        await eva.give("c1", "start", arguments={"protocol": WAITING})
        (told,) = await eva.answered("c1")
        assert (told["state"], "wait for their ends" in told["reason"]) == ("rejected", True)
        await eva.give("c2", "abort", arguments={"all": True})
        accepted, failed = await eva.answered("c2", 2)
        assert (accepted["state"], failed["state"]) == ("accepted", "failed")
        assert "it has its order" in failed["reason"]


async def test_none_is_forgotten_while_it_could_still_be_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "MOST_KEPT", 3)
    async with hearing(tmp_path, EMBEDDED) as lab, commander(lab.port) as eva:
        for number in range(3):
            await eva.give(f"c{number}", "cancel", arguments={"job": "job-0001"})
            await eva.answered(f"c{number}")
        await eva.give("c3", "cancel", arguments={"job": "job-0001"})
        (told,) = await eva.answered("c3")
        assert "too many commands" in told["reason"]
        await eva.give("c4", "hold", arguments={"all": True})
        assert await eva.states("c4", 2) == ["accepted", "done"]
        await asyncio.sleep(60)
        await eva.give("c3", "cancel", arguments={"job": "job-0001"})
        assert "no job" in (await eva.answered("c3", 2))[-1]["reason"]


async def test_a_bucket_is_refilled_by_time() -> None:
    bucket = Bucket(2, 0.5)
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    await asyncio.sleep(2)
    assert [bucket.take() for _ in range(2)] == [True, False]


async def test_a_hand_forgets_the_names_that_strangers_give_themselves() -> None:
    hand = Hand()
    for number in range(100):
        hand.take(f"user-{number}", "start")
        hand.give_back(f"user-{number}", "start")
    assert not hand._of


def test_an_id_is_found_at_either_end() -> None:
    assert id_in(b'{"command_id": "c-1"' + b" " * 100_000) == "c-1"
    assert id_in(b"{" + b" " * 100_000 + b'"command_id":"c-1"') == "c-1"
    assert id_in(b'{"command_id": "C 1"}') is None


def test_numbers_that_json_has_no_word_for_are_found_at_any_depth() -> None:
    assert no_number({"a": [{"b": (1.0, float("nan"))}]})
    assert not no_number({"a": [{"b": (1.0, "nan", None, True, 10**400)}]})
