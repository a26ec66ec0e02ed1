"""Roles: the kinds of device that protocols are written for, with their standard actions, parameters and results.

Default units: s, µL, kN, V, A, Ω, Hz, g, °C, mm. Drivers narrow bounds and may add parameters with defaults.
Signs: a positive current charges the cell (Battery Data Format).
"""

from __future__ import annotations

from labd.sdk.driver import Driver
from labd.sdk.roles.handling import (
    Gripper,
    GripperSignals,
    GripResult,
    Pump,
    Pumped,
    PumpResult,
    PumpSignals,
    Rate,
)
from labd.sdk.roles.making import (
    Arm,
    ArmSignals,
    Crimper,
    CrimperSignals,
    CrimpResult,
    MoveResult,
    NewTip,
    PickResult,
    PipettingRobot,
    PipettingSignals,
    PlaceResult,
    PositiveVolume,
    TransferResult,
)
from labd.sdk.roles.measuring import (
    C_RATE,
    Balance,
    BalanceSignals,
    ChannelData,
    ConstantCurrentResult,
    ConstantVoltageResult,
    CycleData,
    CycleResult,
    ImpedanceData,
    ImpedanceResult,
    Interval,
    OpenCircuitResult,
    PositiveDuration,
    Potentiostat,
    PotentiostatSignals,
    StepPotentiostat,
    VoltammetryResult,
    WeighResult,
)
from labd.sdk.roles.surroundings import (
    PACKML_STATES,
    Glovebox,
    GloveboxSignals,
    Machine,
    MachineResult,
    MachineSignals,
    Thermostat,
    ThermostatSignals,
)

__all__ = [
    "C_RATE",
    "PACKML_STATES",
    "ROLES",
    "Arm",
    "ArmSignals",
    "Balance",
    "BalanceSignals",
    "ChannelData",
    "ConstantCurrentResult",
    "ConstantVoltageResult",
    "CrimpResult",
    "Crimper",
    "CrimperSignals",
    "CycleData",
    "CycleResult",
    "Glovebox",
    "GloveboxSignals",
    "GripResult",
    "Gripper",
    "GripperSignals",
    "ImpedanceData",
    "ImpedanceResult",
    "Interval",
    "Machine",
    "MachineResult",
    "MachineSignals",
    "MoveResult",
    "NewTip",
    "OpenCircuitResult",
    "PickResult",
    "PipettingRobot",
    "PipettingSignals",
    "PlaceResult",
    "PositiveDuration",
    "PositiveVolume",
    "Potentiostat",
    "PotentiostatSignals",
    "Pump",
    "PumpResult",
    "PumpSignals",
    "Pumped",
    "Rate",
    "StepPotentiostat",
    "Thermostat",
    "ThermostatSignals",
    "TransferResult",
    "VoltammetryResult",
    "WeighResult",
]

ROLES: dict[str, type[Driver]] = {
    role.role: role
    for role in (PipettingRobot, Crimper, Arm, Potentiostat, Balance, Thermostat, Pump, Gripper, Glovebox, Machine)
}
