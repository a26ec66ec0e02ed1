"""A sample in the words of BattINFO, the battery interface ontology of BIG-MAP: cell, electrolyte and tests as JSON-LD.

The context stands in each document, so that it is read without a network. Terms and their addresses are from
https://w3id.org/emmo/domain/battery/context (CC BY 4.0); what BattINFO has no word for is told in schema.org's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote

Node = dict[str, Any]

_TESTS = {
    "open_circuit": "OpenCircuitHold",
    "impedance": "ElectrochemicalImpedanceSpectroscopy",
    "cyclic_voltammetry": "CyclicVoltammetry",
    "constant_current": "Chronopotentiometry",
    "constant_voltage": "Chronoamperometry",
    "cycle": "CyclingTest",
}
_PARTS = (
    ("anode", "hasNegativeElectrode", "Electrode"),
    ("cathode", "hasPositiveElectrode", "Electrode"),
    ("separator", "hasSeparator", "Separator"),
)
_BY_CYCLE = (("capacities", "DischargingCapacity", "mAh"), ("coulombic_efficiencies", "CoulombicEfficiency", "%"))
_QUANTITIES = {  # of parameters and results: the names that roles give them
    "volume": "Volume",
    "mass": "Mass",
    "force": "Force",
    "duration": "Duration",
    "current": "ElectricCurrent",
    "final_voltage": "OpenCircuitVoltage",
    "upper": "UpperVoltageLimit",
    "lower": "LowerVoltageLimit",
    "cycles": "NumberOfIterations",
    "c_rate": "CRate",
}


def document(sample: Mapping[str, Any], outputs: Mapping[str, Iterable[str]]) -> Node:
    """The JSON-LD of one sample.

    Args:
        sample: its genealogy.
        outputs: the addresses of the files that each action wrote, by the action's id.
    """
    cell_id = f"#{quote(str(sample['sample']), safe='')}"
    cell: Node = {"@id": cell_id, "@type": "CoinCell", "schema:identifier": sample["sample"]}
    if sample.get("barcode"):
        cell["schema:alternateName"] = sample["barcode"]
    if (electrolyte := _electrolyte(sample["doses"])) is not None:
        cell["hasElectrolyte"] = electrolyte
    for part in sample["parts"]:
        if part["on_sample"]:
            relation, node = _part(part)
            cell.setdefault(relation, []).append(node)
    told = [_said("active_mass", sample.get("active_mass"))]
    told += [_said("crimp_force", one["peak"] or one["asked"]) for one in sample["forces"]]
    told += [_said("crimp_dwell", one["dwell"]) for one in sample["forces"]]
    cell["schema:additionalProperty"] = [one for one in told if one is not None]
    tests = [_test(one, cell_id, outputs) for one in (*sample["measurements"], *sample["cycling"])]
    return {"@context": _known()["terms"], "@graph": [_lean(cell), *tests]}


def terms() -> frozenset[str]:
    """All terms that a document's context has an address for."""
    return frozenset(_known()["terms"])


@cache
def _known() -> dict[str, Any]:
    return json.loads(files("labd.records.crate").joinpath("battinfo.json").read_text("utf-8"))  # type: ignore[no-any-return]


# ── the cell ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def _electrolyte(doses: list[dict[str, Any]]) -> Node | None:
    portions = [_portion(dose) for dose in doses]
    if len(portions) < 2:
        return portions[0] if portions else None
    return {"@type": "ElectrolyteSolution", "hasConstituent": portions}


def _portion(dose: Mapping[str, Any]) -> Node:
    name = dose["what"] or "electrolyte"
    node: Node = {"@type": name if name in terms() else "ElectrolyteSolution", "schema:name": name}
    more = [_said("lot", dose["lot"]), _said("added", dose["at"])]
    return _lean(node | {"hasProperty": _measured("volume", dose["volume"]), "schema:additionalProperty": more})


def _part(part: Mapping[str, Any]) -> tuple[str, Node]:
    name = str(part["what"] or "part")
    found = next(((relation, kind) for word, relation, kind in _PARTS if word in name.lower()), None)
    relation, kind = found or ("hasConstituent", "schema:Product")
    more = [_said("lot", part["lot"]), _said("taken_from", part["source"])]
    return relation, _lean({"@type": kind, "schema:name": name, "schema:additionalProperty": more})


# ── tests ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def _test(one: Mapping[str, Any], cell: str, outputs: Mapping[str, Iterable[str]]) -> Node:
    asked = one.get("parameters") or {name: one.get(name) for name in ("current", "c_rate", "upper", "lower", "cycles")}
    gave = one.get("result") or {name: one.get(name) for name in ("capacities", "coulombic_efficiencies", "reason")}
    node = {
        "@id": f"#{one['action_id']}",
        "@type": _TESTS.get(str(one["action"]), "BatteryTest"),
        "schema:name": one["action"],
        "hasTestObject": cell,
        "schema:startTime": one["sent"],
        "schema:endTime": one["at"],
        "schema:instrument": one["device"],
        "hasMeasurementParameter": [_quantity(name, value, "ConventionalProperty") for name, value in asked.items()],
        "schema:additionalProperty": [_said(name, asked[name]) for name in asked if name not in _QUANTITIES],
        "hasOutput": [{"@id": name} for name in outputs.get(one["action_id"], ())],
        "schema:result": [_measured(name, value) or _said(name, value) for name, value in gave.items()],
    }
    for name, word, unit in _BY_CYCLE:
        node["schema:result"] += _by_cycle(word, gave.get(name), unit)
    return _lean(node)


def _by_cycle(word: str, values: Any, unit: str) -> list[Node]:
    if isinstance(values, Mapping):
        values, unit = values.get("v"), str(values.get("u"))
    if not isinstance(values, list):
        return []
    nodes = [_numeric(word, {"v": value, "u": unit}, "MeasuredProperty") for value in values]
    return [{**node, "schema:position": number} for number, node in enumerate(nodes, 1) if node is not None]


# ── quantities ───────────────────────────────────────────────────────────────────────────────────────────────────────
def _measured(name: str, value: Any) -> Node | None:
    return _quantity(name, value, "MeasuredProperty")


def _quantity(name: str, value: Any, kind: str) -> Node | None:
    word = _QUANTITIES.get(name)
    return _numeric(word, value, kind) if word is not None else None


def _numeric(word: str, value: Any, kind: str) -> Node | None:
    number, unit = (value.get("v"), value.get("u")) if isinstance(value, Mapping) else (value, "1")
    known = _known()["units"].get(unit or "1")
    if known is None or isinstance(number, bool) or not isinstance(number, (int, float)):
        return None
    part = {"@type": "RealData", "hasNumberValue": number * known["factor"]}
    return {"@type": [word, kind], "hasNumericalPart": part, "hasMeasurementUnit": known["iri"]}


def _said(name: str, value: Any) -> Node | None:
    """A schema.org PropertyValue, for what BattINFO has no word for."""
    unit = None
    if isinstance(value, Mapping):
        value, unit = value.get("v"), value.get("u")
    if value is None or isinstance(value, (list, Mapping)):
        return None
    node = {"@type": "schema:PropertyValue", "schema:name": name, "schema:value": value}
    return {**node, "schema:unitText": unit} if unit else node


def _lean(node: Node) -> Node:
    """A node without what nobody knows."""
    kept = {
        key: [one for one in value if one is not None] if isinstance(value, list) else value
        for key, value in node.items()
    }
    return {key: value for key, value in kept.items() if value not in (None, [])}
