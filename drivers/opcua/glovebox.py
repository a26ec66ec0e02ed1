"""A glovebox by its profile."""

from __future__ import annotations

import asyncio
from typing import cast

from pydantic import field_validator

from drivers.opcua.profile import GloveboxProfile, Order, load
from drivers.opcua.settings import OpcUaSettings
from drivers.opcua.watch import Reader, number, send, word
from labd import clock
from labd.io.opcua import OpcUaLink
from labd.sdk import About, Call, DeviceError, Fault, Glovebox, Quality, Rejected, Setup, Unreachable
from labd.sdk.roles import GloveboxSignals

LOOK = 1.0  # s between two looks at the antechamber while it moves
BEGIN = 5.0  # s in which an antechamber that was ordered must show that it moves


class GloveboxSettings(OpcUaSettings):
    """`profile` is `glovebox`, or the path of a YAML file; the others are those of every OPC UA device."""

    profile: str = "glovebox"

    @field_validator("profile")
    @classmethod
    def _profile(cls, name: str) -> str:
        load(name, "glovebox")
        return name


class OpcUaGlovebox(Glovebox):
    """Reads the box's air, and works its antechamber where the profile says how.

    A box guards itself: `safe_state` orders nothing, since an antechamber that a program closes may close on a hand.
    """

    quality = Quality("simulated")
    quirks = (
        "Every server has names of its own: a profile says what its nodes mean.",
        "A value that its source does not renew is no reading, however well the server answers.",
        "The antechamber is not made safe by labd: a door that closes by itself may close on a hand.",
    )
    Settings = GloveboxSettings
    settings: GloveboxSettings
    packages = {"asyncua": "labd[opcua]"}
    found_at = {"opc.tcp://{host}:4840": 4840}  # any server: what its nodes mean, a person must say

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.profile = cast("GloveboxProfile", load(self.settings.profile, "glovebox"))
        self._link: OpcUaLink | None = None
        self._reader = Reader(self.name)

    def own_link(self) -> str | None:
        """A server takes several clients."""
        return None

    async def connect(self) -> About:
        """Opens a session and reads once; nothing is ordered.

        Raises:
            Unreachable: no session, or a server without the profile's nodes.
        """
        await self.close()
        self._link = self.settings.link(self.profile.namespaces)
        await self._link.open()
        try:
            await self.read_state()
        except Rejected as error:
            await self.close()
            raise Unreachable(f"the profile does not fit: {error.message}") from error
        return About(model=f"glovebox over OPC UA, profile {self.settings.profile}")

    async def close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    async def read_state(self) -> GloveboxSignals:
        """One poll, in one request. Raises Unreachable when the profile's `alive` stands still."""
        profile = self.profile
        gases = (profile.oxygen, profile.water, profile.pressure)
        wanted = [one for one in (*gases, profile.antechamber, profile.alive) if one is not None]
        found = await self._reader.read(self._open_link(), wanted)
        if profile.alive is not None and found[profile.alive.node] is None:
            raise Unreachable(f"the server answers, and {profile.alive.node} stands still: its machine is not heard")
        return GloveboxSignals(
            oxygen=number(profile.oxygen, found, "ppm"),
            water=number(profile.water, found, "ppm"),
            pressure=number(profile.pressure, found, "mbar"),
            antechamber=word(profile.antechamber, found),
        )

    async def safe_state(self, unit: str | None = None) -> None:
        """Orders nothing: see the class."""
        del unit

    async def open_antechamber(self, call: Call) -> None:
        """Opens the antechamber to the room. Rejected where the box cannot, or its inner door is open."""
        await self._work(call, self.profile.open_antechamber, "open", self.profile.times.open)

    async def close_antechamber(self, call: Call) -> None:
        """Closes the antechamber to the room, and purges it where the box does. Rejected where the box cannot."""
        await self._work(call, self.profile.close_antechamber, "closed", self.profile.times.close)

    async def _work(self, call: Call, order: Order | None, goal: str, limit: float) -> None:
        if order is None:
            raise Rejected(f"the profile {self.settings.profile} has no order for it: work the antechamber by hand")
        if (await self.read_state()).antechamber == goal:
            return
        await send(self._open_link(), order, id=call.id)
        call.accepted(ordered=goal)
        start = clock.monotonic()
        words = self.profile.antechamber.words if self.profile.antechamber is not None else {}
        moved = "moving" not in words.values()  # whose node does not show it is trusted to move
        lost: DeviceError | None = None
        while clock.monotonic() - start < limit:
            await asyncio.sleep(LOOK)
            try:
                now = (await self.read_state()).antechamber
                lost = None
            except DeviceError as error:  # a look that fails ends no motion: the next one opens a new session
                lost = error
                continue
            if now == goal:
                return
            moved = moved or now == "moving"
            if not moved and clock.monotonic() - start > BEGIN:
                raise Fault(f"the antechamber took the order and does not move: it is {now or 'in no known state'}")
        if lost is not None:
            raise lost
        raise Fault(f"the antechamber is not {goal} after {limit:g} s: look at it")

    def _open_link(self) -> OpcUaLink:
        if self._link is None:
            raise Unreachable(f"{self.settings.address} is not connected")
        return self._link
