"""What became of an action is told by a driver that never ordered it: from the intent alone, after its program died."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from drivers.meca500 import DRIVER as MECA500
from drivers.mt_sics import DRIVER as METTLER
from drivers.opentrons import DRIVER as OPENTRONS
from drivers.plc_crimper import DRIVER as CRIMPER
from labd import clock
from labd.sdk import Call, Driver, Intent, Labware, OutcomeUnknown, Setup, Verdict
from simulators._kit.world import Cell, World
from tests.wires import test_meca500 as meca
from tests.wires import test_methodscript as script
from tests.wires import test_mt_sics as scales
from tests.wires import test_opentrons as ot2
from tests.wires import test_plc_crimper as press
from tests.wires.relay import killed, relay

LIVED = 300.0  # s that a PLC has run before: long enough that a restart would show


async def intended(driver: Driver, action: str, **values: Any) -> Intent:
    parameters = driver.actions[action].parameters.model_validate(values)
    return Intent("run-1-001", action, "", parameters, await driver.baseline(action, ""), clock.now())


def order(driver: Driver, intent: Intent) -> asyncio.Task[Any]:
    action = driver.actions[intent.action]
    return asyncio.ensure_future(driver.invoke(action, intent.parameters, Call(intent.id, baseline=intent.baseline)))


# ── crimper ──────────────────────────────────────────────────────────────────────────────────────────────────────
START_ON = b"\x05\x00\x00\xff\x00"


@pytest.mark.parametrize(
    ("forward", "dies_after", "asked_after", "verdict", "strokes"),
    [
        (False, 0.0, 0.0, Verdict.NOT_DONE, 0),  # start was on the wire, and never arrived
        (False, 0.0, 60.0, Verdict.NOT_DONE, 0),
        (True, 0.0, 0.0, Verdict.DONE, 1),  # it arrived, its reply was lost; by `RUNNING` and attach
        (True, 0.0, 60.0, Verdict.DONE, 1),
    ],
)
async def test_a_crimp_whose_program_died_at_its_start(
    forward: bool, dies_after: float, asked_after: float, verdict: Verdict, strokes: int
) -> None:
    async with press.press() as (real, simulator):
        port = int(real.settings.address.rpartition(":")[2])  # type: ignore[attr-defined]
        await asyncio.sleep(LIVED)
        async with relay(port, lambda data: START_ON in data, forward=forward) as (wire, listens):
            first = CRIMPER(Setup("press", {"address": f"modbus://127.0.0.1:{listens}"}))
            await first.connect()
            intent = await intended(first, "crimp", force="7.8 kN", dwell="2 s")
            await killed(order(first, intent), wire, dies_after)
        await asyncio.sleep(asked_after)
        await _crimp_settled(simulator, port, intent, verdict, strokes)


@pytest.mark.parametrize("dies_after", [0.2, 1.0, 2.0, 4.0, 8.0])
async def test_a_crimp_whose_program_died_in_mid_action(dies_after: float) -> None:
    async with press.press() as (real, simulator):
        port = int(real.settings.address.rpartition(":")[2])  # type: ignore[attr-defined]
        await asyncio.sleep(LIVED)
        async with relay(port, lambda _: False, forward=True) as (wire, listens):
            first = CRIMPER(Setup("press", {"address": f"modbus://127.0.0.1:{listens}"}))
            await first.connect()
            intent = await intended(first, "crimp", force="7.8 kN", dwell="2 s")
            await killed(order(first, intent), wire, dies_after)
        plc: Any = simulator.plc  # type: ignore[attr-defined]
        started = plc.commanded("start") or plc.status.running or plc.cycles == 1
        verdict = Verdict.DONE if started else Verdict.NOT_DONE
        await _crimp_settled(simulator, port, intent, verdict, int(started))


async def _crimp_settled(simulator: Any, port: int, intent: Intent, verdict: Verdict, strokes: int) -> None:
    second = CRIMPER(Setup("press", {"address": f"modbus://127.0.0.1:{port}"}))
    await second.connect()
    outcome = await second.outcome(intent)
    if outcome.verdict is Verdict.RUNNING:
        result: Any = await second.attach(intent, Call(intent.id))
        outcome = await second.outcome(intent)
        assert outcome.result == result
    assert (outcome.verdict, simulator.plc.cycles) == (verdict, strokes), outcome.why
    cell = simulator.world.cell("press/nest")
    assert cell is not None
    assert (cell.crimped_at is not None, cell.damage) == (bool(strokes), [])
    # and the next one goes through, whatever coils the dead program left set
    again = await intended(second, "crimp", force="7.8 kN", dwell="2 s")
    await order(second, again)
    assert simulator.plc.cycles == strokes + 1
    await second.close()


async def test_a_plc_that_was_restarted_since_is_no_proof_and_neither_is_one_that_had_just_been_switched_on() -> None:
    async with press.press() as (driver, simulator):
        young = await intended(driver, "crimp", force="7.8 kN", dwell="2 s")
        outcome = await driver.outcome(young)
        assert (outcome.verdict, "restart would go unseen" in outcome.why) == (Verdict.UNKNOWN, True)
        await asyncio.sleep(LIVED)
        old = await intended(driver, "crimp", force="7.8 kN", dwell="2 s")
        await simulator.stop()
        await asyncio.sleep(5)
        found = await simulator.start()
        again = CRIMPER(Setup("press", found))
        await again.connect()
        assert (await again.outcome(old)).verdict is Verdict.UNKNOWN
        await again.close()


async def test_a_plc_that_watches_our_heartbeat_stops_when_it_is_gone_and_goes_on_after_it() -> None:
    async with press.press() as (_, simulator):
        simulator.bench.options["heartbeat_limit"] = 3.0
        await simulator.stop()
        port = int((await simulator.start())["address"].rpartition(":")[2])
        await asyncio.sleep(LIVED)
        async with relay(port, lambda _: False, forward=True) as (wire, listens):
            first = CRIMPER(Setup("press", {"address": f"modbus://127.0.0.1:{listens}"}))
            await first.connect()
            whole = await intended(first, "crimp", force="7.8 kN", dwell="10 s")
            await order(first, whole)  # longer than the limit: the driver itself beats
            assert simulator.plc.cycles == 1  # type: ignore[attr-defined]
            cut = await intended(first, "crimp", force="7.8 kN", dwell="10 s")
            await killed(order(first, cut), wire, 5.0)
        await asyncio.sleep(30)
        assert simulator.plc.cycles == 1  # type: ignore[attr-defined]
        assert simulator.plc.force == 0  # type: ignore[attr-defined]
        second = CRIMPER(Setup("press", {"address": f"modbus://127.0.0.1:{port}"}))
        await second.connect()
        outcome = await second.outcome(cut)
        assert outcome.verdict is Verdict.UNKNOWN
        assert "heartbeat of labd stood still" in outcome.why
        await order(second, await intended(second, "crimp", force="7.8 kN", dwell="2 s"))
        assert simulator.plc.cycles == 2  # type: ignore[attr-defined]
        await second.close()


# ── pipetting robot ──────────────────────────────────────────────────────────────────────────────────────────────
COMMANDS = ("home", "pickUpTip", "aspirate", "dispense", "moveToAddressableAreaForDropTip", "dropTipInPlace")


@pytest.mark.parametrize("asked_after", [0.0, 120.0])
@pytest.mark.parametrize("forward", [False, True])
@pytest.mark.parametrize("command", COMMANDS)
async def test_a_transfer_whose_program_died_at_a_command(command: str, forward: bool, asked_after: float) -> None:
    async with ot2.robot() as (real, simulator):
        address: str = real.settings.address  # type: ignore[attr-defined]
        port = int(address.rpartition(":")[2])
        marked = f'"commandType":"{command}"'.encode()
        async with relay(port, lambda data: marked in data.replace(b'": "', b'":"'), forward=forward) as (
            wire,
            listens,
        ):
            first = _robot(real, f"http://127.0.0.1:{listens}")
            await first.connect()
            intent = await intended(first, "transfer", source="ot2/2/A1", destination="ot2/3/A1", volume="35 µL")
            await killed(order(first, intent), wire)
        await asyncio.sleep(asked_after)
        second = _robot(real, address)
        await second.connect()
        outcome = await second.outcome(intent)
        result: Any = outcome.result
        verdict = outcome.verdict
        if verdict is Verdict.RUNNING:
            result = await second.attach(intent, Call(intent.id))
            verdict = Verdict.DONE
            assert (await second.outcome(intent)).verdict is Verdict.DONE
            assert (await second.read_state()).tip_attached is False  # type: ignore[union-attr]
        await asyncio.sleep(60)
        cell = simulator.world.cell("ot2/3/A1")
        assert cell is not None
        given = round(cell.volume / 35)  # doses that the cell really got
        sent = COMMANDS.index(command) + int(forward)  # commands of the dead program that arrived
        expected = Verdict.NOT_DONE if sent <= 2 else Verdict.PARTIAL if sent == 3 else Verdict.DONE
        if asked_after == 0.0 and sent and forward and expected is not Verdict.DONE:
            assert verdict in {expected, Verdict.DONE}  # it was still at it, and was taken up to its end
        else:
            assert verdict is expected, outcome.why
        assert given == int(verdict is Verdict.DONE)
        if verdict is Verdict.DONE:
            assert result.volume == 35.0
        if verdict is Verdict.PARTIAL:
            assert result.volume == 0.0
        await second.close()


def _robot(like: Driver, address: str) -> Driver:
    setup = like.setup
    return OPENTRONS(Setup(setup.name, {**setup.settings, "address": address}, deck=setup.deck))


async def test_connecting_ends_no_run_in_which_somebody_works() -> None:
    async with ot2.robot() as (real, _):
        task = order(real, await intended(real, "transfer", source="ot2/2/A1", destination="ot2/3/A1", volume="35 µL"))
        await asyncio.sleep(10)
        deck = (*real.setup.deck, Labware("ot2/5", "cell_tray_8"))  # lab.yaml was changed: the run is not its own
        second = OPENTRONS(Setup("ot2", real.setup.settings, deck=deck))
        await second.connect()
        assert (await task).volume == 35.0
        await second.close()


# ── arm ──────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("forward", [False, True])
@pytest.mark.parametrize("dies_after", [0.0, 1.0, 2.5, 60.0])
async def test_a_place_whose_program_died(forward: bool, dies_after: float) -> None:
    async with meca.arm() as (real, simulator):
        await meca.act(real, "pick", place="tray/A1")
        await real.close()
        host, _, port = real.settings.address.rpartition(":")  # type: ignore[attr-defined]
        cuts = (lambda data: b"SetCheckpoint" in data) if dies_after == 0.0 else (lambda _: False)
        async with relay(int(port), cuts, forward=forward) as (wire, listens):
            first = MECA500(Setup("arm", {"address": f"{host}:{listens}"}, real.setup.positions))
            await first.connect()
            intent = await intended(first, "place", place="press/nest")
            await killed(order(first, intent), wire, dies_after)
        await asyncio.sleep(5)
        second = MECA500(Setup("arm", {"address": f"{host}:{port}"}, real.setup.positions))
        await second.connect()
        outcome = await second.outcome(intent)
        held = simulator.world.item("arm/gripper") is not None
        assert outcome.verdict is (Verdict.NOT_DONE if held else Verdict.UNKNOWN), outcome.why
        with pytest.raises(OutcomeUnknown):
            await second.attach(intent, Call(intent.id))
        if held:
            assert (await order(second, intent)).released
            assert simulator.world.cell("press/nest") is not None
        await second.close()


async def test_a_pick_whose_program_died_is_for_a_person_to_say() -> None:
    async with meca.arm() as (real, _):
        await real.close()
        host, _, port = real.settings.address.rpartition(":")  # type: ignore[attr-defined]
        async with relay(int(port), lambda _: False, forward=True) as (wire, listens):
            first = MECA500(Setup("arm", {"address": f"{host}:{listens}"}, real.setup.positions))
            await first.connect()
            intent = await intended(first, "pick", place="tray/A1")
            await killed(order(first, intent), wire, 3.0)
        second = MECA500(Setup("arm", {"address": f"{host}:{port}"}, real.setup.positions))
        await second.connect()
        assert (await second.outcome(intent)).verdict is Verdict.UNKNOWN
        await second.close()


# ── potentiostat ─────────────────────────────────────────────────────────────────────────────────────────────────
async def _cut_line(driver: Driver) -> None:
    """The port closes as it does when its program is killed: no byte more goes out."""
    driver._instrument.link._writer.transport.abort()  # type: ignore[attr-defined]
    await asyncio.sleep(0.1)


@pytest.mark.parametrize("dies_after", [0.5, 60.0, 1500.0])
async def test_a_charge_whose_program_died_goes_on_and_is_taken_up(tmp_path: Path, dies_after: float) -> None:
    async with script.measured(tmp_path) as (first, _):
        intent = await intended(
            first, "constant_current", current="0.5 mA", until_time="1 h", until_voltage="4.1 V", interval="10 s"
        )
        task = order(first, intent)
        await asyncio.sleep(dies_after)
        await _cut_line(first)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        second = script.DRIVER(Setup("stat1", first.setup.settings))
        await second.connect()
        await second.read_state()
        outcome = await second.outcome(intent)
        assert outcome.verdict is Verdict.RUNNING, outcome.why
        rows: list[Any] = []
        result: Any = await second.attach(intent, Call(intent.id, on_row=rows.append))
        assert result.reason == "time; taken up while it ran, what came before is not counted"
        assert rows[-1][0] == pytest.approx(3600, abs=20)  # the instrument's own time: it never stopped
        assert result.charge == pytest.approx(0.5 * (3600 - dies_after) / 3600, abs=0.01)
        assert (await second.outcome(intent)).verdict is Verdict.UNKNOWN  # it does not remember
        await second.close()


@pytest.mark.parametrize("bytes_sent", [0, 20, -6])
async def test_a_script_that_was_cut_off_on_its_way_is_never_run(tmp_path: Path, bytes_sent: int) -> None:
    async with script.measured(tmp_path) as (first, world):
        intent = await intended(first, "constant_current", current="0.5 mA", until_time="1 h", interval="10 s")
        text: str = first._orders.constant_current(5e-4, 3600.0, None, 10.0).text  # type: ignore[attr-defined]
        part = text[:bytes_sent] if bytes_sent != 20 else text[: text.index("timer_star") + len("timer_star")]
        await first._instrument.link.write(part.encode())  # type: ignore[attr-defined]
        await _cut_line(first)
        second = script.DRIVER(Setup("stat1", first.setup.settings))
        about = await second.connect()
        assert "EmStat4" in about.model
        assert (await second.outcome(intent)).verdict is Verdict.UNKNOWN
        await second.read_state()
        cell = world.cell("stat1/cell")
        assert cell is not None
        before = (await second.read_state()).voltage  # type: ignore[union-attr]
        await asyncio.sleep(3600)
        assert (await second.read_state()).voltage == pytest.approx(before, abs=0.01)  # type: ignore[union-attr]
        await second.close()


# ── balance: what may be repeated ────────────────────────────────────────────────────────────────────────────────
async def test_a_weighing_whose_program_died_is_simply_done_again(tmp_path: Path) -> None:
    world = World(3)
    world.put("balance/pan", Cell(id="c1"))
    async with scales.balance(directory=tmp_path, world=world) as (real, _):
        address: str = real.settings.address
        port = int(address.rpartition(":")[2])
        async with relay(port, lambda data: b"S\r\n" in data, forward=True) as (wire, listens):
            first = METTLER(Setup("balance", {"address": f"tcp://127.0.0.1:{listens}"}))
            await first.connect()
            intent = await intended(first, "weigh", settle="10 s")
            await killed(order(first, intent), wire)
        second = METTLER(Setup("balance", {"address": address}))
        await second.connect()
        weighed: Any = await order(second, intent)
        assert weighed.stable
        assert (await second.read_state()).mass == pytest.approx(weighed.mass, abs=0.001)  # type: ignore[union-attr]
        await second.close()
