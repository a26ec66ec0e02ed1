"""What goes over the wire, held against an AsyncAPI document and nothing else."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft7Validator


@dataclass(frozen=True)
class Heard:
    topic: str
    payload: bytes
    retained: bool
    qos: int


def resolved(document: dict[str, Any], ref: dict[str, Any]) -> Any:
    found: Any = document
    for part in ref["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return resolved(document, found) if isinstance(found, dict) and set(found) == {"$ref"} else found


def closed(schema: Any) -> Any:
    """A schema under which a field that the document does not name is none of its."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if isinstance(schema, dict):
        shut = {key: closed(one) for key, one in schema.items()}
        if "properties" in shut and shut.get("type") == "object":
            shut.setdefault("additionalProperties", False)
        return shut
    return schema


class Document:
    """Finds the channel of a topic, and what is wrong with a message.

    With `exact`, the quality of service is that of the document; amqtt delivers all at the subscriber's.
    """

    def __init__(self, document: dict[str, Any], *, exact: bool = False) -> None:
        self.exact = exact
        self.document = copy.deepcopy(document)
        self.schemas = {name: closed(one) for name, one in document["components"]["schemas"].items()}
        self.addresses = {
            name: self._pattern(channel)
            for name, channel in document["channels"].items()
            if channel["address"] is not None
        }

    @staticmethod
    def _pattern(channel: dict[str, Any]) -> re.Pattern[str]:
        text = re.escape(channel["address"])
        for name, parameter in channel.get("parameters", {}).items():
            allowed = "|".join(map(re.escape, parameter["enum"])) if "enum" in parameter else "[^/]+"
            text = text.replace(re.escape(f"{{{name}}}"), f"({allowed})")
        return re.compile(text)

    def channel(self, topic: str) -> str:
        (name,) = [name for name, pattern in self.addresses.items() if pattern.fullmatch(topic)]
        return name

    def operation(self, channel: str) -> dict[str, Any]:
        ref = {"$ref": f"#/channels/{channel}"}
        (found,) = [one for one in self.document["operations"].values() if one["channel"] == ref]
        return dict(found)

    def validator(self, schema: dict[str, Any]) -> Draft7Validator:
        return Draft7Validator({**schema, "components": {"schemas": self.schemas}})

    def take(self, heard: Heard) -> str:
        """The name of the one message of the channel that this is. Fails, with what is wrong, when it is none."""
        channel = self.channel(heard.topic)
        binding = self.operation(channel)["bindings"]["mqtt"]
        assert heard.qos == binding["qos"] or (heard.qos > binding["qos"] and not self.exact), heard
        assert binding["retain"] or not heard.retained, heard
        wrong: dict[str, Any] = {}
        for name, ref in self.document["channels"][channel]["messages"].items():
            problems = self._problems(resolved(self.document, ref), heard.payload)
            if not problems:
                return str(name)
            wrong[name] = problems
        raise AssertionError(f"{heard}: {wrong}")

    def _problems(self, message: dict[str, Any], payload: bytes) -> list[str]:
        try:
            text = payload.decode()
            value = json.loads(text) if message["contentType"] == "application/json" else text
        except ValueError as error:
            return [str(error)]
        return [error.message for error in self.validator(message["payload"]).iter_errors(value)]
