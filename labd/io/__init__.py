"""Links to devices: bytes with deadlines, and errors that say what may have happened."""

from labd.io.errors import LinkLost, failure
from labd.io.stream import Exchange, StreamLink

__all__ = ["Exchange", "LinkLost", "StreamLink", "failure"]
