"""The JSON Schema of protocols: sound, true to every file that holds, and closed to what the language does not have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from labd.files import Reader, Source
from labd.protocol.facts import LabFacts, RoleFacts, standard_facts
from labd.protocol.model import STATE_KINDS, STEP_KINDS, ProtocolFile
from labd.protocol.views.keys import keys_of, told
from labd.protocol.views.schema import protocol_schema
from labd.sdk import Bounds
from tests.protocol.sound import SOUND, spoilt
from tests.protocol.told import FILES

IMPORTED = sorted((Path(__file__).parent / "data" / "unicycler").glob("*.yaml"))


def read(text: str) -> Any:
    return Reader(Source("p.yaml", text)).read()


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return protocol_schema()


def flaws(schema: dict[str, Any], text: str) -> list[ValidationError]:
    return list(Draft202012Validator(schema).iter_errors(read(text)))


def deepest(errors: list[ValidationError]) -> list[str]:
    """What is said about the form of a state or step that fits best."""
    found: list[str] = []
    for error in errors:
        found += deepest(list(error.context)) if error.context else [f"{error.json_path}: {error.message}"]
    return found


def test_it_is_a_schema(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("path", [*FILES.values(), *IMPORTED], ids=lambda path: path.stem)
def test_every_protocol_that_holds_is_valid(schema: dict[str, Any], path: Path) -> None:
    assert flaws(schema, path.read_text(encoding="utf-8")) == []


def test_the_sound_one_is_valid(schema: dict[str, Any]) -> None:
    assert flaws(schema, SOUND) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("labd: 1", "labd: 2"),
        ("version: 1.0.0", "version: 1.0"),
        ("protocol: dose_and_crimp", "protocol: dose and crimp"),
        ("start: dose", "begin: dose"),
        ("press: crimper", "press: crimpr"),
        ("channels: 1", "channels: 0"),
        ("default: 35 µL", "default: 35"),
        ("type: integer", "type: int"),
        ("do: press.crimp", "do: press.crmp"),
        ("do: press.crimp", "do: crimp"),
        ("dwell: 2 s", "dwel: 2 s"),
        ("dwell: 2 s", "dwell: 2"),
        ("volume: =volume, ", ""),
        ("within: 60 s", "within: 60"),
        ("as: pressed", "as: 9lives"),
        ("if: pressed.peak_force < 0.5 * force, go: hold", "if: pressed.peak_force < 0.5 * force, to: hold"),
        ("rejected: look", "refused: look"),
        ("times: 2, otherwise", "times: two, otherwise"),
        ("as: word", "as: word\n    do: press.open"),
        ("input: {type: quantity", "input: {kind: quantity"),
        ("- wait: 1 s", "- wait: 1"),
        ("- set: {tries: 0}", "- set: {}"),
        ("done: {end: complete}", "done: {end: completed}"),
        ("continue_at: [crimp, scrap]", "continue_at: crimp"),
    ],
)
def test_what_the_language_does_not_have_is_refused(schema: dict[str, Any], old: str, new: str) -> None:
    assert flaws(schema, spoilt(old, new))


@pytest.mark.parametrize(
    "step",
    [
        "- {repeat: {times: 3}}",
        "- {parallel: {one: [{wait: 1 s}]}}",
        "- {call: other}",
        "- {if: true, then: []}",
        "- {do: press.open, retry: {delay: 1 s}}",
        "- {wait: {for: 1 s}}",
        "- {jump: there}",
    ],
)
def test_steps_that_say_too_little_are_refused(schema: dict[str, Any], step: str) -> None:
    assert flaws(schema, spoilt("- set: {tries: 0}", step))


def test_the_parameters_of_an_action_are_known_with_their_unit_and_bounds(schema: dict[str, Any]) -> None:
    rules = schema["$defs"]["Action"]["allOf"]
    crimp = next(rule["then"] for rule in rules if rule["if"]["properties"]["do"]["pattern"].endswith(r"\.crimp$"))
    given = crimp["properties"]["with"]
    assert given["required"] == ["force"]
    assert given["additionalProperties"] is False
    assert given["properties"]["force"]["description"] == "A force (default unit kN), 100 N or more, has to be given"
    assert (
        given["properties"]["dwell"]["description"] == "A duration (default unit s), from 0 s to 10 min, 2 s without it"
    )
    said = deepest(flaws(schema, spoilt("dwell: 2 s", "dwel: 2 s")))
    assert any("'dwel' was unexpected" in message for message in said)


def test_every_key_says_what_it_is_for() -> None:
    for model in (ProtocolFile, *STATE_KINDS.values(), *STEP_KINDS.values()):
        assert told(model)
        assert [key.name for key in keys_of(model) if not key.meaning] == []


def test_every_key_of_the_schema_is_described(schema: dict[str, Any]) -> None:
    silent = [
        f"{name}.{key}"
        for name, part in {**schema["$defs"], "": schema}.items()
        for key, value in part.get("properties", {}).items()
        if not value.get("description")
    ]
    assert silent == []


# ── one lab ──────────────────────────────────────────────────────────────────────────────────────────────────────
def lab() -> LabFacts:
    crimper = standard_facts().roles["crimper"]
    limits = {"crimp.force": Bounds(max=9.0)}
    robot = standard_facts().roles["pipetting_robot"]
    roles = {"crimper": RoleFacts(crimper.actions, crimper.signals, 1, limits), "pipetting_robot": robot}
    return LabFacts(roles, frozenset({"ot2/1/A1", "press/nest"}), frozenset({"LP57"}))


def test_of_a_lab_only_its_roles_and_actions_are_known() -> None:
    found = protocol_schema(lab())
    Draft202012Validator.check_schema(found)
    assert found["$defs"]["RoleUse"]["properties"]["role"]["enum"] == ["crimper", "pipetting_robot"]
    assert "potentiostat" not in str(found["$defs"]["DoStep"])
    text = SOUND.replace("{role: potentiostat, channels: 1}", "crimper").replace("do: cycler.cycle", "do: cycler.open")
    shapes = [message for message in deepest(flaws(found, text)) if "is not one of" in message]
    assert shapes == []


def test_of_a_lab_places_materials_and_limits_are_known() -> None:
    found = protocol_schema(lab())
    rules = {
        rule["if"]["properties"]["do"]["pattern"].rpartition(".")[2]: rule for rule in found["$defs"]["Action"]["allOf"]
    }
    transfer = rules["transfer$"]["then"]["properties"]["with"]["properties"]
    assert transfer["source"]["anyOf"][0] == {"enum": ["LP57", "ot2/1/A1", "press/nest"]}
    assert transfer["destination"]["anyOf"][0] == {"enum": ["ot2/1/A1", "press/nest"]}
    force = rules["crimp$"]["then"]["properties"]["with"]["properties"]["force"]
    assert "from 100 N to 9 kN" in force["description"]
