"""What the roles ask of signals after an action; a device that cannot tell is not blamed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from drivers.opentrons import Opentrons
from drivers.plc_crimper import PlcCrimper
from labd.sdk import Arm, Crimper, PipettingRobot, Seen, action
from labd.sdk.roles import ArmSignals, CrimperSignals, CrimpResult, PipettingSignals

ROLES: dict[str, tuple[type[Any], type[Any]]] = {
    "transfer": (PipettingRobot, PipettingSignals),
    "crimp": (Crimper, CrimperSignals),
    "pick": (Arm, ArmSignals),
    "place": (Arm, ArmSignals),
}


@pytest.mark.parametrize(
    ("name", "before", "after", "more", "told"),
    [
        ("crimp", {"cycles": 4}, {"cycles": 5}, {"peak_force": 7.8}, None),
        ("crimp", {"cycles": 4}, {"cycles": 5}, {"peak_force": 1.0}, None),  # falls short: a result
        ("crimp", {"cycles": 2**32 - 1}, {"cycles": 0}, {"peak_force": 7.8}, None),
        ("crimp", {}, {"cycles": 5}, {"peak_force": None}, None),
        ("crimp", {"cycles": 4}, {"cycles": 4}, {"peak_force": 7.8}, "went from 4 to 4"),
        ("crimp", {"cycles": 4}, {"cycles": 6}, {"peak_force": 7.8}, "went from 4 to 6"),
        ("crimp", {"cycles": 4}, {"cycles": 5}, {"peak_force": 0.0}, "never rose"),
        ("transfer", {"tip_attached": False}, {"tip_attached": False}, {"new_tip": "always"}, None),
        ("transfer", {"tip_attached": True}, {"tip_attached": True}, {"new_tip": "always"}, None),  # another mount's
        ("transfer", {"tip_attached": False}, {"tip_attached": None}, {"new_tip": "always"}, None),
        ("transfer", {"tip_attached": False}, {"tip_attached": True}, {"new_tip": "always"}, "still on"),
        ("transfer", {"tip_attached": False}, {"tip_attached": True}, {"new_tip": "once"}, None),
        ("transfer", {"tip_attached": True}, {"tip_attached": False}, {"new_tip": "never"}, "no tip is on"),
        ("pick", {}, {"gripped": True}, {"gripped": True}, None),
        ("pick", {}, {"gripped": None}, {"gripped": True}, None),
        ("pick", {}, {"gripped": False}, {"gripped": True}, "holds nothing"),
        ("pick", {}, {"gripped": True}, {"gripped": False}, "holds a part"),
        ("place", {}, {"gripped": False}, {"released": True}, None),
        ("place", {}, {"gripped": True}, {"released": True}, "still holds"),
        ("place", {}, {"gripped": True}, {"released": False}, None),
    ],
)
def test_the_evidence_of_the_roles(name: str, before: Any, after: Any, more: Any, told: str | None) -> None:
    role, signals = ROLES[name]
    evidence = role.actions[name].evidence
    given = SimpleNamespace(**more)
    found = evidence(Seen(signals(**before), signals(**after), given, given))
    assert (found is None) if told is None else (told in found)


def test_a_driver_has_its_roles_evidence_unless_it_names_its_own() -> None:
    assert PlcCrimper.actions["crimp"].evidence is Crimper.actions["crimp"].evidence is not None
    assert Opentrons.actions["transfer"].evidence is PipettingRobot.actions["transfer"].evidence is not None
    assert Opentrons.actions["mix"].evidence is None

    class Own(PlcCrimper):
        @action(evidence=lambda _: "never")
        async def crimp(self, call: Any, **values: Any) -> CrimpResult:
            return await super().crimp(call, **values)

    assert Own.actions["crimp"].evidence(Seen(None, None, None, None)) == "never"  # type: ignore[misc]
