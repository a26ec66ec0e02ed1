"""Links that can be listened to."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

Direction = Literal["out", "in"]
Tap = Callable[[Direction, bytes], None]
Kind = Literal["stream", "http", "modbus", "opcua"]


class Tapped:
    """A link that tells what goes over it, where somebody has set `tap`.

    `kind` is what a piece is: bytes of a stream, `METHOD path body` and `200 {…}` of HTTP, a Modbus PDU as hexadecimal
    digits, or a request and an answer of OPC UA as JSON (see `labd.io.transcript.Origin`).
    """

    kind: ClassVar[Kind] = "stream"
    tap: Tap | None = None

    def _note(self, direction: Direction, data: bytes) -> None:
        if self.tap is not None:
            self.tap(direction, data)
