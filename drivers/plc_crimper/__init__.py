"""Coin-cell presses behind a PLC or a relay box, over Modbus TCP and RTU.

No public wire protocol exists for MSK-160E, MSK-170 or Hohsen presses: labs put a PLC or a relay before them. So the
register map is data: `profile: handshake`, `profile: relay`, or the path of a YAML file of the same form.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from drivers.plc_crimper.handshake import HandshakePress
from drivers.plc_crimper.profile import HandshakeProfile, Profile, load
from drivers.plc_crimper.relay import RelayPress
from labd.io.modbus import ModbusAddress, ModbusLink
from labd.sdk import (
    About,
    Bounds,
    Call,
    Crimper,
    Duration,
    Effect,
    Force,
    Intent,
    Outcome,
    OutcomeUnknown,
    Quality,
    Rejected,
    Result,
    Settings,
    Setup,
    action,
)
from labd.sdk.roles import CrimperSignals, CrimpResult


class PlcCrimperSettings(Settings):
    """Where the PLC is, and what its registers mean.

    Args:
        address: `modbus://host:port`, `modbus+rtu://host:port` or `serial:///dev/…?baudrate=19200&parity=E`.
        profile: `handshake`, `relay`, or the path of a YAML file.
        device_id: the Modbus unit.
        reply_within: how long each exchange may take.
    """

    address: str
    profile: str = "handshake"
    device_id: Annotated[int, Field(ge=0, le=247)] = 1
    reply_within: Annotated[Duration, Bounds(min=0.05, max=10)] = 2.0

    @field_validator("address")
    @classmethod
    def _address(cls, text: str) -> str:
        ModbusAddress.parse(text)
        return text

    @field_validator("profile")
    @classmethod
    def _profile(cls, name: str) -> str:
        load(name)
        return name


class PlcCrimper(Crimper):
    """A press by its register map."""

    quality = Quality("simulated")
    quirks = (
        "Its 32-bit values have their words swapped (CDAB), unless the profile says otherwise.",
        "Behind a relay nothing tells the force: a busy contact that rises and falls is all there is.",
    )
    Settings = PlcCrimperSettings
    settings: PlcCrimperSettings
    found_at = {"modbus://{host}:502": 502}  # any PLC: which it is, its Modbus server alone may say

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.profile: Profile = load(self.settings.profile)
        self._link = ModbusLink(
            self.settings.address, device_id=self.settings.device_id, deadline=self.settings.reply_within
        )
        self._press: HandshakePress | RelayPress = (
            HandshakePress(self._link, self.profile)
            if isinstance(self.profile, HandshakeProfile)
            else RelayPress(self._link, self.profile)
        )

    def place_of(self, unit: str) -> str:
        del unit
        return f"{self.name}/nest"

    def own_link(self) -> str | None:
        """Over TCP a gateway takes several clients, each for a unit of its own; a serial port takes one program."""
        at = ModbusAddress.parse(self.settings.address)
        if at.kind == "serial" or at.port == 0:
            return super().own_link()
        return f"{at.host}:{at.port} unit {self.settings.device_id}"

    async def connect(self) -> About:
        """Opens the link and reads the PLC; nothing is commanded.

        Raises:
            Unreachable: no connection, or a PLC whose heartbeat stands still.
        """
        await self._link.open()
        await self._press.check()
        return About(model=f"press behind a PLC, profile {self.settings.profile}")

    async def close(self) -> None:
        await self._link.close()

    async def read_state(self) -> CrimperSignals:
        return await self._press.read()

    async def safe_state(self, unit: str | None = None) -> None:
        """No stroke, and no force on the cell: see HandshakePress.safe and RelayPress.safe."""
        del unit
        await self._press.safe()

    @action()
    async def open_ram(self, call: Call) -> None:
        """Drives the ram up, so that an arm can reach the nest."""
        del call
        await self._press.open()

    @action()
    async def close_ram(self, call: Call) -> None:
        """Drives the ram down onto the nest, without force."""
        del call
        await self._press.close()

    @action()
    async def crimp(
        self,
        call: Call,
        force: Annotated[Force, Bounds(min=0.5, max=15)],
        dwell: Annotated[Duration, Bounds(min=0, max=120)] = 2.0,
    ) -> CrimpResult:
        """Presses to a force, keeps it for a time, and opens again. A force that falls short is a result."""
        problem = self.profile.limits.problem(force, dwell)
        if problem:
            raise Rejected(problem)
        return await self._press.crimp(call, force, dwell)

    @action(effect=Effect.STATE, timeout=60, duration=5)
    async def reset(self, call: Call) -> None:
        """Acknowledges a latched alarm once its cause is gone."""
        del call
        await self._press.reset()

    async def baseline(self, action: str, unit: str) -> dict[str, int | float | None]:  # type: ignore[override]
        del unit
        return await self._press.baseline() if action == "crimp" else {}

    async def outcome(self, intent: Intent) -> Outcome:
        """Whether a crimp happened, by the cycle counter against the intent's baseline."""
        if intent.action != "crimp":
            return await super().outcome(intent)
        return await self._press.outcome(intent)

    async def attach(self, intent: Intent, call: Call) -> Result:
        """Watches a stroke that is under way to its end."""
        del call
        if intent.action != "crimp":
            raise OutcomeUnknown(f"{intent.action} cannot be taken up again")
        return await self._press.attach(intent)


DRIVER = PlcCrimper
