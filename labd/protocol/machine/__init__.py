"""The protocol's machine: fed with what happened, it says what to do next. No I/O, no clock."""

from labd.protocol.machine.machine import Machine
from labd.protocol.machine.moving import OutOfTurn

__all__ = ["Machine", "OutOfTurn"]
