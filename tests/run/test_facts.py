"""What a lab offers to the checker of protocols."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest

from labd.lab.check import check_lab
from labd.lab.config import LabConfig
from labd.lab.lab import Lab
from labd.protocol.facts import LabFacts
from labd.run.facts import facts_of
from labd.sdk import Bounds, Call, Duration, Force, TipRange
from labd.sdk.roles import CrimpResult
from tests.toys import TOYS, ToyPress, toy_lab


class Weak(ToyPress):
    """A press of 8 kN that knows no `dwell` beyond 5 s."""

    async def crimp(
        self,
        call: Call,
        force: Annotated[Force, Bounds(max=8)],
        dwell: Annotated[Duration, Bounds(max=5)] = 2.0,
    ) -> CrimpResult:
        return await super().crimp(call, force, dwell)


class Ramped(ToyPress):
    """A press of 1 to 10 kN whose force rises in a time."""

    async def crimp(
        self,
        call: Call,
        force: Annotated[Force, Bounds(min=1, max=10)],
        dwell: Duration = 2.0,
        ramp: Duration = 0.5,
    ) -> CrimpResult:
        return await super().crimp(call, force, dwell)


def presses(tmp_path: Path, *names: str, **limits: dict[str, str]) -> LabFacts:
    classes = {**TOYS, "weak": Weak, "ramped": Ramped}
    devices: dict[str, Any] = {name: {"driver": name} for name in names}
    for name, limit in limits.items():
        devices[name]["limits"] = {"crimp.force": limit}
    raw = {"labd": 1, "lab": "toys", "store": tmp_path, "devices": devices, "roles": {"crimper": list(names)}}
    return facts_of(Lab(LabConfig.model_validate(raw), find=classes.__getitem__))


def test_bounds_hold_on_every_device_of_a_role(tmp_path: Path) -> None:
    role = presses(tmp_path, "ramped", "weak").roles["crimper"]
    assert role.limits == {"crimp.force": Bounds(1, 8), "crimp.dwell": Bounds(None, 5)}
    assert (role.units, role.instances) == (2, 2)


def test_limits_of_lab_yaml_narrow_them_whichever_device_has_them(tmp_path: Path) -> None:
    role = presses(tmp_path, "ramped", "weak", weak={"max": "7 kN"}, ramped={"min": "2 kN"}).roles["crimper"]
    assert role.limits["crimp.force"] == Bounds(2, 7)


def test_a_parameter_that_one_device_lacks_is_nobodys(tmp_path: Path) -> None:
    alone = presses(tmp_path, "ramped").roles["crimper"]
    assert "ramp" in alone.actions["crimp"].parameters.model_fields
    both = presses(tmp_path, "ramped", "weak").roles["crimper"]
    crimp = both.actions["crimp"].parameters
    assert set(crimp.model_fields) == {"force", "dwell"}
    assert crimp.model_validate({"force": "5 kN"}).model_dump() == {"force": 5.0, "dwell": 2.0}


def test_a_device_that_the_role_does_not_name_bounds_nothing(tmp_path: Path) -> None:
    devices = {"ramped": {"driver": "ramped"}, "weak": {"driver": "weak"}}
    raw = {"labd": 1, "lab": "toys", "store": tmp_path, "devices": devices, "roles": {"crimper": ["ramped"]}}
    classes = {"weak": Weak, "ramped": Ramped}
    role = facts_of(Lab(LabConfig.model_validate(raw), find=classes.__getitem__)).roles["crimper"]
    assert role.limits["crimp.force"] == Bounds(1, 10)
    assert role.instances == 1


DECK = [
    {"place": "press/1", "labware": "opentrons_96_tiprack_20ul"},
    {"place": "press/2", "labware": "opentrons_96_tiprack_20ul"},
    {"place": "press/4", "labware": "opentrons_96_filtertiprack_200ul"},
    {
        "place": "press/3",
        "labware": "vials_8x20ml",
        "contents": {
            "A1": {"material": "LP57", "volume": "12 mL", "dead": "1 mL"},
            "B1": {"material": "LP57", "volume": "2 mL", "expires": "2999-01-01"},
            "A2": {"material": "LP57", "volume": "5 mL", "expires": "2000-01-01"},
            "A3": {"material": "LP30", "volume": "3 mL", "expires": "2000-01-01"},
        },
    },
    {"place": "tray/cells", "labware": "cell_tray_8", "contents": {"A1": {"part": "half_cell"}}},
    {"place": "tray/bottoms", "labware": "part_tray_36", "fill": "cr2032_bottom"},
    {"place": "tray/plate", "labware": "our_24_rack"},
]


@pytest.fixture
def facts(tmp_path: Path) -> LabFacts:
    parts = {"cr2032_bottom": 64, "separator": 10}
    return facts_of(toy_lab(tmp_path, {"press": "press", "arm": "arm", "stat": "stat"}, deck=DECK, parts=parts))


def test_a_material_counts_less_its_dead_volume_and_what_has_expired(facts: LabFacts) -> None:
    assert facts.volumes == {"LP57": 13_000.0, "LP30": 0.0}
    assert facts.materials == {"LP57", "LP30"}


def test_each_place_knows_what_is_there_and_what_can_be_drawn(facts: LabFacts) -> None:
    assert facts.contents_at is not None
    assert facts.usable_at is not None
    assert facts.material_at is not None
    assert (facts.contents_at["press/3/A1"], facts.usable_at["press/3/A1"]) == (12_000.0, 11_000.0)
    assert (facts.contents_at["press/3/A2"], facts.usable_at["press/3/A2"]) == (5000.0, 0.0)
    assert facts.material_at["press/3/A3"] == "LP30"


def test_capacities_are_those_of_wells_and_of_cells(facts: LabFacts) -> None:
    assert facts.capacities is not None
    assert facts.capacities["press/3/B4"] == 20_000.0
    assert facts.capacities["tray/cells/A1"] == facts.capacities["press/nest"] == facts.capacities["stat/cell"] == 200.0
    for unknown in ("tray/plate/A1", "tray/bottoms/A1", "press/1/A1", "arm/gripper"):
        assert unknown not in facts.capacities


def test_tips_are_counted_by_device_and_size(facts: LabFacts) -> None:
    assert facts.tips == {"press": {20: 192, 200: 96}}


def test_parts_are_those_on_trays_and_those_in_stock(facts: LabFacts) -> None:
    assert facts.parts == {"cr2032_bottom": 100, "separator": 10, "half_cell": 1}
    assert facts.stock is not None
    assert facts.stock["tray/bottoms/F6"] == "cr2032_bottom"
    assert facts.stock["tray/cells/A1"] == "half_cell"


def test_an_expired_vial_is_the_last_to_be_taken(tmp_path: Path) -> None:
    deck = [
        {
            "place": "press/3",
            "labware": "vials_8x20ml",
            "contents": {
                "A1": {"material": "LP57", "volume": "5 mL", "expires": "2000-01-01"},
                "B1": {"material": "LP57", "volume": "2 mL"},
            },
        }
    ]
    assert toy_lab(tmp_path, {"press": "press"}, deck=deck).locate("LP57") == "press/3/B1"


def test_which_tips_a_robot_takes_follows_from_its_pipettes_and_racks() -> None:
    lab = check_lab(Path("examples/simulated-lab/lab.yaml")).lab
    assert lab is not None
    assert facts_of(lab).tip_ranges == {"ot2": (TipRange(20, 0.0, 20.0), TipRange(300, 20.0, 300.0))}
