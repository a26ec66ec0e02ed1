"""Pipettes by their load names. Ranges and plunger speeds: the vendor's pipette data sheets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A kind of pipette: volumes in µL, its model as the robot reports it, its blow-out speed in µL/s."""

    name: str
    model: str
    least: float
    most: float
    channels: int = 1

    @property
    def is_flex(self) -> bool:
        return self.name.endswith("_flex") or self.name == "p1000_96"


_KINDS = (
    Kind("p10_single", "p10_single_v1.5", 1, 10),
    Kind("p20_single_gen2", "p20_single_v2.1", 1, 20),
    Kind("p50_single", "p50_single_v1.5", 5, 50),
    Kind("p300_single", "p300_single_v1.5", 30, 300),
    Kind("p300_single_gen2", "p300_single_v2.1", 20, 300),
    Kind("p1000_single", "p1000_single_v1.5", 100, 1000),
    Kind("p1000_single_gen2", "p1000_single_v2.2", 100, 1000),
    Kind("p20_multi_gen2", "p20_multi_v2.1", 1, 20, 8),
    Kind("p300_multi_gen2", "p300_multi_v2.1", 20, 300, 8),
    Kind("p50_single_flex", "p50_single_v3.4", 5, 50),
    Kind("p1000_single_flex", "p1000_single_v3.4", 5, 1000),
    Kind("p50_multi_flex", "p50_multi_v3.4", 5, 50, 8),
    Kind("p1000_multi_flex", "p1000_multi_v3.4", 5, 1000, 8),
)
KINDS = {kind.name: kind for kind in _KINDS}
