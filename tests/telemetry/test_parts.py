"""Topics, payloads and queues: no broker needed."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from labd.telemetry import payloads
from labd.telemetry.outgoing import Retained
from labd.telemetry.publisher import Backoff, Message
from labd.telemetry.topics import TopicError, Topics


def test_topics_are_those_of_the_contract() -> None:
    topics = Topics("glovebox-2")
    assert topics.status == "labd/1/glovebox-2/status"
    assert topics.device_signal("stat1") == "labd/1/glovebox-2/device/stat1/signal"
    assert topics.run_event("r-7") == "labd/1/glovebox-2/run/r-7/event"
    assert topics.command("mk", "hold") == "labd/1/glovebox-2/cmd/mk/hold"
    assert topics.reply("mk", "c1") == "labd/1/glovebox-2/reply/mk/c1"


@pytest.mark.parametrize("bad", ["", "Press", "a/b", "#", "+", "x" * 65, "käse", "a\n"])
def test_a_name_that_would_change_the_topic_is_refused(bad: str) -> None:
    with pytest.raises(TopicError, match="cannot be part of a topic"):
        Topics("lab").device_state(bad)
    with pytest.raises(TopicError):
        Topics(bad)


def command(life: float) -> dict[str, Any]:
    issued = datetime(2026, 1, 1, tzinfo=UTC)
    expires = issued + timedelta(seconds=life)
    return {"command_id": "c1", "issued_at": issued.isoformat(), "expires_at": expires.isoformat(), "verb": "hold"}


def test_a_command_lives_for_30_s_at_most() -> None:
    assert payloads.Command.model_validate(command(30)).verb == "hold"
    for life in (30.001, 0, -1):
        with pytest.raises(ValidationError, match="30 s at most"):
            payloads.Command.model_validate(command(life))


def test_a_value_that_is_no_number_is_null_in_json() -> None:
    assert payloads.Value(v=math.nan, u="V", q="bad").encode() == b'{"v":null,"u":"V","q":"bad"}'


def test_a_payload_takes_no_field_that_the_contract_does_not_know() -> None:
    with pytest.raises(ValidationError, match="extra"):
        payloads.LastWill.model_validate({"boot_id": "b", "at": "2026-01-01T00:00:00Z"})


async def test_of_a_retained_topic_only_the_last_message_goes_out() -> None:
    retained = Retained()
    for topic, payload in (("a", b"1"), ("b", b"1"), ("a", b"2")):
        retained.put(Message(topic, payload, retain=True))
    assert [(await retained.get()).payload for _ in range(2)] == [b"2", b"1"]
    retained.tell_all_anew()
    assert retained.waiting == 2


async def test_a_cleared_topic_is_told_until_the_broker_has_it_and_then_forgotten() -> None:
    retained = Retained()
    retained.put(Message("a", b"1", retain=True))
    retained.clear("a")
    retained.tell_all_anew()  # the connection was lost in between
    message = await retained.get()
    assert (message.payload, message.retain) == (b"", True)
    retained.told(message)
    retained.tell_all_anew()
    assert retained.waiting == 0


def test_waits_grow_stay_bounded_and_start_anew_after_a_good_connection() -> None:
    backoff = Backoff(least=0.5, greatest=30)
    waits = [backoff.ended(lived=0) for _ in range(12)]
    assert 0.25 <= waits[0] <= 0.5
    assert all(15 <= wait <= 30 for wait in waits[-3:])
    assert backoff.ended(lived=3600) <= 0.5
