"""What lab.yaml says of a Cavro pump, and what follows from it: steps, speeds, valve commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from drivers.cavro.bus import FACTORY
from labd.io.address import StreamAddress
from labd.sdk import Bounds, FlowRate, Rejected, Settings, Volume
from labd.sdk.strokes import Syringe

Port = Annotated[int, Field(ge=1, le=12)]
PULSES = 6000  # of a full stroke, whatever the model: speeds are in pulses a second
LEAST_SPEED = 5


@dataclass(frozen=True, slots=True)
class Model:
    """Steps of a full stroke in the standard mode N0, and the greatest top velocity in pulses a second."""

    steps: int
    fastest: int


MODELS = {"xcalibur": Model(3000, 5800), "xlp6000": Model(6000, 6000)}
NORMAL_SPEED = 1400  # pulses/s; what a pump has after power-up


class CavroSettings(Settings):
    """Where the pump is, and what is mounted on it.

    Args:
        address: `/dev/serial/by-id/…`, `serial:///dev/…?baudrate=9600` or `tcp://host:port`; pumps on one line have the
            same address, and each is a device of its own. The factory's line is 9600 8N1.
        pump: its number on the line, one more than its address switch says: 1-9, A-F.
        model: `xcalibur` (30 mm, 3000 steps) or `xlp6000` (60 mm, 6000 steps).
        syringe: what the syringe holds.
        ports: how many ports its distribution valve has; 0: a valve with input, output and bypass.
        inlet, outlet, waste: ports of a distribution valve. Initialising empties the syringe to `waste`, or to the
            outlet where there is none.
        initialise: `Z`: the output is at the right, `Y`: at the left, `W`: the plunger alone, for a pump without valve.
        rate: unless an action says otherwise; left out: a full stroke in 4.3 s, as after power-up.
        backlash: steps by which the plunger goes too far at the turn; left out: as the pump has it.
        gives_to: the place that its outlet gives to, where that is another device's: `ot2/6`. Left out:
            `<name>/outlet`, where an arm may put a cell.
    """

    address: str
    pump: Annotated[str, Field(pattern=r"^[1-9A-F]$")] = "1"
    model: Literal["xcalibur", "xlp6000"] = "xcalibur"
    syringe: Annotated[Volume, Bounds(min=25, max=50_000)]
    ports: Annotated[int, Field(ge=0, le=12)] = 0
    inlet: Port = 1
    outlet: Port = 2
    waste: Port | None = None
    initialise: Literal["Z", "Y", "W"] = "Z"
    rate: Annotated[FlowRate, Bounds(min=0.001)] | None = None
    backlash: Annotated[int, Field(ge=0, le=31)] | None = None
    gives_to: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,32}){1,3}$")] | None = None

    @field_validator("address")
    @classmethod
    def _address(cls, text: str) -> str:
        StreamAddress.parse(text, FACTORY)
        return text

    @field_validator("pump", mode="before")
    @classmethod
    def _number(cls, value: object) -> object:
        return str(value) if isinstance(value, int) else value

    @model_validator(mode="after")
    def _holds_together(self) -> CavroSettings:
        if self.ports:
            for name in ("inlet", "outlet", "waste"):
                port = getattr(self, name)
                if port is not None and port > self.ports:
                    raise ValueError(f"{name}: there is no port {port} on a valve of {self.ports}")
            if self.inlet == self.outlet:
                raise ValueError("outlet: it is the inlet's port")
        elif self.waste is not None:
            raise ValueError("waste: only a distribution valve has such a port; give its number of `ports`")
        try:
            self.speed(self.rate)
        except Rejected as error:
            raise ValueError(f"rate: {error.message}") from error
        return self

    # ── steps ────────────────────────────────────────────────────────────────────────────────────────────────────
    @property
    def drive(self) -> Syringe:
        """The syringe with the steps of its drive."""
        return Syringe(self.syringe, MODELS[self.model].steps)

    def speed(self, rate: float | None) -> int:
        """A rate (µL/s), or the setting's, as pulses a second. Raises Rejected: the pump has no such speed."""
        rate = self.rate if rate is None else rate
        if rate is None:
            return NORMAL_SPEED
        fastest = MODELS[self.model].fastest
        speed = round(rate / self.syringe * PULSES)
        if not LEAST_SPEED <= speed <= fastest:
            least, most = (number * self.syringe / PULSES for number in (LEAST_SPEED, fastest))
            raise Rejected(f"{rate:g} µL/s: with this syringe the pump does {least:.3g} to {most:.3g} µL/s")
        return speed

    def steps_per_second(self, speed: int) -> float:
        """How fast the plunger moves at a speed of the wire."""
        return speed / PULSES * self.drive.full

    # ── valve ────────────────────────────────────────────────────────────────────────────────────────────────────
    def turn(self, way: str, port: int | None) -> str:
        """The command that turns the valve.

        Raises:
            Rejected: it has no such port.
        """
        if port is not None and not 1 <= port <= self.ports:
            what = f"{self.ports} ports" if self.ports else "input, output and bypass"
            raise Rejected(f"there is no port {port}: lab.yaml says that its valve has {what}")
        letter = "I" if way == "in" else "O"
        if self.initialise == "W":
            return ""
        return f"{letter}{port or (self.inlet if way == 'in' else self.outlet)}" if self.ports else letter

    @property
    def home(self) -> str:
        """The command that initialises it; small syringes with less force, lest they leak or break."""
        force = 0 if self.syringe >= 1000 else 1 if self.syringe >= 250 else 2
        command = self.initialise + (str(force) if force else "")
        if self.ports and self.initialise != "W":
            command = f"{self.initialise}{force},{self.inlet},{self.waste or self.outlet}"
        return command + (f"K{self.backlash}" if self.backlash is not None else "")
