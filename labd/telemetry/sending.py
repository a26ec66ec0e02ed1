"""Giving a lab one command over MQTT, as any other program would: for `labd mqtt send`."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from labd import clock
from labd.lab.access import Broker
from labd.telemetry import payloads
from labd.telemetry.client import Address, AiomqttPublisher
from labd.telemetry.publisher import Message, Session
from labd.telemetry.topics import Topics

LIFE = timedelta(seconds=20)
ENDS = ("rejected", "done", "failed")


class NoAnswerError(Exception):
    """The command was handed to the broker, and nobody has answered in its time."""


async def give(
    broker: Broker,
    lab: str,
    user: str,
    verb: str,
    arguments: Mapping[str, Any],
    told: Callable[[payloads.Reply], None] = lambda _: None,
) -> payloads.Reply:
    """Gives a command and waits for its last answer.

    Args:
        broker: where, and how to come in.
        lab: which one.
        user: who gives it: the login, where the broker has any.
        verb: of the command.
        arguments: of the verb.
        told: is handed each answer as it comes.

    Raises:
        ConnectionLost: the broker cannot be reached, or refuses the login.
        PublishRefused: it does not take the command: its ACL lets this login write no such topic.
        NoAnswerError: no lab answers before the command expires.
        ValueError: no verb of a command, or a name that cannot be part of a topic.
    """
    topics, now = Topics(lab), clock.outside()
    command = payloads.Command.model_validate(
        {
            "command_id": f"cli-{uuid.uuid4().hex[:16]}",
            "issued_at": now,
            "expires_at": now + LIFE,
            "verb": verb,
            "arguments": dict(arguments),
        }
    )
    topic = topics.command(user, verb)
    publisher = AiomqttPublisher(Address(broker, f"labd-send-{uuid.uuid4().hex[:12]}"))
    # An empty message on a command's topic means nothing to anybody: a will that this login may have.
    async with publisher.connect(Message(topic, b"", qos=0)) as session:
        await session.listen_to(topics.reply(user, command.command_id))
        await session.send(Message(topic, command.encode(), qos=1))
        return await _last(session, told)


async def _last(session: Session, told: Callable[[payloads.Reply], None]) -> payloads.Reply:
    answers = session.incoming()
    try:
        async with asyncio.timeout(clock.of_machine((LIFE + timedelta(seconds=5)).total_seconds())):
            reply = payloads.Reply.model_validate_json((await anext(answers)).payload)
    except TimeoutError:
        text = f"no answer in {LIFE.total_seconds():g} s: is labd at work and connected? The command has expired by now"
        raise NoAnswerError(text) from None
    told(reply)
    while reply.state not in ENDS:
        reply = payloads.Reply.model_validate_json((await anext(answers)).payload)
        told(reply)
    return reply
