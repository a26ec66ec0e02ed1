"""The MQTT contract in one table: who sends what where, and how.

`labd schema --mqtt`, the JSON Schemas and docs/reference/mqtt.md are made of it; tests hold what goes over the wire
against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, RootModel, create_model

from labd.telemetry import described, home_assistant, payloads
from labd.telemetry.topics import VERSION

Sender = Literal["daemon", "client", "home assistant"]

PREFIX = f"labd/{VERSION}/{{lab}}"

PARAMETERS: Mapping[str, str] = {
    "lab": "The lab, as lab.yaml calls it.",
    "device": "A device's id in lab.yaml.",
    "run": "A run's id: run-0001.",
    "campaign": "A campaign's id: its name, or with `-2` the second of that name.",
    "alarm": "An alarm's id.",
    "user": "Who gives the command. A broker with an ACL binds it to the login.",
    "command_id": "The command's own id.",
}
"""What stands in braces in an address. All match `[a-z0-9_-]{1,64}`."""


@dataclass(frozen=True, slots=True)
class Said:
    """A message of a channel. Without a model it is empty: the broker then forgets what it retained there."""

    name: str
    model: type[BaseModel] | None
    summary: str = ""

    @property
    def content(self) -> str:
        """The media type."""
        if self.model is None:
            return "application/octet-stream"
        return "text/plain" if issubclass(self.model, RootModel) else "application/json"

    @property
    def told(self) -> str:
        """What it says, in a sentence or two."""
        return self.summary or " ".join((self.model.__doc__ or "").split() if self.model else ())


@dataclass(frozen=True, slots=True)
class Channel:
    """A topic with all that goes over it; None is an address that only the asker knows.

    `cleared` says when an empty message takes away what is retained.
    """

    name: str
    address: str | None
    sender: Sender
    qos: Literal[0, 1]
    retained: bool
    said: tuple[Said, ...]
    summary: str = ""
    cleared: str = ""
    verb: str | None = None

    @property
    def messages(self) -> tuple[Said, ...]:
        """All messages, with the empty one."""
        if not self.cleared:
            return self.said
        empty = Said(f"{self.name}_cleared", None, f"Empty: the broker forgets the retained message, {self.cleared}.")
        return (*self.said, empty)


def _told(
    name: str,
    address: str,
    model: type[BaseModel],
    *more: Said,
    qos: Literal[0, 1] = 1,
    retained: bool = True,
    cleared: str = "",
) -> Channel:
    """What the daemon tells of its lab."""
    said = (Said(name, model), *more)
    return Channel(name, f"{PREFIX}/{address}", "daemon", qos, retained, said, cleared=cleared)


def _command(verb: payloads.Verb) -> type[payloads.Command]:
    """The command of one verb: the same for all, with the verb's own arguments."""
    orders = payloads.ORDERS[verb]
    word: Any = Literal[verb]
    return create_model(
        f"{verb.capitalize()}Command",
        __base__=payloads.Command,
        __doc__=orders.__doc__,
        verb=(word, ...),
        arguments=(orders, ...),
    )


COMMANDS: Mapping[str, type[payloads.Command]] = {verb: _command(verb) for verb in payloads.ORDERS}
"""By verb: the whole payload. The daemon reads `payloads.Command` first, to answer also what is only half right."""

STATES = "once the device has left lab.yaml"
_ORDER = " ".join((payloads.Command.__doc__ or "").split())
_REPLY = Said("reply", described.Reply)

CHANNELS: tuple[Channel, ...] = (
    _told("status", "status", payloads.Status, Said("lost", payloads.LastWill)),
    _told("device_about", "device/{device}/about", described.About, cleared=STATES),
    _told("device_state", "device/{device}/state", payloads.State, cleared=STATES),
    _told("device_signal", "device/{device}/signal", payloads.Signal, qos=0, retained=False),
    _told("run_state", "run/{run}/state", payloads.Run, cleared="24 h after the run's end"),
    _told("run_event", "run/{run}/event", payloads.RunEvent, retained=False),
    _told("queue", "queue", payloads.Queue),
    _told("campaign_state", "campaign/{campaign}/state", payloads.Campaign, cleared="24 h after the campaign's end"),
    _told("campaign_ask", "campaign/{campaign}/ask", payloads.CampaignAsk, cleared="while nothing is asked"),
    _told("alarm", "alarm/{alarm}", payloads.Alarm, cleared="when the alarm ends"),
    _told("summary", "summary", payloads.Summary, cleared="where `mqtt.home_assistant` is off"),
    *(
        Channel(verb, f"{PREFIX}/cmd/{{user}}/{verb}", "client", 1, False, (Said(verb, model),), _ORDER, verb=verb)
        for verb, model in COMMANDS.items()
    ),
    _told("reply", "reply/{user}/{command_id}", described.Reply, retained=False),
    Channel(
        "response",
        None,
        "daemon",
        1,
        False,
        (_REPLY,),
        summary="The same answer, to the response topic that an MQTT 5 client gave, with its correlation data; not to "
        "topics below homeassistant/, and of those below labd/ only to the user's own reply/.",
    ),
    Channel(
        "home_assistant_device",
        home_assistant.DEVICE,
        "daemon",
        1,
        True,
        (Said("home_assistant_device", home_assistant.Discovery),),
        summary="What Home Assistant shows of a device; only with `mqtt.home_assistant: true`.",
        cleared="once the device has left lab.yaml, or where `mqtt.home_assistant` is off",
    ),
    Channel(
        "home_assistant_lab",
        home_assistant.LAB,
        "daemon",
        1,
        True,
        (Said("home_assistant_lab", home_assistant.Discovery),),
        summary="What Home Assistant shows of the lab itself; only with `mqtt.home_assistant: true`.",
        cleared="where `mqtt.home_assistant` is off",
    ),
    Channel(
        "home_assistant_status",
        home_assistant.STATUS,
        "home assistant",
        1,
        False,
        (Said("home_assistant_status", home_assistant.Birth),),
        summary="Home Assistant has started, or ends; on `online` the configs are sent again.",
    ),
)
