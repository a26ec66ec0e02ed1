"""What the roles ask of signals after an action; a device that cannot tell is not blamed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from drivers.opentrons import Opentrons
from drivers.plc_crimper import PlcCrimper
from labd.sdk import ROLES as ROLES_OF_THE_SDK
from labd.sdk import Arm, Crimper, OnLoss, PipettingRobot, Seen, action
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
        ("crimp", {"cycles": 4}, {"cycles": 5}, {"peak_force": 5.0}, None),  # falls short: a result
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
    parameters, result = SimpleNamespace(force=7.8, **more), SimpleNamespace(**more)
    found = evidence(Seen(signals(**before), signals(**after), parameters, result))
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


def test_what_goes_on_without_the_daemon_is_what_an_instrument_does_by_itself() -> None:
    """Whatever moves, presses or only measures stops: its data or its end would be seen by nobody."""
    goes_on = {
        f"{role}.{name}"
        for role, driver in ROLES_OF_THE_SDK.items()
        for name, one in driver.actions.items()
        if one.on_loss is OnLoss.CONTINUE
    }
    assert goes_on == {
        "potentiostat.open_circuit",
        "potentiostat.constant_current",
        "potentiostat.constant_voltage",
        "potentiostat.cycle",
        "thermostat.set_temperature",
    }
