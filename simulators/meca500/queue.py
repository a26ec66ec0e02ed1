"""What waits in the arm's motion queue, and what it does now."""

from __future__ import annotations

from dataclasses import dataclass

from simulators.meca500.kinematics import Joints


@dataclass
class Queued:
    """One command of the motion queue."""

    name: str
    values: tuple[float, ...] = ()


@dataclass
class Job:
    """What the arm is doing: a way (from, to) or a delay, from start to end."""

    command: Queued
    start: float
    end: float
    origin: Joints
    target: Joints

    def share(self, at: float) -> float:
        return 1.0 if self.end <= self.start else max(0.0, min(1.0, (at - self.start) / (self.end - self.start)))
