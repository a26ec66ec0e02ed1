"""The contract as other systems read it: an AsyncAPI 3.0 document, and a JSON Schema a message."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from io import StringIO
from typing import Any

from pydantic import BaseModel, RootModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import walk_tree

from labd.lab.config import LabConfig
from labd.telemetry.contract import CHANNELS, PARAMETERS, Channel, Said
from labd.telemetry.examples import examples
from labd.telemetry.payloads import LastWill
from labd.telemetry.users import LEAST
from labd.version import VERSION

BINDING = {"bindingVersion": "0.2.0"}
ID_PATTERN = "^[a-z0-9_-]{1,64}$"
JSON_SCHEMA = "https://json-schema.org/draft/2020-12/schema"

ABOUT = """\
What a lab tells over MQTT, and the commands that it takes. JSON in UTF-8; times are RFC 3339, UTC, with microseconds,
and are those of the happening, not of the sending. MQTT 5, and 3.1.1 where a broker has no 5. On every connection
`status`, each `about` and each `state` are sent anew; events of runs that were not acknowledged follow in order.

A later labd may add fields to what it sends: ignore those that you do not know. What it takes is exact: a field that it
does not know is refused.
"""


class _Schemas(GenerateJsonSchema):
    """Without a title for each field, which says its name again."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        del schema
        return False


# ── schemas ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def _models(channels: Iterable[Channel], *, taken: bool) -> list[type[BaseModel]]:
    """Of what the daemon takes, or of what it sends."""
    said = (one.model for channel in channels if (channel.sender != "daemon") == taken for one in channel.messages)
    return list(dict.fromkeys(model for model in said if model is not None))


def schemas(place: str) -> dict[str, Any]:
    """All schemas by name; they refer to each other at `place`."""
    found: dict[str, Any] = {}
    for taken in (True, False):
        models = [(model, "validation" if taken else "serialization") for model in _models(CHANNELS, taken=taken)]
        _, made = models_json_schema(
            models,  # type: ignore[arg-type]
            ref_template=f"{place}{{model}}",
            schema_generator=_Schemas,
        )
        found |= {name: schema if taken else _open(schema) for name, schema in made["$defs"].items()}
    return found


def _open(schema: Any) -> Any:
    """A schema of what is sent, to which a later version may add fields."""
    if isinstance(schema, list):
        return [_open(one) for one in schema]
    if isinstance(schema, dict):
        return {key: _open(one) for key, one in schema.items() if key != "additionalProperties" or one is not False}
    return schema


def schema_files() -> dict[str, dict[str, Any]]:
    """By file name: a JSON Schema a message, each with all that it needs."""
    known = schemas("#/$defs/")
    found: dict[str, dict[str, Any]] = {}
    for channel in CHANNELS:
        for said in channel.said:
            if said.model is None or channel.address is None:
                continue
            name = said.model.__name__
            needed = _needed(name, known) - {name}
            own = {"$schema": JSON_SCHEMA, "title": said.name, **{k: v for k, v in known[name].items() if k != "title"}}
            if needed:
                own["$defs"] = {one: known[one] for one in sorted(needed)}
            found[f"{said.name}.schema.json"] = own
    return found


def _needed(name: str, known: Mapping[str, Any]) -> set[str]:
    """The schema's name, and those of all that it refers to."""
    needed, new = {name}, [name]
    while new:
        for ref in _refs(known[new.pop()]):
            if ref not in needed:
                needed.add(ref)
                new.append(ref)
    return needed


def _refs(schema: Any) -> Iterable[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"].rpartition("/")[2]
        for one in schema.values():
            yield from _refs(one)
    elif isinstance(schema, list):
        for one in schema:
            yield from _refs(one)


# ── the document ─────────────────────────────────────────────────────────────────────────────────────────────────────
def document(lab: LabConfig | None = None) -> dict[str, Any]:
    """The AsyncAPI document of any lab, or of one: then its name, its devices and its broker stand in it."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": f"labd, lab {lab.lab}" if lab else "labd",
            "version": VERSION,
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
            "tags": [{"name": "state"}, {"name": "command"}, {"name": "home assistant"}],
        },
        "defaultContentType": "application/json",
        "servers": _servers(lab),
        "channels": {channel.name: _channel(channel, lab) for channel in CHANNELS},
        "operations": {name: one for channel in CHANNELS for name, one in _operations(channel)},
        "components": {
            "schemas": schemas("#/components/schemas/"),
            "messages": _messages(),
            "securitySchemes": {
                "password": {"type": "userPassword", "description": "The user is the one of `cmd/{user}/…`."},
                "certificate": {"type": "X509", "description": "A client certificate, where the broker asks for one."},
            },
        },
    }


def _name(lab: LabConfig | None, address: str) -> str:
    return address.replace("{lab}", lab.lab) if lab else address


def _servers(lab: LabConfig | None) -> dict[str, Any]:
    mqtt = lab.mqtt if lab else None
    broker = mqtt.broker if mqtt else None
    if mqtt is not None and isinstance(broker, str):
        host = "127.0.0.1" if mqtt.port else None  # with port 0 it has another one each time
        told = _server(lab, "mqtt", host, mqtt.port or 1883, "The broker in the daemon, for this machine only.")
        return {"broker": {**told, "protocolVersion": "3.1.1"}}
    if broker is not None and not isinstance(broker, str):
        protocol = "mqtts" if broker.tls is not None else "mqtt"
        return {"broker": _server(lab, protocol, broker.host, broker.port, "The lab's broker.")}
    return {
        "broker": _server(lab, "mqtts", None, 8883, "The lab's broker, over TLS."),
        "broker_without_tls": _server(lab, "mqtt", None, 1883, "A broker on a network that nobody else is on."),
    }


def _server(lab: LabConfig | None, protocol: str, host: str | None, port: int, what: str) -> dict[str, Any]:
    topic = _name(lab, next(channel.address for channel in CHANNELS if channel.name == "status" and channel.address))
    will = {"topic": topic, "qos": 1, "retain": True, "message": LastWill(boot_id="BOOT_ID").encode().decode()}
    server: dict[str, Any] = {
        "host": f"{host}:{port}" if host else "{host}:{port}",
        "protocol": protocol,
        "protocolVersion": "5.0",
        "description": what,
        "bindings": {"mqtt": {"lastWill": will, **BINDING}},
    }
    if host is None:
        server["variables"] = {
            "host": {"default": "localhost", "description": "The broker's name or address."},
            "port": {"default": str(port)},
        }
    if protocol == "mqtts":
        server["security"] = [{"$ref": f"#/components/securitySchemes/{one}"} for one in ("password", "certificate")]
    return server


def _channel(channel: Channel, lab: LabConfig | None) -> dict[str, Any]:
    told: dict[str, Any] = {"address": None if channel.address is None else _name(lab, channel.address)}
    if channel.summary:
        told["description"] = channel.summary
    told["messages"] = {said.name: {"$ref": f"#/components/messages/{said.name}"} for said in channel.messages}
    parameters = {
        name: _parameter(name, what, lab)
        for name, what in PARAMETERS.items()
        if f"{{{name}}}" in (told["address"] or "")
    }
    if parameters:
        told["parameters"] = parameters
    if channel.cleared:
        told["x-labd-cleared"] = channel.cleared
    return told


def _parameter(name: str, what: str, lab: LabConfig | None) -> dict[str, Any]:
    told: dict[str, Any] = {"description": what, "x-labd-pattern": ID_PATTERN}
    if name == "device" and lab is not None and lab.devices:
        told["enum"] = sorted(lab.devices)
    if name == "command_id":
        told["location"] = "$message.payload#/command_id"
    return told


def _operations(channel: Channel) -> Iterable[tuple[str, dict[str, Any]]]:
    """What the daemon does there; the document is the daemon's."""
    sends = channel.sender == "daemon"
    told: dict[str, Any] = {
        "action": "send" if sends else "receive",
        "channel": {"$ref": f"#/channels/{channel.name}"},
        "summary": channel.said[0].told,
        "tags": [{"name": _tag(channel)}],
        "messages": [_message_of(channel, said) for said in channel.messages],
        "bindings": {"mqtt": {"qos": channel.qos, "retain": channel.retained, **BINDING}},
    }
    if channel.verb is not None:
        told["reply"] = {
            "channel": {"$ref": "#/channels/reply"},
            "messages": [{"$ref": "#/channels/reply/messages/reply"}],
        }
        told["x-labd-role"] = LEAST[channel.verb]
    yield f"{'send' if sends else 'receive'}_{channel.name}", told


def _tag(channel: Channel) -> str:
    if channel.name.startswith("home_assistant"):
        return "home assistant"
    return "command" if channel.verb or channel.name in ("reply", "response") else "state"


def _message_of(channel: Channel, said: Said) -> dict[str, str]:
    return {"$ref": f"#/channels/{channel.name}/messages/{said.name}"}


def _messages() -> dict[str, Any]:
    shown = examples()
    found: dict[str, Any] = {}
    for channel in CHANNELS:
        for said in channel.messages:
            found.setdefault(said.name, _message(channel, said, shown.get(said.name, ())))
    return found


def _message(channel: Channel, said: Said, shown: Iterable[BaseModel]) -> dict[str, Any]:
    told: dict[str, Any] = {"name": said.name, "title": said.name.replace("_", " "), "summary": said.told}
    told["contentType"] = said.content
    if said.model is None:
        return {**told, "payload": {"type": "string", "maxLength": 0}, "examples": [{"payload": ""}]}
    told["payload"] = {"$ref": f"#/components/schemas/{said.model.__name__}"}
    told["examples"] = [{"name": said.name, "payload": plain(example)} for example in shown]
    if channel.verb is not None:
        told["bindings"] = {"mqtt": {"responseTopic": {**_TEXT, "description": _ANSWER_TO}, **_CORRELATED}}
    elif said.name == "reply":
        told["bindings"] = {"mqtt": _CORRELATED}
    if channel.verb is not None or said.name == "reply":
        told["correlationId"] = {"location": "$message.payload#/command_id"}
    return told


_TEXT = {"type": "string"}
_ANSWER_TO = (
    "MQTT 5: a topic of 256 bytes and 20 levels at most that has every answer too; below labd/ only the own reply/."
)
_CORRELATED = {
    "correlationData": {**_TEXT, "description": "MQTT 5: given back with every answer, unread."},
    **BINDING,
}


def plain(example: BaseModel) -> Any:
    """An example as it goes over the wire, as JSON values."""
    if isinstance(example, RootModel):
        return example.root
    sparse = example.__class__.__module__.endswith("home_assistant")
    return example.model_dump(mode="json", by_alias=True, exclude_none=sparse, exclude_unset=hasattr(example, "verb"))


def as_yaml(told: Mapping[str, Any]) -> str:
    """A document as YAML 1.2; long texts as blocks."""
    yaml = YAML()
    yaml.width, yaml.allow_unicode = 110, True
    text = StringIO()
    plain_tree = json.loads(json.dumps(told))  # without shared parts, which YAML would write as anchors
    walk_tree(plain_tree)
    yaml.dump(plain_tree, text)
    return text.getvalue()
