"""A press whose PLC confirms each command, measures force and ram, counts strokes and watches its guards."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable

import structlog

from drivers.plc_crimper.profile import HandshakeProfile
from drivers.plc_crimper.state import State, cause_of, result_of, slack
from labd import clock
from labd.io.arrival import Orders
from labd.io.modbus import ModbusLink, float32, from_float32, uint32
from labd.sdk import Call, DeviceError, Fault, Intent, Outcome, OutcomeUnknown, Rejected, Unreachable, Verdict
from labd.sdk.roles import CrimperSignals, CrimpResult

log = structlog.get_logger(__name__)

POLL = 0.1  # s; between two looks at the status while something is waited for
STILL_POLLS = 2  # polls in a row in which the heartbeat did not beat, before the PLC counts as dead
BEAT_LOOKS = (0.3, 0.4)  # s; looks within one poll: its period may be a multiple of the beat's
LET_GO = 0.5  # s that a PLC needs to see that a command was taken back
SETTLE = 1.0  # s; a start that is still on its way shows within it
OVER_CAUSES = frozenset({1, 2, 3, 6})
"""Alarm codes whose cause is over when it is gone: E-stop, guard, light curtain (a person's doing), our heartbeat."""
BEAT = 1.0  # s between two toggles of our heartbeat while something is waited for


class HandshakePress:
    """The sequences of the `handshake` profile."""

    def __init__(self, link: ModbusLink, profile: HandshakeProfile) -> None:
        self._link = link
        self._profile = profile
        self._beat_out = False
        self._beat_at = 0.0
        self._beat_in: bool | None = None
        self._still = 0
        self._orders = Orders()

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────
    async def state(self) -> State:
        """Status and values, in two requests."""
        inputs, values, order = self._profile.inputs, self._profile.values, self._profile.word_order
        addresses = dict(inputs)
        low, high = min(addresses.values()), max(addresses.values())
        read = await self._link.read_discrete_inputs(low, high - low + 1)
        places = {name: at for name, at in values if at is not None}
        first = min(places.values())
        last = max(at + (0 if name == "alarm_code" else 1) for name, at in places.items())
        registers = await self._link.read_input_registers(first, last - first + 1)

        def pair(name: str) -> list[int]:
            return registers[places[name] - first : places[name] - first + 2]

        def number(name: str) -> float | None:
            value = float32(pair(name), order)
            return value if math.isfinite(value) else None

        return State(
            {name: read[address - low] for name, address in addresses.items()},
            number("force"),
            number("ram"),
            number("peak_force"),
            number("displacement"),
            uint32(pair("cycles"), order),
            uint32(pair("uptime"), order) if "uptime" in places else None,
            registers[places["alarm_code"] - first] if "alarm_code" in places else 0,
        )

    async def check(self) -> None:
        """One look, and a heartbeat. Raises Unreachable when it does not beat."""
        self._beat_in, self._still = None, 0
        self._orders.written()
        await self.state()
        if not await self._beats():
            raise Unreachable("the PLC answers, and its heartbeat stands still: its program does not run")

    async def read(self) -> CrimperSignals:
        """One poll: toggles our heartbeat, and looks for the PLC's."""
        state = await self.state()
        await self._beat()
        self._still = 0 if await self._beats() else self._still + 1
        if self._still >= STILL_POLLS:
            raise Unreachable(f"the PLC's heartbeat stood still over {self._still} polls: its program does not run")
        return CrimperSignals(
            force=state.force,
            ram=state.ram,
            guard_closed=state["guard_closed"],
            estop=state["estop"],
            cycles=state.cycles,
        )

    async def _beat(self) -> None:
        """Toggles our heartbeat: a PLC that watches it stops by itself when labd is gone or hangs."""
        self._beat_out, self._beat_at = not self._beat_out, clock.monotonic()
        await self._link.write_coil(self._profile.coils.heartbeat, on=self._beat_out)

    async def _beats(self) -> bool:
        for wait in (0.0, *BEAT_LOOKS):
            await asyncio.sleep(wait)
            now = (await self._link.read_discrete_inputs(self._profile.inputs.heartbeat))[0]
            before, self._beat_in = self._beat_in, now
            if before is not None and before is not now:
                return True
        return False

    # ── actions ──────────────────────────────────────────────────────────────────────────────────────────────────
    async def open(self) -> None:
        await self._clear_for_motion(await self.state())
        await self._command("open_ram", lambda s: s["ram_open"], self._profile.times.ram, "the ram did not open")

    async def close(self) -> None:
        await self._clear_for_motion(await self.state())
        await self._command("close_ram", lambda s: s["ram_closed"], self._profile.times.ram, "the ram did not close")

    async def reset(self) -> None:
        """Acknowledges an alarm. Raises Fault while its cause lasts."""
        cause = cause_of(await self.state())
        if cause:
            raise Fault(cause)
        await self._command(
            "reset", lambda s: s["reset_done"] and not s["alarm"], self._profile.times.confirm, "the alarm stays"
        )

    async def safe(self) -> None:
        """Ends a stroke and takes the force off.

        Start is cleared, a running stroke is stopped, and the ram is driven open where guard, light curtain and
        E-stop allow motion; else it stays where the hardware holds it. A press at rest and open is left alone.
        """
        await self._link.write_coil(self._profile.coils.start, on=False)
        state = await self.state()
        if state["running"]:
            await self._command("stop", lambda s: not s["running"], 4.0, "the stroke did not stop", guarded=False)
            state = await self.state()
        if not state["ram_open"] and not state["alarm"] and cause_of(state) is None:
            await self._command("open_ram", lambda s: s["ram_open"], 7.0, "the ram did not open")

    async def crimp(self, call: Call, force: float, dwell: float) -> CrimpResult:
        """One stroke, by the handshake.

        Raises:
            Unreachable: the link failed before start; nothing was pressed.
            Rejected: the PLC refused before start.
            Fault: E-stop, guard, light curtain, overload; a PLC that does not confirm; a stroke that does not end.
            OutcomeUnknown: start was ordered, and what came of it cannot be told.
        """
        async with _before_start():
            counter = await self._prepare(force, dwell)
        await self._start(call, counter)
        return await self._to_the_end(counter, dwell)

    async def _prepare(self, force: float, dwell: float) -> int:
        """Auto mode, initialised, recipe taken: all but the start. Gives the cycle counter."""
        times, order = self._profile.times, self._profile.word_order
        state = await self._clear_for_motion(await self.state())
        if state["running"]:
            raise Rejected("a stroke is under way already")
        # what an order that was cut short may have left behind would hide the edges that are waited for below
        await self._link.write_coil(self._profile.coils.start, on=False)
        await self._link.write_coil(self._profile.coils.recipe_request, on=False)
        await self._recipe_free()
        if not state["auto"]:
            await self._command("auto", lambda s: s["auto"], times.confirm, "the PLC does not go to auto")
        if not state["initialised"]:
            await self._command("init", lambda s: s["initialised"], times.init, "the press did not initialise")
        for address, value in ((self._profile.recipe.target_force, force), (self._profile.recipe.dwell, dwell)):
            words = from_float32(value, order)
            await self._link.write_registers(address, words)
            kept = await self._link.read_holding_registers(address, 2)
            if kept != words:
                raise Rejected(
                    f"the PLC keeps {float32(kept, order):.4g} at register {address} where {value:.4g} was written"
                )
        await self._command(
            "recipe_request", lambda s: s["recipe_ready"], times.confirm, "the PLC does not take the recipe"
        )
        state = await self._recipe_free()
        if not (state["auto"] and state["initialised"]):
            raise Fault("the PLC left auto before the start")
        return state.cycles

    async def _recipe_free(self) -> State:
        state, late = await self._until(lambda s: not s["recipe_ready"], self._profile.times.confirm)
        if late:
            raise Fault("the PLC's recipe_ready does not fall: its recipe handshake hangs")
        return state

    async def _start(self, call: Call, counter: int) -> None:
        coil, seconds = self._profile.coils.start, self._profile.times.start
        try:
            with contextlib.suppress(OutcomeUnknown):  # a reply may be lost and the order not: the status tells
                self._orders.written()
                await self._link.write_coil(coil, on=True)
            state, late = await self._watch(lambda s: s["running"] or s.cycles_since(counter) > 0, seconds)
        finally:
            await self._let_go(coil)
        if late:
            raise OutcomeUnknown(f"start was ordered, and the press did not report a stroke within {seconds:g} s")
        call.accepted(counter=counter, running=state["running"])

    async def _to_the_end(self, counter: int, dwell: float) -> CrimpResult:
        seconds = self._profile.times.cycle + dwell
        state, late = await self._watch(
            lambda s: s["cycle_done"] and not s["running"] and s.cycles_since(counter) > 0, seconds
        )
        if late and state["running"]:
            raise Fault(f"the stroke did not end within {seconds:g} s: look at the press")
        if late:
            raise OutcomeUnknown(f"the stroke ended, and its end was not reported within {seconds:g} s")
        if state.cycles_since(counter) != 1:
            raise OutcomeUnknown(f"the cycle counter went from {counter} to {state.cycles} over one stroke")
        return result_of(state, dwell)

    # ── what became of a stroke ──────────────────────────────────────────────────────────────────────────────────
    async def baseline(self) -> dict[str, int | float | None]:
        state = await self.state()
        return {
            "counter": state.cycles,
            "uptime": state.uptime,
            "peak_force": state.peak_force,
            "displacement": state.displacement,
        }

    async def outcome(self, intent: Intent) -> Outcome:
        """By the counter: one more is done; unchanged is not done if the PLC was not restarted and nothing moved."""
        counter = intent.baseline.get("counter")
        if not isinstance(counter, int):
            return Outcome(Verdict.UNKNOWN, "the cycle counter was not read before the order")
        await self._link.write_coil(self._profile.coils.start, on=False)
        await asyncio.sleep(SETTLE)
        state = await self.state()
        if state.cycles_since(counter) == 0 and not state["running"]:
            await self._orders.arrived()  # a start that was sent on an earlier connection may still be on its way
            await self._link.write_coil(self._profile.coils.start, on=False)
            await asyncio.sleep(SETTLE)
            state = await self.state()
        counted = state.cycles_since(counter)
        said = f"the cycle counter went from {counter} to {state.cycles}"
        restart = self._restarted(state, intent)
        if restart:
            return Outcome(Verdict.UNKNOWN, f"{restart}; {said}")
        if state["running"] and counted == 0:
            return Outcome(Verdict.RUNNING, "the stroke is under way")
        if counted == 1 and not state["running"]:
            return Outcome(Verdict.DONE, said, result_of(state, float(getattr(intent.parameters, "dwell", 0.0))))
        doubt = f"another stroke is under way, or was; {said}" if counted else self._doubt(state, intent)
        if doubt:
            return Outcome(Verdict.UNKNOWN, doubt)
        return Outcome(Verdict.NOT_DONE, f"the cycle counter stayed at {counter}, and the PLC was not restarted")

    def _doubt(self, state: State, intent: Intent) -> str | None:
        """Why an unchanged counter does not prove that nothing moved, or None."""
        if state["alarm"] or cause_of(state):
            return f"{self._alarm_words(state)}: a stroke may have begun"
        peaks = (state.peak_force, state.displacement)
        if peaks != (intent.baseline.get("peak_force"), intent.baseline.get("displacement")):
            return "the cycle counter is unchanged, and the peak values are not: a stroke may have begun"
        ran = intent.baseline.get("uptime")
        if state.uptime is None or not isinstance(ran, int):
            return "the cycle counter is unchanged, and a restart would go unseen"
        if ran <= slack((clock.now() - intent.at).total_seconds()):
            return "the cycle counter is unchanged, and the PLC had run for so short that a restart would go unseen"
        return None

    async def attach(self, intent: Intent) -> CrimpResult:
        counter = intent.baseline.get("counter")
        if not isinstance(counter, int):
            raise OutcomeUnknown("the cycle counter was not read before the order")
        await self._let_go(self._profile.coils.start)  # whoever started it may be gone
        return await self._to_the_end(counter, float(getattr(intent.parameters, "dwell", 0.0)))

    def _restarted(self, state: State, intent: Intent) -> str | None:
        before = intent.baseline.get("uptime")
        if state.uptime is None or not isinstance(before, int):
            return None
        grown, elapsed = state.uptime - before, (clock.now() - intent.at).total_seconds()
        if grown < 0 or abs(grown - elapsed) > slack(elapsed):
            return f"the PLC was restarted: it ran {before} s before the order and runs {state.uptime} s now"
        return None

    # ── handshakes ───────────────────────────────────────────────────────────────────────────────────────────────
    async def _command(
        self, name: str, met: Callable[[State], bool], seconds: float, words: str, *, guarded: bool = True
    ) -> None:
        """Sets a command, waits for its status, clears the command, and reads it back. The coil is cleared always."""
        coil = int(getattr(self._profile.coils, name))
        if (await self._link.read_coils(coil))[0]:  # left by a program that died: its edge would not be seen
            await self._link.write_coil(coil, on=False)
            await asyncio.sleep(LET_GO)
        try:
            await self._link.write_coil(coil, on=True)
            _, late = await self._until(met, seconds, guarded=guarded and name != "reset")
        finally:
            await self._let_go(coil)
        if late:
            raise Fault(f"{words}: no confirmation of {name!r} within {seconds:g} s")
        if (await self._link.read_coils(coil))[0]:
            raise Fault(f"the PLC does not let go of the command {name!r}: coil {coil} stays set")

    async def _let_go(self, coil: int) -> None:
        """Clears a command; once more where the reply is lost, since clearing is harmless."""
        for last in (False, True):
            try:
                await self._link.write_coil(coil, on=False)
            except (Unreachable, OutcomeUnknown) as error:
                if last:
                    log.warning("a command coil could not be cleared", coil=coil, problem=str(error))
            else:
                return

    async def _until(self, met: Callable[[State], bool], seconds: float, *, guarded: bool = True) -> tuple[State, bool]:
        """Polls until it is met; gives the last look, and whether time ran out. Raises Fault on an alarm."""
        end = clock.monotonic() + seconds
        while True:
            if clock.monotonic() - self._beat_at >= BEAT:
                await self._beat()
            state = await self.state()
            if met(state):
                return state, False
            if guarded and (state["alarm"] or cause_of(state)):
                raise Fault(self._alarm_words(state))
            if clock.monotonic() >= end:
                return state, True
            await asyncio.sleep(POLL)

    async def _watch(self, met: Callable[[State], bool], seconds: float) -> tuple[State, bool]:
        """As `_until`, after the start: bears lost replies, and says nothing that would mean `nothing moved`."""
        end = clock.monotonic() + seconds
        while True:
            try:
                return await self._until(met, max(0.0, end - clock.monotonic()))
            except Fault:
                raise
            except DeviceError as error:
                if clock.monotonic() >= end:
                    raise OutcomeUnknown(f"the link was lost after the start: {error.message}") from error
                await asyncio.sleep(POLL)

    async def _clear_for_motion(self, state: State) -> State:
        """Refuses while a guard is open. A latched alarm of a cause that a person has ended is acknowledged."""
        if cause_of(state):
            raise Fault(self._alarm_words(state))
        if not state["alarm"]:
            return state
        if state.alarm_code not in OVER_CAUSES:
            raise Fault(f"{self._alarm_words(state)}: look at the press, then give it `reset`")
        log.warning("alarm acknowledged, its cause is gone", alarm=self._alarm_words(state))
        await self.reset()
        return await self.state()

    def _alarm_words(self, state: State) -> str:
        words = cause_of(state) or self._profile.alarms.get(state.alarm_code)
        words = words or f"the PLC reports alarm {state.alarm_code}"
        return f"{words}, at {state.force:.3g} kN" if state.force and state.force > 0.1 else words


@contextlib.asynccontextmanager
async def _before_start() -> AsyncIterator[None]:
    """Before the start a lost reply has cost nothing: to the caller nothing was sent."""
    try:
        yield
    except OutcomeUnknown as error:
        raise Unreachable(f"{error.message}, before the start: nothing was pressed", sent=error.sent) from error
