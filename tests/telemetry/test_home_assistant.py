"""Home Assistant finds a lab: what it is told, in its own words, when, and when it is taken away again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labd.daemon import Daemon
from labd.journal import Journal
from labd.lab.bus import Alarm, Bus, DeviceAbout, QueuedJob, QueueState, RunState
from labd.lab.config import Broker, Mqtt, load_lab
from labd.telemetry.broker import EmbeddedBroker
from labd.telemetry.home_assistant import CLASSES, HomeAssistant
from labd.telemetry.publisher import Incoming, Message
from labd.telemetry.topics import Topics
from tests.telemetry import parts
from tests.telemetry.documented import Heard
from tests.telemetry.test_contract import recording

PRESS = DeviceAbout(
    "press",
    "plc_crimper",
    "crimper",
    "HSDC-20",
    "0042",
    "3.1",
    ("",),
    {},
    {"force": "kN", "plate_temperature": "°C", "guard_closed": "", "mode": "", "cycles": ""},
    {
        "force": "number",
        "plate_temperature": "number",
        "guard_closed": "boolean",
        "mode": "string",
        "cycles": "integer",
    },
    600.0,
)
TOPIC = "homeassistant/device/labd-bench/press/config"
LAB_TOPIC = "homeassistant/device/labd-bench/config"

# What Home Assistant takes for a device class (its sensor integration, "Available device classes").
TAKEN = {
    "temperature": {"°C", "°F", "K"},
    "voltage": {"V", "mV", "µV", "kV", "MV"},
    "current": {"A", "mA"},
    "power": {"mW", "W", "kW", "MW", "GW", "TW"},
    "energy_storage": {"J", "kJ", "MJ", "GJ", "mWh", "Wh", "kWh", "MWh", "GWh", "TWh", "cal", "kcal", "Mcal", "Gcal"},
    "frequency": {"Hz", "kHz", "MHz", "GHz"},
    "pressure": {"cbar", "bar", "hPa", "mmHg", "inHg", "kPa", "mbar", "Pa", "psi"},
    "weight": {"kg", "g", "mg", "µg", "oz", "lb", "st"},
    "distance": {"km", "m", "cm", "mm", "mi", "nmi", "yd", "in"},
    "duration": {"d", "h", "min", "s", "ms", "µs"},
    "volume_storage": {"L", "mL", "gal", "fl. oz.", "m³", "ft³", "CCF"},
    "speed": {"ft/s", "in/d", "in/h", "in/s", "km/h", "kn", "m/s", "mph", "mm/d", "mm/s"},
    "conductivity": {"S/cm", "mS/cm", "µS/cm"},
}


def home() -> HomeAssistant:
    return HomeAssistant(Topics("bench"), "0.1.0")


def config(messages: Iterable[Message], topic: str = TOPIC) -> Any:
    (found,) = [message for message in messages if message.topic == topic]
    assert (found.qos, found.retain) == (1, True)
    return json.loads(found.payload)


def components(about: DeviceAbout) -> dict[str, Any]:
    return dict(config(home().take(about))["cmps"])


# ── what it is told ──────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_device_is_told_with_its_lab_and_who_says_so() -> None:
    told = config(home().take(PRESS))
    assert told["dev"] == {
        "identifiers": ["labd.bench.press"],
        "name": "bench press",
        "manufacturer": "plc_crimper",
        "model": "HSDC-20",
        "serial_number": "0042",
        "sw_version": "3.1",
        "via_device": "labd.bench",
    }
    assert told["o"] == {"name": "labd", "sw_version": "0.1.0"}
    assert told["availability"] == [
        {
            "topic": "labd/1/bench/status",
            "value_template": "{{ 'online' if value_json.state == 'online' else 'offline' }}",
            "payload_available": "online",
            "payload_not_available": "offline",
        }
    ]


def test_a_signal_is_a_sensor_with_its_unit_and_only_a_class_that_takes_it() -> None:
    told = components(PRESS)
    assert told["signal.force"] == {
        "p": "sensor",
        "name": "force",
        "unique_id": "labd.bench.press.signal.force",
        "state_topic": "labd/1/bench/device/press/signal",
        "value_template": "{% set read = value_json['values'].get('force', {'q': 'bad'}) %}"
        "{{ read.v if read.q == 'good' else none }}",
        "unit_of_measurement": "kN",
        "state_class": "measurement",
        "expire_after": 1800,
    }
    warm = told["signal.plate_temperature"]
    assert (warm["device_class"], warm["unit_of_measurement"], warm["name"]) == (
        "temperature",
        "°C",
        "plate temperature",
    )


def test_what_is_no_number_is_a_switch_or_a_text() -> None:
    told = components(PRESS)
    assert told["signal.guard_closed"]["p"] == "binary_sensor"
    assert (
        "{{ ('ON' if read.v else 'OFF') if read.q == 'good' else none }}"
        in (told["signal.guard_closed"]["value_template"])
    )
    assert "state_class" not in told["signal.guard_closed"]
    assert told["signal.mode"].keys().isdisjoint({"state_class", "unit_of_measurement", "device_class"})
    assert told["signal.cycles"]["state_class"] == "measurement"


def test_the_health_of_a_device_is_a_problem_or_none_and_its_words_are_attributes() -> None:
    assert components(PRESS)["health"] == {
        "p": "binary_sensor",
        "name": "problem",
        "unique_id": "labd.bench.press.health",
        "state_topic": "labd/1/bench/device/press/state",
        "value_template": "{{ 'OFF' if value_json.health == 'ok' else 'ON' }}",
        "device_class": "problem",
        "entity_category": "diagnostic",
        "json_attributes_topic": "labd/1/bench/device/press/state",
    }


def test_a_device_of_several_units_has_the_signals_of_each() -> None:
    told = components(replace(PRESS, units=("1", "2"), signals={"voltage": "V"}, types={"voltage": "number"}))
    assert told.keys() == {"health", "signal.1.voltage", "signal.2.voltage"}
    assert "get('2.voltage', {'q': 'bad'})" in told["signal.2.voltage"]["value_template"]
    assert told["signal.2.voltage"]["name"] == "2 voltage"


def test_units_are_written_as_home_assistant_writes_them() -> None:
    told = components(replace(PRESS, signals={"density": "g/cm^3", "viscosity": "mPa*s"}, types={}))
    assert [told[f"signal.{name}"]["unit_of_measurement"] for name in ("density", "viscosity")] == ["g/cm³", "mPa·s"]


@pytest.mark.parametrize("unit", sorted(CLASSES))
def test_a_class_is_only_given_with_a_unit_that_home_assistant_takes_for_it(unit: str) -> None:
    assert unit in TAKEN[CLASSES[unit]]


def test_a_difference_of_temperatures_is_no_temperature() -> None:
    assert "device_class" not in components(replace(PRESS, signals={"drift": "K"}, types={}))["signal.drift"]


def test_ids_are_never_the_same_and_never_change() -> None:
    one = HomeAssistant(Topics("a_b"), "1")
    other = HomeAssistant(Topics("a"), "2")
    told = [
        *one.take(replace(PRESS, device="c")),
        *other.take(replace(PRESS, device="b_c")),
        *other.take(replace(PRESS, device="lab")),
        *one.begin(),
        *other.begin(),
    ]
    configs = [json.loads(message.payload) for message in told if message.topic.startswith("homeassistant/")]
    ids = [one["unique_id"] for each in configs for one in each["cmps"].values()]
    assert len(ids) == len(set(ids)) == 3 * 6 + 2 * 7
    assert len({message.topic for message in told}) == len(told)
    again = [message.payload for message in HomeAssistant(Topics("a_b"), "1").take(replace(PRESS, device="c"))]
    assert again == [told[0].payload]


def test_the_topic_is_one_that_home_assistant_reads() -> None:
    pattern = re.compile(r"(?P<component>\w+)/(?:(?P<node>[a-zA-Z0-9_-]+)/)?(?P<object>[a-zA-Z0-9_-]+)/config")
    for topic in (TOPIC, LAB_TOPIC):
        assert pattern.fullmatch(topic.removeprefix("homeassistant/"))


def test_the_lab_itself_is_a_device_with_what_it_is_at() -> None:
    told = config(home().begin(), LAB_TOPIC)
    assert told["dev"]["identifiers"] == ["labd.bench"]
    assert told["cmps"].keys() == {"daemon", "safe_mode", "alarm", "runs", "held", "questions", "waiting"}
    daemon = told["cmps"]["daemon"]
    assert (daemon["device_class"], daemon["state_topic"]) == ("connectivity", "labd/1/bench/status")
    assert "availability" not in told  # else it could not say that the daemon is gone
    assert "availability" not in daemon
    assert told["cmps"]["runs"]["availability"][0]["topic"] == "labd/1/bench/status"
    assert told["cmps"]["alarm"]["device_class"] == "problem"


# ── the lab in numbers ───────────────────────────────────────────────────────────────────────────────────────────────
def test_runs_questions_jobs_and_alarms_are_counted() -> None:
    counting = home()
    told: list[Any] = []

    def take(*happenings: RunState | QueueState | Alarm) -> Any:
        for one in happenings:
            told.extend(json.loads(message.payload) for message in counting.take(one))
        return told[-1]

    run = parts.run_state()
    held = replace(run, run="r2", state="Held", question={"id": "q1"})
    assert take(run, held).items() >= {"runs": 2, "held": 1, "questions": 1}.items()
    assert take(replace(held, state="Complete", ended="2026-03-02T09:15:04Z", question=None))["runs"] == 1
    jobs = tuple(
        QueuedJob(f"j{n}", "b", state, "p", "s", 0, run, None)
        for n, (state, run) in enumerate([("Running", "r1"), ("Waiting", None), ("Held", None)])
    )
    assert take(QueueState(jobs, 5, "lunch")).items() >= {"waiting": 7, "paused": "lunch"}.items()
    assert [one["text"] for one in take(parts.alarm())["alarms"]] == ["the press does not answer"]
    assert take(parts.alarm(ended=True))["alarms"] == []


def test_what_counts_the_same_is_not_told_again() -> None:
    counting = home()
    assert len(list(counting.take(parts.run_state()))) == 1
    assert list(counting.take(replace(parts.run_state(), progress=0.5))) == []
    assert list(counting.take(parts.device_state())) == []


def test_of_many_alarms_the_first_are_told_and_the_rest_counted() -> None:
    counting = home()
    for number in range(25):
        (*_, last) = counting.take(replace(parts.alarm(), id=f"a{number}"))
    told = json.loads(last.payload)
    assert (len(told["alarms"]), told["more_alarms"]) == (20, 5)


# ── when ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_device_is_told_again_when_it_says_otherwise_of_itself() -> None:
    telling = home()
    assert len(list(telling.take(PRESS))) == 1
    assert list(telling.take(PRESS)) == []
    assert config(telling.take(replace(PRESS, firmware="3.2")))["dev"]["sw_version"] == "3.2"


def test_all_is_told_again_when_home_assistant_starts() -> None:
    telling = home()
    list(telling.take(PRESS))
    list(telling.begin())
    again = list(telling.hear(Incoming("homeassistant/status", b"online")))
    assert {message.topic for message in again} == {TOPIC, LAB_TOPIC}
    assert list(telling.hear(Incoming("homeassistant/status", b"offline"))) == []


@pytest.mark.parametrize("first", ["config", "device"])
def test_a_signal_that_a_device_has_no_more_is_taken_away(first: str) -> None:
    earlier = next(iter(home().take(replace(PRESS, signals={**PRESS.signals, "ram": "mm"})))).payload
    standing = Incoming(TOPIC, earlier, retained=True)
    telling = home()
    heard = [*telling.hear(standing)] if first == "config" else []
    told = [*heard, *telling.take(PRESS), *telling.hear(standing)]
    last = json.loads(told[-1].payload)
    assert last["cmps"]["signal.ram"] == {"p": "sensor"}
    assert "signal.force" in last["cmps"]
    assert list(telling.hear(Incoming(TOPIC, told[-1].payload, retained=True))) == []  # our own word
    next_life = home()
    list(next_life.hear(Incoming(TOPIC, told[-1].payload, retained=True)))
    assert "signal.ram" not in config(next_life.take(PRESS))["cmps"]


@pytest.mark.parametrize("payload", [b"", b"no JSON", b"[]", b'{"cmps": 1}', b'{"cmps": {"a": {}}}', b"\xff"])
def test_what_somebody_else_put_there_harms_nothing(payload: bytes) -> None:
    telling = home()
    list(telling.hear(Incoming(TOPIC, payload, retained=True)))
    assert config(telling.take(PRESS))["dev"]["name"] == "bench press"


# ── at the broker ────────────────────────────────────────────────────────────────────────────────────────────────────
def at(port: int, *, home_assistant: bool) -> Mqtt:
    return Mqtt(broker=Broker(host="127.0.0.1", port=port), home_assistant=home_assistant)


def discovery(heard: Iterable[Heard]) -> list[Heard]:
    return [one for one in heard if one.topic.startswith("homeassistant/device/")]


async def standing(port: int) -> set[str]:
    """The discovery topics at which something stands."""
    async with recording(port) as heard, parts.watching(port, "lab") as watcher:
        await watcher.first("status")
    return {one.topic for one in discovery(heard) if one.retained and one.payload}


async def test_it_is_told_at_each_connection_and_taken_away_when_switched_off(bus: Bus, journal: Journal) -> None:
    async with EmbeddedBroker() as broker, recording(broker.port) as heard:
        for boot in ("boot-1", "boot-2"):
            heard.clear()
            async with parts.telling(at(broker.port, home_assistant=True), bus, journal, boot) as telemetry:
                bus.tell(parts.ABOUT)
                await parts.connected(telemetry)
            topics = {"homeassistant/device/labd-lab/press/config", "homeassistant/device/labd-lab/config"}
            assert {one.topic for one in discovery(heard)} == topics
        assert await standing(broker.port) == topics
        async with parts.telling(at(broker.port, home_assistant=False), bus, journal, "boot-3") as telemetry:
            bus.tell(parts.ABOUT)
            await parts.connected(telemetry)
        assert await standing(broker.port) == set()


async def test_switched_off_nothing_is_told(bus: Bus, journal: Journal) -> None:
    async with EmbeddedBroker() as broker, recording(broker.port) as heard:
        async with parts.telling(at(broker.port, home_assistant=False), bus, journal) as telemetry:
            bus.tell(parts.ABOUT)
            bus.tell(parts.run_state())
            await parts.connected(telemetry)
        assert any(one.topic == "labd/1/lab/device/press/about" for one in heard)
        assert discovery(heard) == []
        assert not [one for one in heard if one.topic.endswith("/summary")]


async def test_a_device_that_has_left_lab_yaml_is_taken_away(bus: Bus, journal: Journal) -> None:
    async with EmbeddedBroker() as broker:
        for device in ("press", "other"):
            async with parts.telling(at(broker.port, home_assistant=True), Bus(), journal, device) as telemetry:
                telemetry.take(replace(parts.ABOUT, device=device))
                await parts.connected(telemetry)
        left = {"homeassistant/device/labd-lab/other/config", "homeassistant/device/labd-lab/config"}
        assert await standing(broker.port) == left


LAB = """\
labd: 1
lab: bench
store: store
clock: virtual
mqtt: {broker: embedded, port: 0, home_assistant: true}
devices:
  press:
    driver: plc_crimper
    settings: {address: "modbus://127.0.0.1:0", profile: handshake}
    simulator: {}
"""


async def test_the_signals_of_a_real_driver_have_their_types(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(LAB)
    daemon = Daemon(load_lab(path))
    async with daemon.open():
        await daemon.lab.devices["press"].wait_ready()
        told = components(daemon.lab.devices["press"].describe())
    kinds = {key: (one["p"], one.get("unit_of_measurement")) for key, one in told.items()}
    assert kinds == {
        "health": ("binary_sensor", None),
        "signal.force": ("sensor", "kN"),
        "signal.ram": ("sensor", "mm"),
        "signal.guard_closed": ("binary_sensor", None),
        "signal.estop": ("binary_sensor", None),
        "signal.cycles": ("sensor", None),
    }
    assert told["signal.ram"]["device_class"] == "distance"
    assert told["signal.force"]["expire_after"] == 60
