"""What lab.yaml says of a Microlab 600, and what follows from it: steps and speeds."""

from __future__ import annotations

from typing import Annotated

from pydantic import field_validator, model_validator

from labd.io.address import Line, StreamAddress
from labd.sdk import Bounds, FlowRate, Rejected, Settings, Volume
from labd.sdk.strokes import Syringe

FACTORY = Line(9600, bytesize=7, parity="O")
STEPS = 48_000
FASTEST, SLOWEST = 2, 3692  # s for a full stroke
USUAL = 10  # s for a full stroke

Capacity = Annotated[Volume, Bounds(min=10, max=50_000)]


class Ml600Settings(Settings):
    """Where the instrument is, and which syringes are on it.

    Args:
        address: `/dev/serial/by-id/…`, `serial:///dev/…?baudrate=9600&bytesize=7&parity=O` or `tcp://host:port`; the
            factory's line is 9600 7O1.
        syringe: what the syringe holds, or the left one of two.
        right: what the right one holds; left out: there is one syringe. With it the units are `left` and `right`.
        rate: unless an action says otherwise; left out: a full stroke in 10 s.
    """

    address: str
    syringe: Capacity
    right: Capacity | None = None
    rate: Annotated[FlowRate, Bounds(min=0.001)] | None = None

    @field_validator("address")
    @classmethod
    def _address(cls, text: str) -> str:
        StreamAddress.parse(text, FACTORY)
        return text

    @model_validator(mode="after")
    def _can_be_done(self) -> Ml600Settings:
        try:
            for unit in ("left", "right") if self.right else ("",):
                self.seconds(unit, None)
        except Rejected as error:
            raise ValueError(f"rate: {error.message}") from error
        return self

    def drive(self, unit: str) -> Syringe:
        """A syringe with the steps of its drive."""
        return Syringe(self.right if unit == "right" and self.right else self.syringe, STEPS)

    def seconds(self, unit: str, rate: float | None) -> int:
        """A rate (µL/s), or the setting's, as seconds of a full stroke. Raises Rejected: it cannot do it."""
        rate = self.rate if rate is None else rate
        if rate is None:
            return USUAL
        capacity = self.drive(unit).capacity
        seconds = round(capacity / rate)
        if not FASTEST <= seconds <= SLOWEST:
            least, most = capacity / SLOWEST, capacity / FASTEST
            raise Rejected(f"{rate:g} µL/s: with this syringe the pump does {least:.3g} to {most:.3g} µL/s")
        return seconds
