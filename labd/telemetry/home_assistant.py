"""Home Assistant finds the lab by itself: MQTT discovery, one config a device and one for the lab.

The topics and words are Home Assistant's (integration MQTT, "Device discovery payload"). A unit is given a device class
only where Home Assistant takes that unit for it; every other unit stands as it is. Home Assistant has no word for the
quality of a value: one that is not good is shown as unknown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from labd import clock
from labd.lab.bus import Alarm, DeviceAbout, Happening, QueueState, RunState
from labd.telemetry import payloads
from labd.telemetry.publisher import Incoming, Message
from labd.telemetry.topics import Topics

DEVICE = "homeassistant/device/labd-{lab}/{device}/config"
LAB = "homeassistant/device/labd-{lab}/config"
STATUS = "homeassistant/status"

LEAST_EXPIRY = 60  # s
MISSED = 3  # polls that may be lost before a value is no longer believed
MOST_ALARMS = 20

CLASSES: Mapping[str, str] = {
    **dict.fromkeys(("°C",), "temperature"),  # not K, which is a difference to labd
    **dict.fromkeys(("V", "mV"), "voltage"),
    **dict.fromkeys(("A", "mA"), "current"),
    **dict.fromkeys(("W", "kW"), "power"),
    **dict.fromkeys(("Wh", "kWh"), "energy_storage"),
    **dict.fromkeys(("Hz", "kHz"), "frequency"),
    **dict.fromkeys(("mbar", "bar", "Pa", "hPa", "kPa"), "pressure"),
    **dict.fromkeys(("g", "kg", "mg"), "weight"),
    **dict.fromkeys(("mm", "cm", "m"), "distance"),
    **dict.fromkeys(("s", "min", "h"), "duration"),
    **dict.fromkeys(("mL", "L"), "volume_storage"),
    **dict.fromkeys(("mm/s", "m/s"), "speed"),
    **dict.fromkeys(("S/cm", "mS/cm"), "conductivity"),
}
"""Home Assistant's device class by unit, for what is measured and goes up and down."""

ONLINE = "{{ 'online' if value_json.state == 'online' else 'offline' }}"
GOOD = "{% set read = value_json['values'].get('NAME', {}) %}{{ SAID if read.q == 'good' else none }}"


class _Words(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Shown(_Words):
    """A device in Home Assistant's list."""

    identifiers: tuple[str, ...]
    name: str
    manufacturer: str | None = None
    model: str | None = None
    serial_number: str | None = None
    sw_version: str | None = None
    via_device: str | None = None


class Origin(_Words):
    """Who publishes the config."""

    name: str = "labd"
    sw_version: str


class Availability(_Words):
    """Where it stands whether anything is told at all."""

    topic: str
    value_template: str = ONLINE
    payload_available: str = "online"
    payload_not_available: str = "offline"


class Component(_Words):
    """An entity of a device. One with a platform alone is taken away."""

    platform: Literal["sensor", "binary_sensor"] = Field(alias="p")
    name: str | None = None
    unique_id: str | None = None
    state_topic: str | None = None
    value_template: str | None = None
    unit_of_measurement: str | None = None
    device_class: str | None = None
    state_class: Literal["measurement"] | None = None
    entity_category: Literal["diagnostic"] | None = None
    expire_after: int | None = None
    json_attributes_topic: str | None = None
    json_attributes_template: str | None = None
    availability: tuple[Availability, ...] | None = None


class Discovery(_Words):
    """A config in Home Assistant's words: `dev` is the device, `o` who says it, `cmps` its entities."""

    device: Shown = Field(alias="dev")
    origin: Origin = Field(alias="o")
    components: Mapping[str, Component] = Field(alias="cmps")
    availability: tuple[Availability, ...] | None = None
    qos: Literal[0, 1] = 1

    def encode(self) -> bytes:
        """The payload as it goes over the wire."""
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()


class Birth(RootModel[Literal["online", "offline"]]):
    """Home Assistant's birth and last will, as plain text."""


class HomeAssistant:
    """Makes of the lab's happenings what Home Assistant is told. All that it yields is to be retained.

    Args:
        on: `mqtt.home_assistant`. Off, it only takes away what was told before.
    """

    def __init__(self, topics: Topics, version: str, *, on: bool) -> None:
        self._topics = topics
        self._origin = Origin(sw_version=version)
        self._on = on
        self._configs: dict[str, Discovery] = {}  # by topic
        self._runs: dict[str, RunState] = {}  # that have not ended
        self._alarms: dict[str, Alarm] = {}
        self._queue: QueueState | None = None
        self._counted: object = None
        own = f"homeassistant/device/labd-{topics.lab}/#"
        self.patterns = (own, topics.summary, *((STATUS,) if on else ()))

    # ── what the lab tells ───────────────────────────────────────────────────────────────────────────────────────
    def begin(self) -> Iterator[Message]:
        """The lab itself; for a connection's begin."""
        if self._on:
            yield from self._tell(LAB.format(lab=self._topics.lab), self._lab())
            yield from self._count()

    def take(self, happening: Happening) -> Iterator[Message]:
        """What a happening changes."""
        if not self._on:
            return
        match happening:
            case DeviceAbout():
                topic = DEVICE.format(lab=self._topics.lab, device=happening.device)
                yield from self._tell(topic, self._device(happening))
            case RunState(ended=None):
                self._runs[happening.run] = happening
                yield from self._count()
            case RunState():
                self._runs.pop(happening.run, None)
                yield from self._count()
            case QueueState():
                self._queue = happening
                yield from self._count()
            case Alarm(ended=True):
                self._alarms.pop(happening.id, None)
                yield from self._count()
            case Alarm():
                self._alarms[happening.id] = happening
                yield from self._count()

    def hear(self, incoming: Incoming) -> Iterator[Message]:
        """What a message of one of the `patterns` asks for."""
        if incoming.topic == STATUS:
            if self._on and incoming.payload == b"online":
                yield from (_retained(topic, config.encode()) for topic, config in self._configs.items())
        elif incoming.payload and incoming.topic == self._topics.summary:
            if not self._on:
                yield _retained(incoming.topic, b"")
        elif incoming.payload and incoming.topic not in self._configs:
            yield _retained(incoming.topic, b"")  # of a device that has left the lab
        elif incoming.payload:
            yield from self._forget_components(incoming)

    def _forget_components(self, incoming: Incoming) -> Iterator[Message]:
        """Takes away what an earlier config had and this one has not: Home Assistant would keep it for ever."""
        config = self._configs[incoming.topic]
        gone = {
            key: Component(platform=platform)
            for key, platform in _platforms(incoming.payload).items()
            if key not in config.components
        }
        if gone:
            more = config.model_copy(update={"components": {**config.components, **gone}})
            yield from self._tell(incoming.topic, more)

    def _tell(self, topic: str, config: Discovery) -> Iterator[Message]:
        if self._configs.get(topic) != config:
            self._configs[topic] = config
            yield _retained(topic, config.encode())

    # ── configs ──────────────────────────────────────────────────────────────────────────────────────────────────
    @property
    def _id(self) -> str:
        return f"labd.{self._topics.lab}"  # a dot is in no id: no two of these are ever the same

    def _device(self, about: DeviceAbout) -> Discovery:
        own = f"{self._id}.{about.device}"
        state = self._topics.device_state(about.device)
        health = Component(
            platform="binary_sensor",
            name="problem",
            unique_id=f"{own}.health",
            state_topic=state,
            value_template="{{ 'OFF' if value_json.health == 'ok' else 'ON' }}",
            device_class="problem",
            entity_category="diagnostic",
            json_attributes_topic=state,
        )
        names = [f"{unit}.{name}" if unit else name for unit in about.units or ("",) for name in about.signals]
        return Discovery(
            device=Shown(
                identifiers=(own,),
                name=f"{self._topics.lab} {about.device}",
                manufacturer=about.driver,
                model=about.model or about.role or None,
                serial_number=about.serial or None,
                sw_version=about.firmware or None,
                via_device=self._id,
            ),
            origin=self._origin,
            components={"health": health, **{f"signal.{name}": self._signal(about, own, name) for name in names}},
            availability=self._availability(),
        )

    def _signal(self, about: DeviceAbout, own: str, name: str) -> Component:
        bare = name.rpartition(".")[2]
        unit = about.signals[bare]
        kind = about.types.get(bare, "number" if unit else "string")
        number, switch = kind in ("number", "integer"), kind == "boolean"
        said = "('ON' if read.v else 'OFF')" if switch else "read.v"
        return Component(
            platform="binary_sensor" if switch else "sensor",
            name=name.replace("_", " ").replace(".", " "),
            unique_id=f"{own}.signal.{name}",
            state_topic=self._topics.device_signal(about.device),
            value_template=GOOD.replace("NAME", name).replace("SAID", said),
            unit_of_measurement=unit.replace("^2", "²").replace("^3", "³").replace("*", "·") or None,
            device_class=CLASSES.get(unit) if number else None,
            state_class="measurement" if number else None,
            expire_after=None if about.poll is None else max(LEAST_EXPIRY, round(MISSED * about.poll)),
        )

    def _lab(self) -> Discovery:
        status, summary = self._topics.status, self._topics.summary
        daemon = Component(  # without availability: it is the one that says so
            platform="binary_sensor",
            name="daemon",
            unique_id=f"{self._id}.daemon",
            state_topic=status,
            value_template="{{ 'ON' if value_json.state == 'online' else 'OFF' }}",
            device_class="connectivity",
            entity_category="diagnostic",
        )
        safe_mode = Component(
            platform="binary_sensor",
            name="safe mode",
            unique_id=f"{self._id}.safe_mode",
            state_topic=status,
            value_template="{{ 'ON' if value_json.get('safe_mode') else 'OFF' }}",
            device_class="problem",
            entity_category="diagnostic",
            json_attributes_topic=status,
            availability=self._availability(),
        )
        alarms = Component(
            platform="binary_sensor",
            name="alarm",
            unique_id=f"{self._id}.alarm",
            state_topic=summary,
            value_template="{{ 'ON' if value_json.alarms else 'OFF' }}",
            device_class="problem",
            json_attributes_topic=summary,
            json_attributes_template="{{ {'alarms': value_json.alarms} | tojson }}",
            availability=self._availability(),
        )
        numbers = {"runs": "runs", "held": "runs held", "questions": "questions", "waiting": "jobs waiting"}
        counts = {
            key: Component(
                platform="sensor",
                name=name,
                unique_id=f"{self._id}.{key}",
                state_topic=summary,
                value_template=f"{{{{ value_json.{key} }}}}",
                state_class="measurement",
                availability=self._availability(),
            )
            for key, name in numbers.items()
        }
        return Discovery(
            device=Shown(
                identifiers=(self._id,),
                name=f"labd {self._topics.lab}",
                manufacturer="labd",
                model="labd",
                sw_version=self._origin.sw_version,
            ),
            origin=self._origin,
            components={"daemon": daemon, "safe_mode": safe_mode, "alarm": alarms, **counts},
        )

    def _availability(self) -> tuple[Availability, ...]:
        return (Availability(topic=self._topics.status),)

    # ── the lab in numbers ───────────────────────────────────────────────────────────────────────────────────────
    def _count(self) -> Iterator[Message]:
        runs, queue = self._runs.values(), self._queue
        alarms = [
            payloads.Alarm(
                severity=one.severity,
                about=one.about,
                text=one.text,
                since=one.since,
                acknowledged_by=one.acknowledged_by,
            )
            for one in self._alarms.values()
        ]
        told: dict[str, Any] = {
            "runs": len(runs),
            "held": sum(run.state in ("Held", "Suspended") for run in runs),
            "questions": sum(run.question is not None for run in runs),
            "waiting": sum(job.run is None for job in queue.jobs) + queue.more if queue else 0,
            "paused": queue.paused if queue else None,
            "alarms": tuple(alarms[:MOST_ALARMS]),
            "more_alarms": max(0, len(alarms) - MOST_ALARMS),
        }
        if told != self._counted:
            self._counted = told
            yield _retained(self._topics.summary, payloads.Summary(**told, at=clock.stamp()).encode())


def _retained(topic: str, payload: bytes) -> Message:
    return Message(topic, payload, qos=1, retain=True)


def _platforms(payload: bytes) -> dict[str, Literal["sensor", "binary_sensor"]]:
    """Platforms of the entities of an earlier config, those left out that it took away itself."""
    try:
        found = json.loads(payload)["cmps"]
        return {
            key: one["p"] for key, one in found.items() if len(one) > 1 and one["p"] in ("sensor", "binary_sensor")
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}
