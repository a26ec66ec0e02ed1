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

Platform = Literal["sensor", "binary_sensor"]

DISCOVERY = "homeassistant/device/"
DEVICE = f"{DISCOVERY}labd-{{lab}}/{{device}}/config"
LAB = f"{DISCOVERY}labd-{{lab}}/config"
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
GOOD = "{% set read = value_json['values'].get('NAME', {'q': 'bad'}) %}{{ SAID if read.q == 'good' else none }}"


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

    platform: Platform = Field(alias="p")
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

    What was told of a device that has left the lab, or before `mqtt.home_assistant` was switched off, is nobody's any
    more, and is taken away as such (`labd.telemetry.sweep`).
    """

    def __init__(self, topics: Topics, version: str) -> None:
        self._topics = topics
        self._origin = Origin(sw_version=version)
        self._configs: dict[str, Discovery] = {}  # by topic
        self._before: dict[str, dict[str, Platform]] = {}  # of earlier configs: platforms of entities, by topic
        self._runs: dict[str, RunState] = {}  # that have not ended
        self._alarms: dict[str, Alarm] = {}
        self._queue: QueueState | None = None
        self._counted: object = None

    # ── what the lab tells ───────────────────────────────────────────────────────────────────────────────────────
    def begin(self) -> Iterator[Message]:
        """The lab itself, once it is told of all that it has."""
        yield from self._tell(self._topics.discovery, self._lab())
        yield from self._count()

    def take(self, happening: Happening) -> Iterator[Message]:
        """What a happening changes."""
        match happening:
            case DeviceAbout():
                yield from self._tell(self._topics.device_discovery(happening.device), self._device(happening))
                return
            case RunState(ended=None):
                self._runs[happening.run] = happening
            case RunState():
                self._runs.pop(happening.run, None)
            case QueueState():
                self._queue = happening
            case Alarm(ended=True):
                self._alarms.pop(happening.id, None)
            case Alarm():
                self._alarms[happening.id] = happening
            case _:
                return
        yield from self._count()

    def hear(self, incoming: Incoming) -> Iterator[Message]:
        """What a message asks for: Home Assistant has started, or holds an earlier config."""
        if incoming.topic == STATUS:
            if incoming.payload == b"online":
                yield from (_retained(topic, config.encode()) for topic, config in self._configs.items())
        elif incoming.retained and incoming.payload and incoming.topic.startswith(DISCOVERY):
            self._before[incoming.topic] = _platforms(incoming.payload)
            if incoming.topic in self._configs:
                yield from self._tell(incoming.topic, self._configs[incoming.topic])

    def _tell(self, topic: str, config: Discovery) -> Iterator[Message]:
        """A config, with what an earlier one had and this has not: Home Assistant would keep that for ever."""
        before = self._before.get(topic, {}).items()
        gone = {key: Component(platform=platform) for key, platform in before if key not in config.components}
        config = config.model_copy(update={"components": {**config.components, **gone}})
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


def _platforms(payload: bytes) -> dict[str, Platform]:
    """Platforms of the entities of an earlier config, those left out that it took away itself."""
    try:
        found = json.loads(payload)["cmps"]
        return {key: one["p"] for key, one in found.items() if len(one) > 1 and one["p"] in ("sensor", "binary_sensor")}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}
