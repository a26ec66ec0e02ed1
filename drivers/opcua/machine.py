"""A machine with PackML's states by its profile."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Any, cast

from pydantic import Field, JsonValue, field_validator

from drivers.opcua.profile import MachineProfile, Order, Watched, load
from drivers.opcua.settings import OpcUaSettings
from drivers.opcua.watch import Reader, count, send
from labd import clock
from labd.io.arrival import Orders
from labd.io.opcua import OpcUaLink
from labd.sdk import (
    About,
    Call,
    DeviceError,
    Effect,
    Fault,
    Intent,
    Machine,
    Outcome,
    OutcomeUnknown,
    Quality,
    Rejected,
    Result,
    Setup,
    Unreachable,
    Verdict,
    action,
)
from labd.sdk.roles import PACKML_STATES, MachineResult, MachineSignals

LOOK = 0.5  # s between two looks at the state while something is waited for
SELDOM = 5.0  # s likewise of a run that takes long; in between a hundredth of the time that it has taken
LOST = 60.0  # s that a machine under way may be out of reach
RESTING = frozenset({"Undefined", "Idle", "Stopped", "Complete", "Aborted"})
ENDED_BADLY = frozenset({"Stopping", "Stopped", "Aborting", "Aborted", "Clearing"})
_STARTED = "ns=0;i=2257"  # Server_ServerStatus_StartTime


class MachineSettings(OpcUaSettings):
    """`profile` is `packml`, `lads`, or the path of a YAML file; the others are those of every OPC UA device."""

    profile: str = "packml"

    @field_validator("profile")
    @classmethod
    def _profile(cls, name: str) -> str:
        load(name, "machine")
        return name


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the machine."""

    state: str | None
    run: JsonValue
    made: int | None
    defective: int | None
    recipe: str | None
    server_started: str | None


class OpcUaMachine(Machine):
    """A machine that runs recipes. What it does goes on without labd; `stop` is what makes it safe."""

    quality = Quality("simulated")
    quirks = (
        "Every server has names of its own: a profile says what its nodes mean.",
        "labd subscribes to nothing: a subscription that is dead after a reconnect looks like a quiet machine.",
        "Without a node that changes with each start nobody can tell after a loss whether it started.",
    )
    Settings = MachineSettings
    settings: MachineSettings
    packages = {"asyncua": "labd[opcua]"}
    found_at = {"opc.tcp://{host}:4840": 4840}

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.profile = cast("MachineProfile", load(self.settings.profile, "machine"))
        self._link: OpcUaLink | None = None
        self._reader = Reader(self.name)
        self._orders = Orders()

    def place_of(self, unit: str) -> str | None:
        """`<name>/nest`."""
        del unit
        return f"{self.name}/nest"

    def own_link(self) -> str | None:
        """A server takes several clients."""
        return None

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────
    async def connect(self) -> About:
        """Opens a session and reads once; nothing is ordered.

        Raises:
            Unreachable: no session, or a server without the profile's nodes.
        """
        await self.close()
        self._orders.written()
        self._link = self.settings.link(self.profile.namespaces)
        await self._link.open()
        try:
            await self._look()
        except Rejected as error:
            await self.close()
            raise Unreachable(f"the profile does not fit: {error.message}") from error
        return About(model=f"machine over OPC UA, profile {self.settings.profile}")

    async def close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    async def read_state(self) -> MachineSignals:
        """One poll, in one request. Raises Unreachable when the profile's `alive` stands still."""
        look = await self._look()
        return MachineSignals(state=look.state, recipe=look.recipe, made=look.made, defective=look.defective)

    async def safe_state(self, unit: str | None = None) -> None:
        """Stops a machine that is not at rest, and aborts one that does not stop, where the profile says how."""
        del unit
        if (await self._look()).state in RESTING:
            return
        try:
            await self._send(self.profile.stop)
        except (Rejected, Fault):
            if self.profile.abort is None:
                raise
        if await self._reach(RESTING, self.profile.times.stop) is None and self.profile.abort is not None:
            await self._send(self.profile.abort)
            if await self._reach(RESTING, self.profile.times.stop) is None:
                raise Fault("the machine neither stops nor aborts: look at it")

    # ── actions ──────────────────────────────────────────────────────────────────────────────────────────────────
    async def start(self, call: Call, recipe: Annotated[str, Field(max_length=200)] = "") -> MachineResult:
        """Runs a recipe to its end; empty: the one that is set.

        Raises:
            Rejected: not ready, or the recipe is not taken.
            Fault: stopped or aborted in mid-run, by a person or by itself.
            OutcomeUnknown: the order was sent, and whether it came to anything cannot be told.
        """
        before = await self._look()
        if before.state not in self.profile.ready:
            mend = {"Aborted": "look at it, then `clear` and `reset` it"}.get(before.state or "", "run `reset` first")
            raise Rejected(f"the machine is {before.state or 'in no known state'}; {mend}")
        if recipe:
            await self._choose(recipe)
        self._orders.written()
        try:
            await self._send(self.profile.start, recipe=recipe, id=call.id)
        except OutcomeUnknown:
            if not await self._taken(before):
                raise
        else:
            if not await self._taken(before):
                raise OutcomeUnknown(
                    f"the machine took the order and was not seen to start within {self.profile.times.start:g} s"
                )
        call.accepted(run=(await self._look()).run)
        return await self._to_the_end(before.made, before.run)

    async def stop(self, call: Call) -> None:
        """Ends in order what it does. Done when it is Stopped."""
        del call
        state = (await self._look()).state
        if state == "Stopped":
            return
        if state in {"Aborting", "Aborted"}:
            raise Rejected(f"the machine is {state}; look at it, then `clear` it")
        await self._send(self.profile.stop)
        await self._must(frozenset({"Stopped"}), self.profile.times.stop, "does not stop")

    async def reset(self, call: Call) -> None:
        """Brings it from Stopped or Complete to where it can start (Idle; with LADS, Stopped does as well)."""
        del call
        state = (await self._look()).state
        if state in self.profile.ready:
            return
        if state not in {"Stopped", "Complete"}:
            raise Rejected(f"the machine is {state or 'in no known state'}: it can be reset from Stopped and Complete")
        of_its_own = self.profile.reset_stopped if state == "Stopped" else None
        await self._send(of_its_own or self.profile.reset)
        await self._must(self.profile.ready, self.profile.times.reset, "does not come to Idle")

    @action(effect=Effect.STATE, timeout=120, duration=5)
    async def clear(self, call: Call) -> None:
        """Brings it from Aborted to Stopped, after a person has looked at it."""
        del call
        if self.profile.clear is None:
            raise Rejected(f"the profile {self.settings.profile} has no `clear`: clear the machine at its panel")
        state = (await self._look()).state
        if state == "Stopped":
            return
        if state != "Aborted":
            raise Rejected(f"the machine is {state or 'in no known state'}: there is nothing to clear")
        await self._send(self.profile.clear)
        await self._must(frozenset({"Stopped"}), self.profile.times.reset, "stays aborted")

    # ── after the fact ───────────────────────────────────────────────────────────────────────────────────────────
    async def baseline(self, action: str, unit: str) -> dict[str, JsonValue]:
        del action, unit
        look = await self._look()
        return {"run": look.run, "made": look.made, "server": look.server_started}

    async def outcome(self, intent: Intent) -> Outcome:
        """Whether a start came to anything, by the profile's `run` against the intent's baseline."""
        if intent.action != "start" or self.profile.run is None or intent.baseline.get("run") is None:
            return await super().outcome(intent)
        await self._orders.arrived()
        look = await self._look()
        if look.run is None:
            return Outcome(Verdict.UNKNOWN, f"{self.profile.run} cannot be read")
        return self._as_before(look, intent) if look.run == intent.baseline["run"] else self._begun(look, intent)

    def _as_before(self, look: Look, intent: Intent) -> Outcome:
        """Of a machine whose `run` did not change: that proves something only in one life of its server."""
        same = f"{self.profile.run} is {look.run!r} as before"
        if look.server_started != intent.baseline.get("server"):
            return Outcome(Verdict.UNKNOWN, f"{same}, but the server was restarted since")
        if look.state not in self.profile.ready:
            return Outcome(Verdict.UNKNOWN, f"{same}, but the machine is {look.state}")
        return Outcome(Verdict.NOT_DONE, f"{same}, and the machine is ready")

    @staticmethod
    def _begun(look: Look, intent: Intent) -> Outcome:
        before = intent.baseline["run"]
        if isinstance(before, int) and look.run != before + 1:
            return Outcome(
                Verdict.UNKNOWN, f"the machine was started more than once: its run went from {before} to {look.run}"
            )
        if look.state == "Complete":
            made = _more(look.made, _int(intent.baseline.get("made")))
            return Outcome(Verdict.DONE, f"run {look.run} is complete", MachineResult(state="Complete", made=made))
        if look.state is None or look.state in RESTING | ENDED_BADLY:
            return Outcome(Verdict.UNKNOWN, f"run {look.run} was begun, and the machine is {look.state}")
        return Outcome(Verdict.RUNNING, f"run {look.run} is under way: {look.state}")

    async def attach(self, intent: Intent, call: Call) -> Result:
        """Watches a run that is under way to its end."""
        if intent.action != "start":
            raise OutcomeUnknown(f"{intent.action} cannot be taken up again")
        call.accepted(run=(await self._look()).run)
        return await self._to_the_end(_int(intent.baseline.get("made")), intent.baseline.get("run"))

    # ── looking and waiting ──────────────────────────────────────────────────────────────────────────────────────
    async def _look(self) -> Look:
        profile = self.profile
        nodes = (*profile.state, profile.run, profile.made, profile.defective, profile.recipe, _STARTED)
        wanted = [Watched(node=node) for node in nodes if node is not None]
        found = await self._reader.read(self._open_link(), [*wanted, *([profile.alive] if profile.alive else [])])
        if profile.alive is not None and found[profile.alive.node] is None:
            raise Unreachable(f"the server answers, and {profile.alive.node} stands still: its machine is not heard")
        run = found.get(profile.run) if profile.run is not None else None
        recipe = found.get(profile.recipe) if profile.recipe is not None else None
        started = found[_STARTED]
        return Look(
            state=self._state(found),
            run=run if isinstance(run, (int, str)) else None,
            made=count(profile.made, found),
            defective=count(profile.defective, found),
            recipe=str(recipe) if recipe is not None else None,
            server_started=str(started) if started is not None else None,
        )

    def _state(self, found: dict[str, Any]) -> str | None:
        """PackML's word, of the first node that does not hand on to the next."""
        for node in self.profile.state:
            said = found[node]
            if said is None:
                return None
            if said not in self.profile.within:
                known = self.profile.words.get(str(said), str(said))
                return known if known in PACKML_STATES else None
        return None

    async def _choose(self, recipe: str) -> None:
        if self.profile.set_recipe is None:
            if not any("{recipe}" in str(one.value) for one in self.profile.start.arguments):
                raise Rejected(f"the profile {self.settings.profile} has no way to choose a recipe")
            return
        await self._send(self.profile.set_recipe, recipe=recipe)
        if self.profile.recipe is not None and (kept := (await self._look()).recipe) != recipe:
            raise Rejected(f"the machine keeps the recipe {kept!r} where {recipe!r} was chosen")

    async def _taken(self, before: Look) -> bool:
        """Whether the machine is seen to have begun within its time. Looks that fail are borne until then."""
        end = clock.monotonic() + self.profile.times.start
        while True:
            try:
                look = await self._look()
            except DeviceError:
                pass
            else:
                if look.run != before.run or look.state not in {*self.profile.ready, None}:
                    return True
            if clock.monotonic() >= end:
                return False
            await asyncio.sleep(LOOK)

    async def _to_the_end(self, made: int | None, run: JsonValue) -> MachineResult:
        start = heard = clock.monotonic()
        seen = False  # at work; one that starts from Stopped may say so for a moment
        while True:
            try:
                look = await self._look()
            except DeviceError as error:
                if clock.monotonic() - heard > LOST:
                    raise OutcomeUnknown(f"the machine is out of reach: {error.message}; its run may go on") from error
                await asyncio.sleep(LOOK)
                continue
            heard = clock.monotonic()
            if look.state == "Complete":
                return MachineResult(state="Complete", made=_more(look.made, made))
            late = clock.monotonic() - start > self.profile.times.start
            if look.state in ENDED_BADLY and (seen or late or look.state not in self.profile.ready):
                raise Fault(f"the machine did not complete its run: it is {look.state}; look at it")
            if look.state == "Idle":  # one that resets itself; what it made tells that it came to its end
                gained = _more(look.made, made)
                if gained and look.run != run:
                    return MachineResult(state="Idle", made=gained)
                if seen or late:
                    raise OutcomeUnknown("the machine is Idle again, and was not seen to complete its run")
            seen = seen or look.state not in {*self.profile.ready, None}
            await asyncio.sleep(min(SELDOM, max(LOOK, (heard - start) / 100)))

    async def _reach(self, goals: Collection[str], seconds: float) -> str | None:
        """The goal that it came to within its time, or None. Raises as the link does."""
        end = clock.monotonic() + seconds
        while True:
            state = (await self._look()).state
            if state in goals:
                return state
            if clock.monotonic() >= end:
                return None
            await asyncio.sleep(LOOK)

    async def _must(self, goals: Collection[str], seconds: float, failing: str) -> None:
        if await self._reach(goals, seconds) is None:
            raise Fault(f"the machine {failing} within {seconds:g} s; it is {(await self._look()).state}")

    async def _send(self, order: Order, **given: str) -> None:
        await send(self._open_link(), order, **given)

    def _open_link(self) -> OpcUaLink:
        if self._link is None:
            raise Unreachable(f"{self.settings.address} is not connected")
        return self._link


def _int(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _more(now: int | None, before: int | None) -> int | None:
    return None if now is None or before is None else now - before
