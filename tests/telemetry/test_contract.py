"""The contract is one: table, topics, documents, examples, and what a running lab says over the wire."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from jsonschema import Draft7Validator, Draft202012Validator
from paho.mqtt.client import topic_matches_sub

from labd.daemon import Daemon
from labd.lab.config import load_lab
from labd.telemetry import payloads
from labd.telemetry.asyncapi import document, schema_files
from labd.telemetry.contract import CHANNELS, COMMANDS
from labd.telemetry.examples import examples
from labd.telemetry.topics import Topics
from labd.telemetry.verbs import VERBS
from tests.campaign.living import FILE, PRESS
from tests.telemetry import parts
from tests.telemetry.commanding import Commander, commander
from tests.telemetry.documented import Document, Heard, resolved

DATA = Path(__file__).parent / "data"
PARSER = Path(__file__).parents[1] / "asyncapi"
LAB = """\
labd: 1
lab: toys
store: store
clock: virtual
mqtt: {broker: embedded, port: 0, home_assistant: true}
devices:
  press:
    driver: plc_crimper
    settings: {address: "modbus://127.0.0.1:0", profile: handshake}
    poll: {idle: 1 h, busy: 10 s}
    simulator: {}
"""
PROTOCOL = """\
labd: 1
protocol: asking
version: 1.0.0
summary: Ask, open a press, and wait.
roles: {press: crimper}
start: ask
states:
  ask:
    ask: Is it clean?
    choices: {clean: open, dirty: done}
  open: {do: press.open, within: 1 h, next: wait}
  wait: {wait: 10 h, next: done}
  done: {end: complete}
"""


# ── the table ────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_topics_are_those_of_the_table() -> None:
    topics = Topics("bench")
    built = {
        "status": topics.status,
        "device_about": topics.device_about("press"),
        "device_state": topics.device_state("press"),
        "device_signal": topics.device_signal("press"),
        "run_state": topics.run_state("run-0001"),
        "run_event": topics.run_event("run-0001"),
        "queue": topics.queue,
        "campaign_state": topics.campaign_state("screening"),
        "campaign_ask": topics.campaign_ask("screening"),
        "alarm": topics.alarm("press-down"),
        "summary": topics.summary,
        **{verb: topics.command("eva", verb) for verb in COMMANDS},
        "reply": topics.reply("eva", "c1"),
        "home_assistant_device": topics.device_discovery("press"),
        "home_assistant_lab": topics.discovery,
        "home_assistant_status": "homeassistant/status",
    }
    names = {
        "lab": "bench",
        "device": "press",
        "run": "run-0001",
        "campaign": "screening",
        "alarm": "press-down",
        "user": "eva",
        "command_id": "c1",
    }
    assert built == {one.name: one.address.format(**names) for one in CHANNELS if one.address is not None}


def test_what_stands_at_the_broker_is_what_the_table_retains() -> None:
    topics = Topics("bench")
    names = {"lab": "bench", "device": "d", "run": "r", "campaign": "c", "alarm": "a", "user": "u", "command_id": "c"}
    retained = {one.address.format(**names) for one in CHANNELS if one.address is not None and one.retained}
    told = {
        one.address.format(**names)
        for one in CHANNELS
        if one.address is not None and topics.stands(one.address.format(**names))
    }
    assert told == retained - {topics.status}


def test_every_verb_is_taken_with_the_arguments_that_the_table_names() -> None:
    assert {verb: entry[0] for verb, entry in VERBS.items()} == payloads.ORDERS


def test_the_brokers_acl_lets_the_daemon_say_and_hear_all_of_it() -> None:
    deploy = Path(__file__).parents[2] / "deploy" / "mosquitto"
    lab = load_lab(deploy / "lab.yaml").lab
    (own,) = [part for part in (deploy / "acl").read_text().split("user ") if part.startswith("labd\n")]
    allowed = [line.split(" ", 2)[1:] for line in own.splitlines() if line.startswith("topic ")]
    names = {"lab": lab, "device": "d", "run": "r", "campaign": "c", "alarm": "a", "user": "eva", "command_id": "c"}
    for channel in CHANNELS:
        if channel.address is not None:
            topic, need = channel.address.format(**names), "write" if channel.sender == "daemon" else "read"
            assert any(may in (need, "readwrite") and topic_matches_sub(to, topic) for may, to in allowed), topic


# ── the document ─────────────────────────────────────────────────────────────────────────────────────────────────────
def of_one_lab(tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "lab.yaml"
    path.write_text(LAB)
    return document(load_lab(path))


@pytest.mark.parametrize("which", ["any", "one"])
def test_the_document_is_asyncapi_3(which: str, tmp_path: Path) -> None:
    schema = json.loads((DATA / "asyncapi-3.0.0.schema.json").read_text(encoding="utf-8"))
    told = document() if which == "any" else of_one_lab(tmp_path)
    assert [error.message for error in Draft7Validator(schema).iter_errors(told)] == []


def test_the_schema_of_asyncapi_finds_what_is_wrong() -> None:
    schema = json.loads((DATA / "asyncapi-3.0.0.schema.json").read_text(encoding="utf-8"))
    told = document()
    told["channels"]["status"]["adress"] = "a"
    told["operations"]["send_queue"]["bindings"]["mqtt"]["qos"] = 3
    places = {tuple(error.absolute_path)[:2] for error in Draft7Validator(schema).iter_errors(told)}
    assert places == {("channels", "status"), ("operations", "send_queue")}


PARSED = shutil.which("node") is not None and (PARSER / "node_modules").is_dir()


@pytest.mark.skipif(not PARSED, reason="no official AsyncAPI parser here: `npm ci --prefix tests/asyncapi` fetches it")
@pytest.mark.parametrize("which", ["any", "one"])
def test_the_official_parser_takes_the_document(which: str, tmp_path: Path) -> None:
    path = tmp_path / "asyncapi.json"
    path.write_text(json.dumps(document() if which == "any" else of_one_lab(tmp_path)))
    ended = subprocess.run(
        ["node", str(PARSER / "parse.mjs"), str(path)], capture_output=True, text=True, check=False, timeout=120
    )
    assert (ended.returncode, ended.stdout) == (0, f"{len(CHANNELS)} channels\n"), ended.stdout + ended.stderr


def test_every_reference_of_the_document_leads_somewhere() -> None:
    told = document()

    def walk(value: Any) -> int:
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                assert resolved(told, value) is not None
                return 1
            return sum(walk(one) for one in value.values())
        return sum(walk(one) for one in value) if isinstance(value, list) else 0

    assert walk(told) > 100


def test_every_message_has_examples_that_hold() -> None:
    told = Document(document())
    for name, message in told.document["components"]["messages"].items():
        assert message["examples"], name
        for example in message["examples"]:
            assert [error.message for error in told.validator(message["payload"]).iter_errors(example["payload"])] == []


def test_examples_hold_for_the_models_that_the_daemon_reads_with() -> None:
    for verb in COMMANDS:
        (message,) = document()["components"]["messages"][verb]["examples"]
        command = payloads.Command.model_validate(message["payload"])
        assert payloads.ORDERS[command.verb].model_validate(command.arguments)


def test_a_command_says_how_it_is_answered() -> None:
    told = document()
    start = told["operations"]["receive_start"]
    assert resolved(told, start["reply"]["channel"])["address"] == "labd/1/{lab}/reply/{user}/{command_id}"
    message = resolved(told, start["messages"][0])
    assert {"responseTopic", "correlationData"} <= message["bindings"]["mqtt"].keys()
    assert message["correlationId"] == {"location": "$message.payload#/command_id"}


def test_the_document_tells_of_the_last_will() -> None:
    for server in document()["servers"].values():
        will = server["bindings"]["mqtt"]["lastWill"]
        assert (will["topic"], will["qos"], will["retain"]) == ("labd/1/{lab}/status", 1, True)
        assert payloads.LastWill.model_validate_json(will["message"]).state == "lost"


def test_the_document_of_a_lab_has_its_names_and_its_broker(tmp_path: Path) -> None:
    told = of_one_lab(tmp_path)
    about = told["channels"]["device_about"]
    assert about["address"] == "labd/1/toys/device/{device}/about"
    assert about["parameters"]["device"]["enum"] == ["press"]
    assert told["servers"]["broker"]["protocolVersion"] == "3.1.1"


@pytest.mark.parametrize(
    ("broker", "server"),
    [
        ("broker: embedded", ("mqtt", "127.0.0.1:1883")),
        ("broker: embedded, port: 0", ("mqtt", "{host}:{port}")),
        ("broker: {host: broker.lan}", ("mqtt", "broker.lan:1883")),
        ("broker: {host: broker.lan, port: 8883, tls: {ca: ca.pem}}", ("mqtts", "broker.lan:8883")),
    ],
)
def test_the_broker_of_the_document_is_the_one_of_the_lab(broker: str, server: tuple[str, str], tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(LAB.replace("broker: embedded, port: 0", broker).replace("clock: virtual", "clock: real"))
    (tmp_path / "ca.pem").write_text("")
    told = document(load_lab(path))["servers"]["broker"]
    assert (told["protocol"], told["host"]) == server


def test_a_later_labd_may_send_more_and_nobody_may_order_what_it_does_not_know() -> None:
    schemas = document()["components"]["schemas"]
    assert "additionalProperties" not in schemas["Run"]
    assert schemas["StartOrder"]["additionalProperties"] is False


def test_there_is_a_json_schema_of_each_message() -> None:
    files = schema_files()
    shown = examples()
    assert files.keys() == {f"{name}.schema.json" for name in shown} | {"lost.schema.json"}
    for name, found in files.items():
        Draft202012Validator.check_schema(found)
        for example in document()["components"]["messages"][name.removesuffix(".schema.json")]["examples"]:
            assert list(Draft202012Validator(found).iter_errors(example["payload"])) == []


# ── the wire ─────────────────────────────────────────────────────────────────────────────────────────────────────────
@asynccontextmanager
async def recording(port: int) -> AsyncIterator[list[Heard]]:
    """All that anybody says at the broker."""
    heard: list[Heard] = []

    async def listen(client: aiomqtt.Client) -> None:
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            heard.append(Heard(message.topic.value, message.payload, message.retain, message.qos))

    nodelay = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    async with aiomqtt.Client("127.0.0.1", port, keepalive=0, socket_options=nodelay) as client:
        await client.subscribe("#", qos=1)
        task = asyncio.create_task(listen(client))
        try:
            yield heard
        finally:
            task.cancel()
            await asyncio.wait([task])


async def order_all_sorts(eva: Commander) -> None:
    """One of each verb, some of them refused."""
    await eva.give("start-1", "start", arguments={"protocol": PROTOCOL, "sample": "cell-1"})
    run = (await eva.answered("start-1", 2))[1]["result"]["run"]
    await asyncio.sleep(10)
    await eva.give("answer-1", "answer", arguments={"run": run, "choice": "clean"})
    await eva.answered("answer-1", 2)
    await asyncio.sleep(60)
    for verb in ("hold", "unhold", "stop", "clear"):
        await eva.give(f"{verb}-1", verb, arguments={"run": run})
        await eva.answered(f"{verb}-1")
        await asyncio.sleep(60)
    await eva.give("hold-2", "hold", arguments={"run": "run-9999"})
    await eva.give("acknowledge-1", "acknowledge", arguments={"alarm": "press-down"})
    await eva.give("submit-1", "submit", arguments={"protocol": PROTOCOL, "count": 2})
    batch = (await eva.answered("submit-1", 2))[1]["result"]["batch"]
    await asyncio.sleep(60)
    await eva.give("cancel-1", "cancel", arguments={"batch": batch})
    await eva.give("abort-1", "abort", arguments={"all": True})
    await eva.answered("abort-1", 2)


async def ask_outside(daemon: Daemon, eva: Commander) -> None:
    """A campaign that asks a program outside, is answered, and ends."""
    text = FILE.replace("optimiser: random", "optimiser: external")
    await daemon.campaigns.start(text, "pressing.yaml", PRESS, "press.yaml", {}, by="eva")
    await asyncio.sleep(10)
    points = {"campaign": "pressing", "ask": 1, "points": [{"force": 5.0}, {"force": 6.0}]}
    await eva.give("propose-1", "propose", arguments=points)
    assert (await eva.answered("propose-1", 2))[1]["result"]["proposals"] == ["p0001", "p0002"]
    await daemon.campaigns.find("pressing").stop(by="eva", why="enough")


async def test_all_that_a_lab_says_is_in_its_document(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(LAB)
    told = Document(document(load_lab(path)))
    daemon = Daemon(load_lab(path))
    async with daemon.open():
        assert daemon.telemetry is not None
        port = await parts.connected(daemon.telemetry)
        async with recording(port) as heard, commander(port) as eva:
            await daemon.lab.devices["press"].wait_ready()
            await order_all_sorts(eva)
            await ask_outside(daemon, eva)
            for ended in (False, True):
                daemon.lab.bus.tell(parts.alarm(ended=ended))
                await asyncio.sleep(1)
            await eva.client.publish("homeassistant/status", "online", qos=1)
            await asyncio.sleep(25 * 3600)
            async with recording(port) as standing:
                await asyncio.sleep(1)
    names = {told.take(one) for one in heard}
    assert names == {message.name for channel in CHANNELS for message in channel.messages} - {
        "lost",  # the daemon ended in order
        "device_about_cleared",
        "device_state_cleared",
        "summary_cleared",
        "home_assistant_device_cleared",
        "home_assistant_lab_cleared",
    }
    states = [json.loads(one.payload) for one in heard if one.topic.endswith("run-0001/state") and one.payload]
    assert any(state["expected_end"] is not None and 0 < state["progress"] < 1 for state in states)
    assert {told.channel(one.topic) for one in standing if one.retained} == {
        "status",
        "device_about",
        "device_state",
        "queue",
        "summary",
        "home_assistant_device",
        "home_assistant_lab",
    }


def test_an_unknown_topic_or_field_would_be_found() -> None:
    told = Document(document())
    state = b'{"health":"ok","problem":null,"since":"2026-03-02T09:15:04Z","busy_with":[]}'
    assert told.take(Heard("labd/1/bench/device/press/state", state, retained=True, qos=1)) == "device_state"
    with pytest.raises(ValueError, match="not enough values"):
        told.channel("labd/1/bench/device/press/mood")
    more = state.replace(b"{", b'{"mood":"fine",', 1)
    with pytest.raises(AssertionError, match="'mood' was unexpected"):
        told.take(Heard("labd/1/bench/device/press/state", more, retained=True, qos=1))
