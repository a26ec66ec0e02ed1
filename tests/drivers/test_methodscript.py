"""The MethodSCRIPT driver against an instrument on a real pty that says what the facts say, and worse."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from drivers.methodscript import DRIVER, MethodScript
from labd import clock
from labd.sdk import Call, Fault, Intent, OutcomeUnknown, Rejected, Setup, Unreachable, Verdict
from tests.peers import Peer, Scripted


def volt(value: float) -> str:
    return f"{round(value * 1e6) + 0x8000000:07X}u"


class Pstat(Peer):
    """Answers `t`, `i`, `Z`, `Y`; a script is answered by `on_script`, with `(delay, text)` one after another."""

    def __init__(self) -> None:
        super().__init__()
        self.version = "tes4_hr1104#Jan 15 2023 10:00:00\nR*\n"
        self.scripts: list[str] = []
        self.heard: list[str] = []
        self.on_script: Callable[[str], list[tuple[float, str]]] = lambda _: [(0.01, "e\n"), (0.01, "\n")]
        self.ends_at = 0.0
        self._line = b""
        self._script: list[str] | None = None

    @property
    def busy(self) -> bool:
        return clock.monotonic() < self.ends_at

    def hear(self, data: bytes) -> None:
        *lines, self._line = (self._line + data).split(b"\n")
        for raw in lines:
            line = raw.decode()
            if self._script is not None:
                self._script.append(line)
                if not line:
                    self.play("\n".join(self._script))
                    self._script = None
            elif line == "e" and not self.busy:
                self._script = []
            else:
                self.heard.append(line)
                self.command(line)

    def command(self, line: str) -> None:
        if line == "t":
            self.say("t!0006\n" if self.busy else self.version)
        elif line == "i":
            self.say("iES4HR20B0008\n")
        elif line == "Z" and self.busy:
            self.hush()
            self.ends_at = 0.0
            self.say("Z\n")
            self.say("*\n\n", 0.05)
        elif line == "Y" and self.busy:
            self.hush()
            self.ends_at = 0.0
            self.say("Y\n*\n\n", 0.05)
        elif line == "e" or line in ("Z", "Y"):
            self.say(f"{line}!0006\n")

    def play(self, script: str) -> None:
        self.scripts.append(script)
        delay = 0.0
        for wait, text in self.on_script(script):
            delay += wait
            self.say(text, delay)
        self.ends_at = clock.monotonic() + delay


def charging(script: str) -> list[tuple[float, str]]:
    """A cell that is charged with 1 mA from 3.0 V, 1 mV a second; any other script ends at once."""
    if "meas_loop_cp" not in script:
        return [(0.01, "e\n"), (0.01, "\n")]
    points = [
        (10.0, f"Peb{10 * n + 0x8000000:07X} ;ab{volt(3 + 0.01 * n)},10,215;db80003E8u,10,215\n") for n in range(1, 21)
    ]
    return [(0.05, "e\n"), (0.0, "M0008\n"), *points, (0.0, "*\n"), (0.01, "\n")]


@contextlib.asynccontextmanager
async def driver_of(peer: Peer, **settings: object) -> AsyncIterator[MethodScript]:
    driver = DRIVER(Setup("stat1", {"port": peer.port, **settings}))
    try:
        yield driver
    finally:
        await driver.close()
        peer.unplug()


@contextlib.asynccontextmanager
async def connected(peer: Peer, **settings: object) -> AsyncIterator[MethodScript]:
    async with driver_of(peer, **settings) as driver:
        await driver.connect()
        yield driver


def charge_of(driver: MethodScript, id_: str = "a1") -> Intent:
    parameters = driver.actions["constant_current"].parameters.model_validate(
        {"current": "1 mA", "until_time": "200 s", "until_voltage": "4.2 V", "interval": "10 s"}
    )
    return Intent(id_, "constant_current", "", parameters, {}, clock.now())


async def charge(driver: MethodScript, call: Call | None = None) -> object:
    return await driver.constant_current(call or Call("a1"), 1e-3, 200.0, 4.2, 10.0)


async def test_a_transcript_with_a_torn_line_a_bare_package_and_not_a_number() -> None:
    peer = Scripted("methodscript_open_circuit.jsonl")
    rows: list[tuple[float | None, ...]] = []
    async with driver_of(peer, model="pico") as driver:
        about = await driver.connect()
        result = await driver.open_circuit(Call("a1", on_row=rows.append), 3.0)
    assert (about.model, about.serial) == ("EmStat Pico", "ESPIC20B0008")
    assert about.firmware == "espico1304#Oct 22 2021 14:38:26 R"
    assert rows == [(1.0, -0.499905, 0.0), (2.0, None, 0.0), (3.0, 0.453668, 0.0)]
    assert result.final_voltage == 0.453668
    assert result.mean_voltage == pytest.approx((0.453668 - 0.499905) / 2)
    assert not peer.player.rest


async def test_a_refused_script_is_rejected_with_its_line_and_the_instrument_goes_on() -> None:
    peer = Scripted("methodscript_refused.jsonl")
    async with connected(peer) as driver:
        with pytest.raises(Rejected, match=r"error 4001 in line 2 of the script.*`cell_off`"):
            await driver.cell_off(Call("a1"))
        await driver.cell_off(Call("a2"))
    assert not peer.player.rest


async def test_charge_is_integrated_and_rows_come_as_they_are_measured() -> None:
    peer = Pstat()
    peer.on_script = charging
    rows: list[tuple[float, tuple[float | None, ...]]] = []
    accepted: list[object] = []
    async with connected(peer) as driver:
        began = clock.monotonic()
        call = Call("a1", on_row=lambda row: rows.append((clock.monotonic() - began, row)), on_accepted=accepted.append)
        result = await charge(driver, call)
    assert len(rows) == 20
    assert rows[0] == (pytest.approx(10.07, abs=0.01), (10.0, 3.01, 1e-3))
    assert result.charge == pytest.approx(1e-3 * 200 / 3.6)
    assert (result.final_voltage, result.reason) == (3.2, "time")
    assert len(accepted) == 1


async def test_polls_give_the_last_values_while_a_script_runs_and_look_at_the_cell_when_it_is_idle() -> None:
    peer = Pstat()

    def answer(script: str) -> list[tuple[float, str]]:
        if "meas_loop_ocp" in script:
            return [(0.01, "e\nM000B\n"), (0.1, f"Pab{volt(3.3)},10,202\n*\n\n")]
        return charging(script)

    peer.on_script = answer
    async with connected(peer) as driver:
        idle = await driver.read_state()
        assert (idle.voltage, idle.current, idle.overload) == (3.3, 0.0, False)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(charge(driver))
            await asyncio.sleep(45)
            count = len(peer.scripts)
            state = await driver.read_state()
            assert (state.voltage, state.current, state.range) == (3.04, 1e-3, "1 mA")
            assert len(peer.scripts) == count
        assert running.result().reason == "time"


async def test_a_bad_cell_reads_as_overload() -> None:
    peer = Pstat()
    peer.on_script = lambda _: [(0.01, "e\n"), (0.1, "Pab     nan,12\n\n")]
    async with connected(peer) as driver:
        state = await driver.read_state()
    assert (state.voltage, state.overload) == (None, True)


async def test_cancel_ends_the_loop_and_the_action_returns_what_it_has() -> None:
    peer = Pstat()
    peer.on_script = charging
    async with connected(peer) as driver, asyncio.TaskGroup() as group:
        running = group.create_task(charge(driver))
        await asyncio.sleep(55)
        with pytest.raises(Rejected, match="does not run"):
            await driver.cancel("another")
        await driver.cancel("a1")
        result = await running
    assert result.reason == "cancelled"
    assert result.charge == pytest.approx(1e-3 * 50 / 3.6)
    assert "Y" in peer.heard


async def test_safe_state_aborts_what_runs_and_switches_the_cell_off_as_often_as_it_is_called() -> None:
    peer = Pstat()
    peer.on_script = charging
    async with connected(peer) as driver, asyncio.TaskGroup() as group:
        running = group.create_task(charge(driver))
        await asyncio.sleep(55)
        await driver.safe_state()
        await driver.safe_state("")
        assert (await running).reason == "cancelled"
    assert peer.heard.count("Z") == 1
    assert peer.scripts[-2:] == ["set_pgstat_chan 0\ncell_off\n"] * 2


async def test_an_error_at_run_time_switches_the_cell_off_since_on_finished_is_skipped() -> None:
    peer = Pstat()
    peer.on_script = lambda script: (
        [(0.05, "e\nM0008\n"), (10, "!0032: Line 14\n"), (0.05, "\n")] if "cp" in script else charging(script)
    )
    async with connected(peer) as driver:
        with pytest.raises(Fault, match="critical overload"):
            await charge(driver)
    assert peer.scripts[-1] == "set_pgstat_chan 0\ncell_off\n"


async def test_an_instrument_that_falls_silent_leaves_the_outcome_unknown_and_its_late_lines_are_nobodys() -> None:
    peer = Pstat()
    peer.on_script = lambda script: [(0.05, "e\nM0008\n")] if "cp" in script else charging(script)
    async with connected(peer) as driver:
        with pytest.raises(OutcomeUnknown, match="no answer in time"):
            await charge(driver)
        peer.say("Peb800000A ;ab86ACFC0u;db80003E8u\n*\n\n")
        assert (await driver.outcome(charge_of(driver))).verdict is Verdict.UNKNOWN
        peer.on_script = charging
        assert (await charge(driver, Call("a2"))).reason == "time"


async def test_garbage_between_the_lines_costs_a_row_and_no_more() -> None:
    peer = Pstat()

    def damaged(script: str) -> list[tuple[float, str]]:
        lines = charging(script)
        if len(lines) > 2:
            lines[4] = (10.0, "Peb\xff\xfe;;!4\x00\n")
        return lines

    peer.on_script = damaged
    rows: list[object] = []
    async with connected(peer) as driver:
        result = await charge(driver, Call("a1", on_row=rows.append))
    assert len(rows) == 19
    assert result.charge == pytest.approx(1e-3 * 200 / 3.6)


async def test_an_unplugged_instrument_is_unknown_and_then_unreachable() -> None:
    peer = Pstat()
    peer.on_script = charging
    async with connected(peer) as driver:
        asyncio.get_running_loop().call_later(45, peer.unplug)
        with pytest.raises(OutcomeUnknown, match="link is lost"):
            await charge(driver)
        with pytest.raises(Unreachable):
            await driver.read_state()
        with pytest.raises(Unreachable):
            await driver.safe_state()


async def test_a_script_that_outlived_its_daemon_is_found_and_followed_to_its_end() -> None:
    peer = Pstat()
    peer.on_script = charging
    rows: list[tuple[float | None, ...]] = []
    async with driver_of(peer) as first:
        await first.connect()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(55):
                await charge(first)
        await first.close()  # the daemon is gone

        second = DRIVER(Setup("stat1", {"port": peer.port}))
        await second.connect()
        await asyncio.sleep(30)
        assert (await second.read_state()).voltage == pytest.approx(3.08)
        with pytest.raises(Rejected, match="earlier order"):
            await charge(second, Call("a2"))
        asked = charge_of(second)
        assert (await second.outcome(asked)).verdict is Verdict.RUNNING
        result = await second.attach(asked, Call("a1", on_row=rows.append))
        assert result.final_voltage == 3.2
        assert "taken up" in result.reason
        assert [row[0] for row in rows] == [10.0 * n for n in range(6, 21)]
        assert (await second.outcome(asked)).verdict is Verdict.UNKNOWN
        await second.close()
    assert "Z" not in peer.heard


async def test_a_script_that_outlived_its_daemon_can_be_made_safe() -> None:
    peer = Pstat()
    peer.on_script = charging
    async with connected(peer) as driver:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(55):
                await charge(driver)
        await driver.safe_state()
        assert peer.scripts[-1] == "set_pgstat_chan 0\ncell_off\n"
        assert (await charge(driver, Call("a2"))).reason == "time"


async def test_another_model_than_lab_yaml_says_is_a_fault() -> None:
    async with driver_of(Pstat(), model="nexus") as driver:
        with pytest.raises(Fault, match=r"lab\.yaml says Nexus, but .* is an EmStat4 HR"):
            await driver.connect()


async def test_a_port_where_nothing_answers_says_what_to_check() -> None:
    peer = Pstat()
    peer.version = ""
    async with driver_of(peer) as driver:
        with pytest.raises(Unreachable, match="is it on, is this its port"):
            await driver.connect()


async def test_half_a_command_of_an_earlier_life_does_not_keep_it_from_being_found() -> None:
    peer = Pstat()
    real, peer.command = peer.command, lambda line: real(line) if line == "t" else peer.say(f"{line[:1]}!0003\n")
    peer.hear(b"set_ran")
    async with driver_of(peer) as driver:
        assert (await driver.connect()).firmware.startswith("es4_hr1104")


@pytest.mark.parametrize(
    ("model", "action", "parameters", "words"),
    [
        ("pico", "constant_current", {"current": "1 mA", "until_time": "1 h"}, "cannot drive a current"),
        ("pico", "cycle", {"upper": "1 V", "lower": "0 V", "cycles": 1, "current": "1 mA"}, "cannot drive a current"),
        ("pico", "constant_voltage", {"voltage": "2.5 V", "until_time": "1 h"}, r"-1\.7 V to 2 V"),
        ("emstat4_hr", "constant_current", {"current": "300 mA", "until_time": "1 h"}, r"0\.3 A is above .*0\.2 A"),
        ("emstat4_hr", "constant_current", {"current": "0 A", "until_time": "1 h"}, "use open_circuit"),
        ("emstat4_lr", "constant_voltage", {"voltage": "3.5 V", "until_time": "1 h"}, "-3 V to 3 V"),
        ("nexus", "impedance", {"f_max": "2 MHz", "f_min": "1 Hz"}, "1e-05 Hz to 1e\\+06 Hz"),
        ("nexus", "impedance", {"f_max": "1 Hz", "f_min": "1 kHz"}, "must be above f_min"),
        ("nexus", "cycle", {"upper": "3 V", "lower": "4 V", "cycles": 1, "current": "1 mA"}, "must be above lower"),
        ("nexus", "cycle", {"upper": "4 V", "lower": "3 V", "cycles": 1}, "give a current"),
        ("nexus", "cycle", {"upper": "4 V", "lower": "3 V", "cycles": 1, "c_rate": 0.1}, "capacity: 3 mAh"),
        (
            "nexus",
            "cycle",
            {"upper": "4 V", "lower": "3 V", "cycles": 1, "current": "1 mA", "cv_until": "1 mA"},
            "cv_until, .*, must be below",
        ),
        (
            "nexus",
            "cyclic_voltammetry",
            {"start": "0 V", "vertex1": "11 V", "vertex2": "0 V", "scan_rate": "1 V/s"},
            "vertex1",
        ),
    ],
)
async def test_limits_are_kept_before_anything_is_sent(
    model: str, action: str, parameters: dict[str, object], words: str
) -> None:
    driver = DRIVER(Setup("stat1", {"port": "/dev/null-never-opened", "model": model}))
    declared = driver.actions[action]
    with pytest.raises(Rejected, match=words):
        await driver.invoke(declared, declared.parameters.model_validate(parameters), Call("a"))


async def test_the_cells_own_limits_hold_and_stand_in_the_script() -> None:
    peer = Pstat()
    peer.on_script = charging
    async with connected(peer, min_voltage="2.5 V", max_voltage="4.3 V", max_current="5 mA") as driver:
        with pytest.raises(Rejected, match=r"4\.4 V is above max_voltage of stat1, 4\.3 V"):
            await driver.constant_voltage(Call("a"), 4.4, 10.0)
        with pytest.raises(Rejected, match="limit of max_current of stat1"):
            await driver.constant_current(Call("a"), 6e-3, 10.0)
        await driver.constant_current(Call("a"), 1e-3, 200.0)
    assert "if p >= 4300m\nbreakloop" in peer.scripts[-1]
    assert "if p <= 2500m\nbreakloop" in peer.scripts[-1]


@pytest.mark.parametrize(
    "whole", [{"capacity": 2.0}, {"active_mass": 0.0125, "specific_capacity": 160.0}], ids=["capacity", "active mass"]
)
async def test_a_c_rate_is_a_current_of_the_cells_capacity(whole: dict[str, float]) -> None:
    peer = Pstat()
    cycle = "Peb8000E10 ;ab{};db{}u;ee8000001i;ee800000{}i\n"
    peer.on_script = lambda script: (
        [
            (0.05, "e\nL\nM0008\n"),
            (36, cycle.format(volt(4.2), "80000C8", 1) + "*\nM0008\n"),
            (36, cycle.replace("8000E10", "8001C20").format(volt(2.8), "7FFFF38", 4) + "*\n+\n\n"),
        ]
        if "loop n" in script
        else charging(script)
    )
    rows: list[object] = []
    async with connected(peer) as driver:
        result = await driver.cycle(Call("a", on_row=rows.append), 4.2, 2.8, 1, c_rate=0.1, **whole)
    assert "meas_loop_cp p c 200u 10 360k" in peer.scripts[-1]
    assert result.current == pytest.approx(2e-4)
    assert result.capacities == [pytest.approx(0.2)]
    assert result.coulombic_efficiencies == [pytest.approx(100)]
    assert rows == [(3600.0, 4.2, 2e-4, 1), (7200.0, 2.8, -2e-4, 1)]


# ── lines that are nobody's ──────────────────────────────────────────────────────────────────────────────────────
async def test_an_output_that_comes_twice_is_not_the_next_scripts() -> None:
    peer = Pstat()
    peer.on_script = lambda script: [(0.01, "".join(text for _, text in charging(script)) * 2)]
    async with connected(peer) as driver:
        await charge(driver)
        peer.on_script = charging
        rows: list[object] = []
        assert (await charge(driver, Call("a2", on_row=rows.append))).reason == "time"
        assert len(rows) == 20


async def test_a_loops_end_that_lost_its_sign_is_not_the_scripts_end() -> None:
    peer = Pstat()
    lines = charging("meas_loop_cp")
    half = [*lines[:12], (0.0, "\n"), (0.0, "M0008\n"), *lines[12:]]
    peer.on_script = lambda script: half if "meas_loop_cp" in script else charging(script)
    rows: list[object] = []
    async with connected(peer) as driver:
        await charge(driver, Call("a1", on_row=rows.append))
    assert len(rows) == 20


async def test_a_late_package_of_a_script_that_has_ended_is_no_reading() -> None:
    peer = Pstat()
    peer.on_script = lambda _: [(0.01, "e\nM000B\n")]  # and then it is late
    async with connected(peer) as driver:
        with pytest.raises(OutcomeUnknown):
            await driver.read_state()
        peer.on_script = lambda _: [(0.01, f"e\nM000B\nPab{volt(3.3)}\n*\n\n")]
        hear = peer.command
        peer.command = lambda line: (peer.say(f"Pab{volt(1.1)}\n*\n\n"), hear(line))  # type: ignore[method-assign]
        assert (await driver.read_state()).voltage == pytest.approx(3.3)


async def test_a_glance_that_tells_nothing_leaves_no_old_value() -> None:
    peer = Pstat()
    peer.on_script = lambda _: [(0.01, f"e\nM000B\nPab{volt(3.3)}\n*\n\n")]
    async with connected(peer) as driver:
        assert (await driver.read_state()).voltage == pytest.approx(3.3)
        peer.on_script = lambda _: [(0.01, "e\nM000B\n*\n\n")]
        assert (await driver.read_state()).voltage is None
