"""Settings of an MG400 in lab.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import field_validator

from labd.io.tcp import host_and_port
from labd.sdk import Bounds, Duration, Length, Settings

DASHBOARD, MOTION, FEEDBACK = 29999, 30003, 30005

Port = Annotated[int, Bounds(min=1, max=65535)] | str
Line = Annotated[int, Bounds(min=1, max=64)]


class Mg400Settings(Settings):
    """Settings of an MG400 in lab.yaml.

    Args:
        address: host of the arm.
        dashboard, motion, feedback: its ports, or `host:port` each where they are forwarded; `feedback: 30004` has
            frames each 8 ms.
        grip_output: the digital output that grips while it is on (a vacuum, a valve of a gripper).
        release_output: a second one that opens (a double-acting valve, a blow-off); on while `grip_output` is off.
        held_input: the digital input that is on while a part is held; left out where none is wired.
        held_when: what that input says while a part is held.
        grip_time: what gripping and letting go take.
        approach: how far over a place the arm comes and goes.
        speed: percent of its greatest.
        tolerance: how near its target the arm must stand.
        motion_limit: how long one motion may take.
    """

    address: str
    dashboard: Port = DASHBOARD
    motion: Port = MOTION
    feedback: Port = FEEDBACK
    grip_output: Line = 1
    release_output: Line | None = None
    held_input: Line | None = None
    held_when: bool = True
    grip_time: Annotated[Duration, Bounds(min=0.05, max=10)] = 0.5
    approach: Annotated[Length, Bounds(min=1, max=200)] = 30.0
    speed: Annotated[int, Bounds(min=1, max=100)] = 50
    tolerance: Annotated[Length, Bounds(min=0.05, max=5)] = 0.5
    motion_limit: Annotated[Duration, Bounds(min=1, max=600)] = 60.0

    @field_validator("address")
    @classmethod
    def _address(cls, text: str) -> str:
        host_and_port(text, 0)
        return text

    @field_validator("dashboard", "motion", "feedback")
    @classmethod
    def _port(cls, port: int | str) -> int | str:
        if isinstance(port, str):
            host_and_port(port, 0)
        return port

    def at(self, port: int | str) -> tuple[str, int]:
        """Host and port of one of its ports."""
        if isinstance(port, str):
            return host_and_port(port, 0)
        return host_and_port(self.address, 0)[0], port
