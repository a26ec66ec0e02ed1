"""The topics of the MQTT contract, version 1, as pure functions: `labd/1/<lab>/…`.

They are those of `labd.telemetry.contract`; here they are built for each message, which a template would make slower.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

VERSION = 1
ID = re.compile(r"[a-z0-9_-]{1,64}")
STANDING = re.compile(r"device/[^/]+/(about|state)|run/[^/]+/state|queue|summary|alarm/[^/]+")


class TopicError(ValueError):
    """A name that cannot be part of a topic."""


def _id(name: str) -> str:
    if not ID.fullmatch(name):
        raise TopicError(f"{name!r} cannot be part of a topic: ids are 1 to 64 of a-z, 0-9, _ and -")
    return name


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one lab. Every method raises TopicError for an id that does not fit `[a-z0-9_-]{1,64}`."""

    lab: str

    def __post_init__(self) -> None:
        _id(self.lab)

    @property
    def prefix(self) -> str:
        return f"labd/{VERSION}/{self.lab}"

    @property
    def status(self) -> str:
        return f"{self.prefix}/status"

    @property
    def queue(self) -> str:
        return f"{self.prefix}/queue"

    @property
    def summary(self) -> str:
        return f"{self.prefix}/summary"

    def device_about(self, device: str) -> str:
        return f"{self.prefix}/device/{_id(device)}/about"

    def device_state(self, device: str) -> str:
        return f"{self.prefix}/device/{_id(device)}/state"

    @lru_cache(maxsize=4096)  # noqa: B019 - one a lab, and asked for with every poll
    def device_signal(self, device: str) -> str:
        return f"{self.prefix}/device/{_id(device)}/signal"

    def run_state(self, run: str) -> str:
        return f"{self.prefix}/run/{_id(run)}/state"

    def run_event(self, run: str) -> str:
        return f"{self.prefix}/run/{_id(run)}/event"

    def alarm(self, alarm: str) -> str:
        return f"{self.prefix}/alarm/{_id(alarm)}"

    @property
    def standing(self) -> tuple[str, ...]:
        """The patterns of what is retained, but for `status`."""
        patterns = ("device/+/about", "device/+/state", "run/+/state", "queue", "summary", "alarm/+")
        return (*(f"{self.prefix}/{pattern}" for pattern in patterns), f"{self._discovery}/#")

    def stands(self, topic: str) -> bool:
        """Whether a topic is one of those of `standing`."""
        if topic.startswith(f"{self._discovery}/"):
            return True
        own, _, rest = topic.partition(f"{self.prefix}/")
        return not own and STANDING.fullmatch(rest) is not None

    @property
    def _discovery(self) -> str:
        return f"homeassistant/device/labd-{self.lab}"

    @property
    def discovery(self) -> str:
        """Where Home Assistant is told of the lab."""
        return f"{self._discovery}/config"

    def device_discovery(self, device: str) -> str:
        """Where Home Assistant is told of a device."""
        return f"{self._discovery}/{_id(device)}/config"

    @property
    def commands(self) -> str:
        """The pattern of all commands, to subscribe to."""
        return f"{self.prefix}/cmd/+/+"

    def commanded(self, topic: str) -> tuple[str, str]:
        """User and verb of a command's topic. Raises TopicError for any other."""
        user, _, verb = topic.removeprefix(f"{self.prefix}/cmd/").partition("/")
        if topic != self.command(user, verb):
            raise TopicError(f"{topic!r} is no topic of a command")
        return user, verb

    def command(self, user: str, verb: str) -> str:
        return f"{self.prefix}/cmd/{_id(user)}/{_id(verb)}"

    def reply(self, user: str, command_id: str) -> str:
        return f"{self.prefix}/reply/{_id(user)}/{_id(command_id)}"
