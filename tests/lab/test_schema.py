"""The JSON Schema of lab.yaml, for editors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from labd.lab.config import LabConfig, lab_schema


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return lab_schema()


def objects(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "lab.yaml", schema
    yield from schema["$defs"].items()


def test_it_says_of_which_kind_it_is(schema: dict[str, Any]) -> None:
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert json.loads(json.dumps(schema)) == schema


def test_it_knows_the_keys_as_they_are_written(schema: dict[str, Any]) -> None:
    assert set(schema["properties"]) == set(LabConfig.model_fields)
    assert {"if", "for", "then"} <= set(schema["$defs"]["Interlock"]["properties"])


def test_every_key_is_described_and_no_other_is_allowed(schema: dict[str, Any]) -> None:
    for name, part in objects(schema):
        assert part["additionalProperties"] is False, name
        for key, about in part["properties"].items():
            assert about.get("description"), f"{name}.{key}"


def test_a_quantity_is_a_text_with_a_unit(schema: dict[str, Any]) -> None:
    poll = schema["$defs"]["PollPeriods"]["properties"]["idle"]
    assert (poll["type"], poll["default"]) == ("string", "10 s")
    assert schema["$defs"]["Liquid"]["properties"]["volume"]["examples"] == ["1 µL"]
