"""The same optimiser over MQTT: it hears a campaign's ask, and answers it with the command `propose`.

    python listener.py 127.0.0.1 1883 simulated outside

The ask is retained: who connects later hears it all the same, and an empty message says that nothing is asked.
A command is answered on `reply/USER/COMMAND`; its id is made of the ask, so that one which is sent again is not taken
twice. Needs aiomqtt.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import aiomqtt
from tenant import propose

USER = "listener"


def command(campaign: str, ask: Mapping[str, Any], now: datetime) -> tuple[str, dict[str, Any]]:
    """The answer to an ask: its command's id, and the payload."""
    points = propose(ask)
    command_id = f"{campaign}-ask-{ask['ask']}-{ask['count']}"
    return command_id, {
        "command_id": command_id,
        "issued_at": now.isoformat(),
        "expires_at": (now + timedelta(seconds=20)).isoformat(),
        "verb": "propose",
        "arguments": {"campaign": campaign, "ask": ask["ask"], "points": points, "why": ["as told"] * len(points)},
    }


async def serve(client: aiomqtt.Client, lab: str, campaign: str) -> None:
    """Answers all asks of a campaign until it has ended."""
    prefix = f"labd/1/{lab}"
    topics = {f"{prefix}/campaign/{campaign}/ask": "ask", f"{prefix}/campaign/{campaign}/state": "state"}
    for topic in (*topics, f"{prefix}/reply/{USER}/+"):
        await client.subscribe(topic, qos=1)
    async for message in client.messages:
        if not message.payload:
            continue
        told = json.loads(message.payload)
        match topics.get(message.topic.value, "reply"):
            case "ask":
                _, payload = command(campaign, told, datetime.now(UTC))
                await client.publish(f"{prefix}/cmd/{USER}/propose", json.dumps(payload), qos=1)
            case "state" if told["state"] == "ended":
                print(f"{campaign}: {told['why']}; best {told['best']}")
                return
            case "reply" if told["state"] in ("rejected", "failed"):
                print(f"{told['command_id']}: {told['reason']}", file=sys.stderr)


async def _main(host: str, port: int, lab: str, campaign: str) -> None:
    async with aiomqtt.Client(host, port) as client:
        await serve(client, lab, campaign)


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 4:
        print("usage: listener.py HOST PORT LAB CAMPAIGN", file=sys.stderr)
        return 2
    asyncio.run(_main(arguments[0], int(arguments[1]), arguments[2], arguments[3]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
