"""Files of faults: what does not hold is told at once, each with its place and mend."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

from labd.cli.app import app
from labd.faults import load_faults
from labd.files import CODES, InputErrors
from labd.lab.config import load_lab
from simulators._kit.host import kinds_of
from simulators.faults.check import FaultsError, check_one
from simulators.faults.quantities import QuantityError, amount, seconds
from simulators.faults.reading import BadFaultsError, read_faults

KINDS = kinds_of({"press": "plc_crimper", "scale": "mt_sics", "ot2": "opentrons"})
LAB = """\
labd: 1
lab: bench
store: store
devices:
  press: {driver: plc_crimper, settings: {address: "modbus://127.0.0.1:1502"}, simulator: {}}
  scale: {driver: mt_sics, settings: {address: "tcp://127.0.0.1:1503"}, simulator: {}}
  ot2: {driver: opentrons, settings: {address: "http://10.0.0.5:31950", pipettes: {left: p20_single_gen2}}}
"""


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("5 mg/h", "g/h", 0.005),
        ("2 min", "s", 120),
        ("0.2 kN", "kN", 0.2),
        ("20 %", "1", 0.2),
        (3, "1", 3),
        ("-3 mg/min", "g/h", -0.18),
        ("40 µL/min", "mL/h", 2.4),
        ("40μL", "µL", 40),
    ],
)
def test_quantities(text: object, unit: str, value: float) -> None:
    assert amount(text, unit) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "unit", "message"),
    [
        ("5", "s", "5 needs a unit; write `5 s`"),
        ("5 g", "s", "of another kind than s"),
        ("5 furlong", "s", "no unit `furlong`"),
        ("soon", "s", "`soon` is no quantity; write `1 s`"),
        (True, "1", "a quantity belongs here; write a number"),
        (None, "g", "write `1 g`"),
    ],
)
def test_what_is_no_quantity_is_told_with_its_mend(text: object, unit: str, message: str) -> None:
    with pytest.raises(QuantityError, match=message):
        amount(text, unit)


def test_time_does_not_run_backwards() -> None:
    with pytest.raises(QuantityError, match="lies in the past"):
        seconds("-3 s")


FLAWS: list[tuple[dict[str, Any], str, str]] = [
    ({"fault": "drop"}, "F102", "`device` is missing; name the device"),
    ({"device": "press"}, "F102", "`fault` is missing; say what"),
    ({"device": "press", "fault": "drop", "tims": 1}, "F101", "unknown key `tims`; did you mean `times`?"),
    ({"device": "press", "fault": "drop", "times": "often"}, "F103", "a whole number belongs here"),
    ({"device": "press", "fault": "drop", "with": 3}, "F103", "a mapping"),
    ({"device": "press", "fault": "drop", "chance": 1.5}, "F104", "at most 1"),
    ({"device": "press", "fault": "drop", "times": 0}, "F104", "at least 1"),
    ({"device": "press", "fault": "drop", "for": 30}, "F105", "30 needs a unit; write `30 s`"),
    ({"device": "pres", "fault": "drop"}, "F201", "no simulated device `pres`; did you mean `press`?"),
    ({"device": "press", "fault": "dorp"}, "F202", "there is no fault `dorp`; did you mean `drop`?"),
    ({"device": "scale", "fault": "dropped_pick"}, "F203", "`scale` does not have the fault `dropped_pick`; it knows"),
    ({"device": "*", "fault": "dropped_pick"}, "F203", "no device here has the fault"),
    (
        {"device": "scale", "fault": "delay"},
        "F204",
        "`delay` needs `delay`: how much later; write `with: {delay: 1 s}`",
    ),
    ({"device": "scale", "fault": "drift", "with": {"rate": 3}}, "F105", "write `3 g/h`"),
    ({"device": "scale", "fault": "drift", "with": {"rate": "3 K/h"}}, "F105", "another kind than g/h"),
    ({"device": "scale", "fault": "unstable", "with": {"rate": 3}}, "F204", "takes no `rate`; it takes nothing"),
    ({"device": "scale", "fault": "drop", "with": {"way": "up"}}, "F103", "it is one of replies, requests, both"),
    ({"device": "scale", "fault": "drop", "with": {"matching": "("}}, "F103", "no regular expression"),
    ({"device": "scale", "fault": "unstable", "times": 2}, "F204", "cannot be told how many times; say how long"),
    ({"device": "scale", "fault": "power_cycle", "for": "3 s"}, "F204", r"write `with: {off: 30 s}`"),
    ({"device": "press", "fault": "jam", "after": {"count": 1, "of": "cycle"}}, "F205", "did you mean `cycles`?"),
    ({"device": "press", "fault": "jam", "after": {"of": "cycles"}}, "F102", "`count` is missing"),
    ({"device": "press", "fault": "jam", "after": {"count": 1, "matching": "["}}, "F103", "no regular expression"),
    ({"device": "press", "fault": "jam", "after": {"count": 1, "of": "cycles", "matching": "x"}}, "F204", "only mess"),
]


@pytest.mark.parametrize(
    ("tree", "code", "message"), FLAWS, ids=[f"{code}-{n}" for n, (_, code, _) in enumerate(FLAWS)]
)
def test_what_does_not_hold_is_told(tree: dict[str, Any], code: str, message: str) -> None:
    with pytest.raises(FaultsError) as caught:
        check_one(tree, KINDS)
    told = [str(flaw) for flaw in caught.value.flaws]
    assert len(told) == 1, told
    assert told[0].startswith(code)
    assert message in told[0]
    assert code in CODES


BAD = """\
labd: 1
fautls: []
faults:
  - {device: press, fault: dorp}
  - {device: scale, fault: drift}
  - device: scale
    fault: drop
    for: 3
"""


def test_both_readers_name_every_place(tmp_path: Path) -> None:
    lab, file = tmp_path / "lab.yaml", tmp_path / "faults.yaml"
    lab.write_text(LAB, encoding="utf-8")
    file.write_text(BAD, encoding="utf-8")
    with pytest.raises(InputErrors) as ours:
        load_faults(file, load_lab(lab))
    places = [(problem.line, problem.code) for problem in ours.value.problems]
    assert places == [(2, "F101"), (4, "F202"), (5, "F204"), (8, "F105")]
    with pytest.raises(BadFaultsError) as theirs:
        read_faults(file, KINDS)
    lines = [line for line in str(theirs.value).splitlines() if line.startswith(str(file))]
    assert [line.removeprefix(f"{file}:").split(" ")[0:2] for line in lines] == [
        ["2:1:", "F101"],
        ["4:28:", "F202"],
        ["5:28:", "F204"],
        ["8:10:", "F105"],
    ]
    assert [f"{problem.line}:{problem.column}:" for problem in ours.value.problems] == [
        "2:1:",
        "4:28:",
        "5:28:",
        "8:10:",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "begins with `labd: 1`"),
        ("faults: []", "begins with `labd: 1`"),
        ("labd: 2\nfaults: []", "write `labd: 1`"),
        ("labd: 1\nfaults: {}", "a list belongs here"),
        ("labd: 1\nfaults: [3]", "a mapping"),
        ("labd: 1", "`faults` is missing"),
        ("labd: [", ""),
    ],
)
def test_what_is_no_file_of_faults_is_told_by_both_readers(tmp_path: Path, text: str, message: str) -> None:
    lab, file = tmp_path / "lab.yaml", tmp_path / "faults.yaml"
    lab.write_text(LAB, encoding="utf-8")
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputErrors) as ours:
        load_faults(file, load_lab(lab))
    assert message in str(ours.value)
    with pytest.raises(BadFaultsError) as theirs:
        read_faults(file, KINDS)
    assert message in str(theirs.value)


def test_a_dry_run_simulates_all_and_a_daemon_only_what_it_is_told_to(tmp_path: Path) -> None:
    lab, file = tmp_path / "lab.yaml", tmp_path / "faults.yaml"
    lab.write_text(LAB, encoding="utf-8")
    file.write_text("labd: 1\nfaults:\n  - {device: ot2, fault: missed_pick, times: 1}\n", encoding="utf-8")
    assert load_faults(file, load_lab(lab)).faults[0].times == 1
    with pytest.raises(InputErrors, match="no simulated device `ot2`"):
        load_faults(file, load_lab(lab), simulated=True)


def test_the_schema_takes_what_holds_and_refuses_what_does_not() -> None:
    result = CliRunner().invoke(app, ["schema", "--of", "faults"])
    assert result.exit_code == 0
    schema = json.loads(result.stdout)
    sound = {"labd": 1, "faults": [{"device": "press", "fault": "drop", "at": "10 min", "for": "3 s", "times": 1}]}
    jsonschema.validate(sound, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"labd": 1, "faults": [{"device": "press", "fault": "dorp"}]}, schema)
