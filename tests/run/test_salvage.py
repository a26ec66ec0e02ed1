"""`labd safe-state`: after the daemon's death a press opens and a charge goes on."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from labd import clock
from labd.journal import Journal, JournalError, NewEvent
from labd.lab.config import read_lab
from labd.run.salvage import InFlight, Salvage, in_flight, in_maintenance, plan
from labd.sdk import About, Call, Driver, OnLoss, Unreachable
from simulators._kit.host import SimulatorHost
from simulators._kit.world import LID, Cell
from tests.toys import ToyBox, ToyPress

LAB: dict[str, Any] = {
    "labd": 1,
    "lab": "bench",
    "store": "store",
    "devices": {
        "press": {"driver": "plc_crimper", "settings": {"address": "modbus://127.0.0.1:0"}, "simulator": {}},
        "arm": {"driver": "meca500", "settings": {"address": "127.0.0.1:0"}, "simulator": {}},
        "stat1": {"driver": "methodscript", "settings": {"port": "stat1"}, "simulator": {}},
        "stat2": {"driver": "methodscript", "settings": {"port": "stat2"}, "simulator": {}},
    },
}


def intended(device: str, action: str, on_loss: str, number: int = 1, run: str = "run-1", unit: str = "") -> NewEvent:
    data = {"action_id": f"{run}-{number:03d}", "device": device, "unit": unit, "action": action, "on_loss": on_loss}
    return NewEvent("action.intended", data, run)


async def write(directory: Path, *events: NewEvent) -> Path:
    path = directory / "store" / "journal.sqlite"
    journal = await Journal.open(path)
    await journal.append(*events)
    await journal.close()
    return path


def settled(kind: str, number: int, run: str = "run-1") -> NewEvent:
    return NewEvent(kind, {"action_id": f"{run}-{number:03d}"}, run)


# ── what was under way ───────────────────────────────────────────────────────────────────────────────────────────
async def test_in_flight_is_what_was_intended_and_has_no_outcome(tmp_path: Path) -> None:
    path = await write(
        tmp_path,
        intended("press", "crimp", "stop", 1),
        settled("action.done", 1),
        intended("ot2", "transfer", "stop", 2),
        settled("action.failed", 2),
        intended("arm", "pick", "stop", 3),
        settled("action.unknown", 3),  # nobody knows: it may still move
        intended("stat1", "cycle", "continue", 4),
        settled("action.accepted", 4),
        intended("stat2", "impedance", "stop", 5),
        settled("action.unknown", 5),
        settled("action.reconciled", 5),
        intended("stat3", "impedance", "stop", 1, run="run-2"),  # of a run that was ended with it unknown
        NewEvent("run.ended", {"outcome": "aborted"}, "run-2"),
    )
    assert [(one.device, str(one), one.on_loss) for one in in_flight(path)] == [
        ("arm", "pick of run-1", OnLoss.STOP),
        ("stat1", "cycle of run-1", OnLoss.CONTINUE),
    ]


async def test_of_a_unit_the_last_counts(tmp_path: Path) -> None:
    path = await write(tmp_path, intended("stat1", "impedance", "stop", 1), intended("stat1", "cycle", "continue", 2))
    assert [one.action for one in in_flight(path)] == ["cycle"]


async def test_what_was_said_to_the_daemon_counts_as_maintenance(tmp_path: Path) -> None:
    lab = tmp_path / "lab.yaml"
    lab.write_text(json.dumps(LAB))
    journal = await Journal.open(tmp_path / "journal.sqlite")
    journal.keep("maintenance/press", {"upkeep": {"reason": "seal", "by": "eva", "since": ""}, "over": None})
    journal.keep("maintenance/arm", {"upkeep": None, "over": None})
    await journal.close()
    assert in_maintenance(read_lab(lab), tmp_path / "journal.sqlite") == {"press"}
    assert in_maintenance(read_lab(lab), tmp_path / "none.sqlite") == set()


def test_without_a_journal_nothing_is_under_way(tmp_path: Path) -> None:
    assert in_flight(tmp_path / "journal.sqlite") == []


async def test_a_journal_that_is_none_is_told(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_text("no journal at all, but text of some length, so that it is taken for a damaged file")
    with pytest.raises(JournalError, match="cannot be read"):
        in_flight(path)


STOP = InFlight("press", "", "crimp", OnLoss.STOP, "run-1")
ON = InFlight("cycler", "2", "cycle", OnLoss.CONTINUE, "run-2")
UNITS = {"press": ("",), "cycler": ("1", "2", "3"), "bath": ("",)}


def test_only_what_says_stop_is_made_safe() -> None:
    plans = {one.device: one for one in plan([STOP, ON], UNITS, everything=False)}
    assert {name: one.units for name, one in plans.items()} == {"press": (None,), "cycler": (), "bath": ()}
    assert plans["press"].why == "crimp of run-1 was under way"
    assert plans["cycler"].why == "cycle of run-2 goes on by itself"
    assert plans["bath"].why == "nothing was under way"


def test_all_means_all_but_what_goes_on_and_what_a_person_works_on() -> None:
    plans = plan([STOP, ON], UNITS, everything=True, spared={"bath"})
    assert {one.device: one.units for one in plans} == {"press": (None,), "cycler": ("1", "3"), "bath": ()}


def test_a_channel_that_says_stop_is_stopped_beside_one_that_goes_on() -> None:
    stop = InFlight("cycler", "1", "impedance", OnLoss.STOP, "run-3")
    plans = {one.device: one for one in plan([stop, ON], UNITS, everything=False)}
    assert plans["cycler"].units == ("1",)
    assert plans["cycler"].why == "impedance of run-3 was under way; cycle of run-2 goes on by itself"


# ── at the devices ───────────────────────────────────────────────────────────────────────────────────────────────
class Bench:
    """Simulators that outlive the daemon, the lab.yaml that reaches them, and drivers of a daemon that is to die."""

    def __init__(self, directory: Path, host: SimulatorHost, lab: dict[str, Any]) -> None:
        self.directory = directory
        self.host = host
        self.lab = lab

    @property
    def file(self) -> Path:
        path = self.directory / "lab.yaml"
        path.write_text(json.dumps(self.lab))  # JSON is YAML
        return path

    async def told(self, *, everything: bool = False) -> dict[str, tuple[bool | None, str]]:
        found = await Salvage.of(self.file, everything=everything).run()
        return {one.device: (one.safe, one.text) for one in found}

    async def begin(self, name: str, action: str, **values: Any) -> None:
        """Orders it as a daemon does that dies in its midst."""
        from labd.lab.config import load_lab
        from labd.lab.lab import Lab

        driver: Driver = Lab(load_lab(self.file)).devices[name].driver
        await driver.connect()
        one = driver.actions[action]
        task = asyncio.ensure_future(driver.invoke(one, one.parameters.model_validate(values), Call("run-1-001")))
        await asyncio.sleep(4)
        link = getattr(driver, "_link", None) or driver._instrument.link  # type: ignore[attr-defined]
        if hasattr(link, "_client"):
            link._client.close()
            link._ready = lambda: asyncio.sleep(3600)  # nothing more goes out
        else:
            link._writer.transport.abort()
        task.cancel()
        await asyncio.wait([task], timeout=1)


@contextlib.asynccontextmanager
async def bench(directory: Path) -> AsyncIterator[Bench]:
    lab = json.loads(json.dumps(LAB))
    host = SimulatorHost(lab, directory, directory / "simulated")
    for name, settings in (await host.start()).items():
        lab["devices"][name]["settings"].update(settings)
    for name in ("press/nest", "stat1/cell", "stat2/cell"):
        closed = {"parts": ["half_cell", LID], "electrolyte": {"LP57": 40.0}, "wetted_at": 0.0}
        crimped = {"crimped_at": 1.0, "crimp_force": 7.8} if name != "press/nest" else {}
        host.world.put(name, Cell(id=name.replace("/", "-"), **closed, **crimped))
    try:
        yield Bench(directory, host, lab)
    finally:
        await host.stop()


async def test_a_press_in_mid_stroke_opens_and_a_charge_goes_on(tmp_path: Path) -> None:
    async with bench(tmp_path) as lab:
        plc: Any = lab.host.simulators["press"].plc  # type: ignore[attr-defined]
        stat: Any = lab.host.simulators["stat1"]
        await lab.begin("stat1", "cycle", current="0.5 mA", upper="4.2 V", lower="2.8 V", cycles=1, interval="10 s")
        await lab.begin("press", "crimp", force="7.8 kN", dwell="60 s")
        assert plc.stroke is not None
        await write(tmp_path, intended("press", "crimp", "stop", 1), intended("stat1", "cycle", "continue", 2))
        began = clock.monotonic()
        told = await lab.told()
        assert clock.monotonic() - began < 10
        assert told == {
            "press": (True, "made safe, crimp of run-1 was under way"),
            "arm": (None, "left alone, nothing was under way"),
            "stat1": (None, "left alone, cycle of run-1 goes on by itself"),
            "stat2": (None, "left alone, nothing was under way"),
        }
        assert (plc.stroke, plc.force, plc.cycles) == (None, 0.0, 0)
        assert stat._running  # its script


async def test_a_measurement_that_says_stop_ends_and_its_cell_is_off(tmp_path: Path) -> None:
    async with bench(tmp_path) as lab:
        stat: Any = lab.host.simulators["stat2"]
        sweep = {"start": "3.0 V", "vertex1": "3.5 V", "vertex2": "3.0 V", "scan_rate": "1 mV/s"}
        await lab.begin("stat2", "cyclic_voltammetry", **sweep)
        assert stat._running
        await write(tmp_path, intended("stat2", "cyclic_voltammetry", "stop"))
        assert (await lab.told())["stat2"] == (True, "made safe, cyclic_voltammetry of run-1 was under way")
        assert not stat._running


async def test_all_makes_the_rest_safe_too_and_never_what_goes_on(tmp_path: Path) -> None:
    async with bench(tmp_path) as lab:
        stat: Any = lab.host.simulators["stat1"]
        await lab.begin("stat1", "cycle", current="0.5 mA", upper="4.2 V", lower="2.8 V", cycles=1, interval="10 s")
        await write(tmp_path, intended("stat1", "cycle", "continue"))
        told = await lab.told(everything=True)
        assert {name: safe for name, (safe, _) in told.items()} == {
            "press": True,
            "arm": True,
            "stat1": None,
            "stat2": True,
        }
        assert stat._running


async def test_a_device_that_is_not_there_is_told_and_the_others_are_made_safe(tmp_path: Path) -> None:
    async with bench(tmp_path) as lab:
        lab.lab["devices"]["arm"] = {"driver": "meca500", "settings": {"address": "127.0.0.1:9"}}  # a real one
        lab.lab["devices"]["ghost"] = {"driver": "no_such", "settings": {}}
        await write(
            tmp_path,
            intended("arm", "pick", "stop", 1),
            intended("press", "crimp", "stop", 2),
            intended("ghost", "spook", "stop", 3),
        )
        began = clock.monotonic()
        told = await lab.told()
        assert clock.monotonic() - began < 10
        assert told["press"][0] is True
        assert told["arm"][0] is False
        assert told["arm"][1].startswith("NOT SAFE, pick of run-1 was under way: nobody listens at 127.0.0.1:9")
        assert told["ghost"] == (
            False,
            "NOT SAFE, spook of run-1 was under way: its driver cannot be made; `labd check --lab` says why",
        )


async def test_simulators_that_died_with_the_daemon_are_no_failure(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(json.dumps(LAB))
    await write(tmp_path, intended("press", "crimp", "stop"), intended("stat1", "impedance", "stop", 2))
    found = {one.device: one for one in await Salvage.of(path).run()}
    assert found["press"].safe is None
    assert found["press"].text == "simulated inside the daemon and gone with it, crimp of run-1 was under way"
    assert found["stat1"].safe is None


async def test_while_a_daemon_has_the_store_nothing_is_touched(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(json.dumps(LAB))
    await write(tmp_path, intended("press", "crimp", "stop"))
    journal = await Journal.open(tmp_path / "store" / "journal.sqlite")
    with pytest.raises(JournalError, match="has this store open"):
        await Salvage.of(path, everything=True).run()
    await journal.close()


# ── through another device ───────────────────────────────────────────────────────────────────────────────────────
class Gone(ToyPress):
    """A press whose link is gone; where `silent`, one that never answers to the order of its safe state."""

    silent = False

    async def connect(self) -> About:
        if not self.silent:
            raise Unreachable("no link")
        return await super().connect()

    async def safe_state(self, unit: str | None = None) -> None:
        await asyncio.sleep(3600)


class Silent(Gone):
    silent = True


class Mains(ToyBox):
    """A box that counts over all its instances what it cut."""

    cuts: ClassVar[list[str]] = []

    async def cut(self, call: Call, outlet: str = "press") -> None:
        await super().cut(call, outlet)
        assert self.connects == 1
        self.cuts.append(outlet)

    async def connect(self) -> About:
        self.connects = 0
        return await super().connect()


class DeadMains(ToyBox):
    async def connect(self) -> About:
        raise Unreachable("no mains")


async def told_through(tmp_path: Path, *events: NewEvent, **kinds: type[Driver]) -> dict[str, tuple[bool | None, str]]:
    """What becomes of a press that the mains make safe, and of the mains."""
    by = {"device": "mains", "action": "cut", "with": {"outlet": "p"}}
    devices = {"press": {"driver": "press", "safe_by": by}, "mains": {"driver": "mains"}}
    path = tmp_path / "lab.yaml"
    path.write_text(json.dumps({"labd": 1, "lab": "bench", "store": "store", "devices": devices}))
    await write(tmp_path, *events)
    Mains.cuts.clear()
    began = clock.monotonic()
    told = await Salvage(read_lab(path), find={"mains": Mains, **kinds}.__getitem__).run()
    assert clock.monotonic() - began < 10
    return {one.device: (one.safe, one.text) for one in told}


@pytest.mark.parametrize(("kind", "itself"), [(Gone, "no link"), (Silent, "no answer within 4 s")])
async def test_what_cannot_be_reached_is_made_safe_by_another_device(
    tmp_path: Path, kind: type[Driver], itself: str
) -> None:
    told = await told_through(tmp_path, intended("press", "crimp", "stop"), press=kind)
    assert told["press"] == (True, f"made safe by mains.cut, crimp of run-1 was under way; itself: {itself}")
    assert told["mains"] == (None, "left alone, nothing was under way")
    assert Mains.cuts == ["p"]


async def test_the_other_device_is_made_safe_itself_first(tmp_path: Path) -> None:
    events = intended("press", "crimp", "stop", 1), intended("mains", "cut", "stop", 2)
    told = await told_through(tmp_path, *events, press=Gone)
    assert [told["press"][0], told["mains"][0]] == [True, True]
    assert Mains.cuts == ["p"]


async def test_no_other_device_is_asked_where_nothing_was_to_stop_or_it_stopped_itself(tmp_path: Path) -> None:
    assert (await told_through(tmp_path, press=Gone))["press"][0] is None
    told = await told_through(tmp_path, intended("press", "crimp", "stop"), press=ToyPress)
    assert told["press"] == (True, "made safe, crimp of run-1 was under way")
    assert Mains.cuts == []


async def test_what_neither_way_makes_safe_is_told_with_both_reasons(tmp_path: Path) -> None:
    told = await told_through(tmp_path, intended("press", "crimp", "stop"), press=Gone, mains=DeadMains)
    assert told["press"] == (False, "NOT SAFE, crimp of run-1 was under way: no link; mains.cut: no mains")


def test_no_other_device_ends_what_goes_on() -> None:
    stop = InFlight("cycler", "1", "impedance", OnLoss.STOP, "run-3")
    assert [one.others for one in plan([stop, ON], UNITS, everything=False)] == [True, False, True]


# ── what is left for the next daemon ─────────────────────────────────────────────────────────────────────────────
async def kept_debts(tmp_path: Path) -> dict[str, Any]:
    journal = await Journal.open(tmp_path / "store" / "journal.sqlite")
    kept = await journal.kept("owed/")
    assert await journal.verify() is None
    await journal.close()
    return kept


async def test_what_did_not_become_safe_is_kept_until_it_is(tmp_path: Path) -> None:
    crimp = intended("press", "crimp", "stop")
    why = "when labd had died: crimp of run-1 was under way"
    assert (await told_through(tmp_path, crimp, press=Gone, mains=DeadMains))["press"][0] is False
    assert await kept_debts(tmp_path) == {"owed/press": {"due": {"": why}}}
    done = settled("action.done", 1)
    told = await told_through(tmp_path, done, press=Gone)  # by another device: its own safe state is still due
    assert told["press"][1].startswith(f"made safe by mains.cut, it was to be made safe ({why})")
    assert await kept_debts(tmp_path) == {"owed/press": {"due": {"": why}}}
    told = await told_through(tmp_path, done, press=ToyPress)
    assert told["press"] == (True, f"made safe, it was to be made safe ({why})")
    assert await kept_debts(tmp_path) == {}


def test_what_was_due_is_made_safe_but_for_what_goes_on_and_what_a_person_works_on() -> None:
    due = {"cycler": {"": "smoke"}, "bath": {"": "smoke"}, "press": {"": "smoke"}}
    plans = {one.device: one for one in plan([STOP, ON], UNITS, everything=False, spared={"bath"}, due=due)}
    assert {name: one.units for name, one in plans.items()} == {"press": (None,), "cycler": ("1", "3"), "bath": ()}
    assert plans["press"].why == "crimp of run-1 was under way; it was to be made safe (smoke)"
