"""A device in a person's hands, as programs see it: leased, journaled, refused to others, asked about in doubt."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from labd.io.tcp import TcpLink
from labd.journal import Journal, SignalStore
from labd.lab.lab import Lab
from labd.run.engine import Engine
from labd.sdk import Outcome, OutcomeUnknown, Rejected, Verdict
from labd.sdk.roles import CrimpResult
from tests.api.conftest import Bench, Served, running
from tests.toys import Toy, ToyArm, ToyPress, toy_lab


def toy(bench: Bench, name: str = "press") -> Any:
    return bench.engine.lab.devices[name].driver


async def post(bench: Bench, path: str, **body: Any) -> tuple[int, Any]:
    answer = await bench.client.post(path, json={"by": "eva", **body})
    return answer.status_code, answer.json()


async def call(bench: Bench, device: str, action: str, **parameters: str) -> tuple[int, Any]:
    return await post(bench, f"/devices/{device}/actions", action=action, parameters=parameters)


async def ended(bench: Bench, act: dict[str, Any]) -> dict[str, Any]:
    answer = await bench.client.get(f"/devices/{act['device']}/actions/{act['id']}", params={"wait": 60})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def kinds(bench: Bench, run: str) -> list[str]:
    return [event.kind for event in await bench.engine.journal.events(run=run)]


async def test_an_action_by_hand_is_done_and_journaled_with_its_author(served: Served) -> None:
    async with served() as bench:
        code, act = await call(bench, "press", "crimp", force="7.8 kN")
        assert (code, act["state"], act["by"]) == (201, "running", "eva")
        done = await ended(bench, act)
        assert (done["state"], done["result"]["peak_force"]) == ("done", {"v": 7.8, "u": "kN"})
        assert toy(bench).happened == ["crimp"]
        assert await kinds(bench, act["id"]) == [
            "action.by_hand",
            "action.intended",
            "action.sent",
            "action.accepted",
            "action.done",
            "action.by_hand_ended",
        ]
        (event,) = await bench.engine.journal.events(run=act["id"], kinds={"action.by_hand"})
        assert event.data["by"] == "eva"
        assert event.data["parameters"]["force"] == {"v": 7.8, "u": "kN"}
        assert (await bench.client.get("/devices/press/actions")).json() == []


@pytest.mark.parametrize(
    ("device", "action", "parameters", "status", "said"),
    [
        ("pres", "crimp", {}, 404, "press"),
        ("press", "crmp", {}, 422, "did you mean `crimp`"),
        ("press", "crimp", {}, 422, "force"),
        ("press", "crimp", {"force": "7.8"}, 422, "7.8 kN"),
        ("press", "crimp", {"force": "7.8 mL"}, 422, "kN"),
        ("press", "crimp", {"froce": "7 kN"}, 422, "did you mean `force`"),
    ],
)
async def test_what_cannot_be_ordered_is_told_and_nothing_is_sent(
    served: Served, device: str, action: str, parameters: dict[str, str], status: int, said: str
) -> None:
    async with served() as bench:
        code, refused = await call(bench, device, action, **parameters)
        assert (code, toy(bench).happened) == (status, [])
        assert said in refused["error"]["message"]


async def test_limits_of_lab_yaml_hold_for_people_too(served: Served) -> None:
    limits = {"press": {"driver": "press", "simulator": {}, "limits": {"crimp.force": {"max": "5 kN"}}}}
    async with served(devices=limits) as bench:
        code, refused = await call(bench, "press", "crimp", force="7 kN")
        assert code == 422
        assert "that lab.yaml allows" in refused["error"]["message"]


async def test_a_device_that_a_run_has_is_refused(served: Served) -> None:
    async with served() as bench:
        run = (await bench.start())["run"]
        await asyncio.sleep(0.5)  # it presses
        code, refused = await call(bench, "press", "open")
        assert (code, refused["error"]["code"]) == (409, "refused")
        assert f"{run} has press" in refused["error"]["message"]


async def test_a_run_waits_for_a_device_that_somebody_works_with(served: Served) -> None:
    async with served() as bench:
        toy(bench).script["open"] = [8.0]
        _, act = await call(bench, "press", "open")
        run = (await bench.start())["run"]
        await asyncio.sleep(4)
        assert act["id"] in (await bench.client.get(f"/runs/{run}")).json()["cause"]
        code, refused = await call(bench, "press", "close")
        assert code == 409
        assert "which eva ordered by hand" in refused["error"]["message"]
        assert (await ended(bench, act))["state"] == "done"
        assert (await bench.wait(run))["question"] is not None
        assert toy(bench).happened == ["open", "crimp"]


async def test_what_is_refused_and_what_cannot_be_reached_has_failed(served: Served) -> None:
    async with served() as bench:
        toy(bench).script["open"] = [Rejected("the guard is open")]
        _, act = await call(bench, "press", "open")
        failed = await ended(bench, act)
        assert failed["state"] == "failed"
        assert "rejected" in failed["message"]
        assert "the guard is open" in failed["message"]
        code, _ = await call(bench, "press", "open")  # and the lease is given back
        assert code == 201


async def test_in_doubt_a_person_is_asked_and_no_run_gets_the_device_until_then(served: Served) -> None:
    async with served() as bench:
        toy(bench).script["crimp"] = [("after", OutcomeUnknown("its answer was lost"))]
        _, act = await call(bench, "press", "crimp", force="7 kN")
        doubt = await ended(bench, act)
        assert doubt["state"] == "unknown"
        assert "Nobody knows whether press.crimp happened" in doubt["message"]
        assert toy(bench).happened == ["crimp"]  # never a second time
        assert act["id"] in {alarm["id"] for alarm in (await bench.client.get("/alarms")).json()}
        code, refused = await call(bench, "press", "open")
        assert code == 409
        assert "waits to be told what became of crimp" in refused["error"]["message"]
        path = f"/devices/press/actions/{act['id']}/answer"
        assert (await post(bench, path, choice="perhaps"))[0] == 422
        code, settled = await post(bench, path, choice="done")
        assert (code, settled["state"]) == (200, "done")
        (event,) = await bench.engine.journal.events(run=act["id"], kinds={"action.reconciled"})
        assert (event.data["verdict"], event.data["by"]) == ("done", "eva")
        assert (await bench.client.get("/alarms")).json() == []
        assert (await post(bench, path, choice="done"))[0] == 409
        assert (await call(bench, "press", "open"))[0] == 201


async def test_a_device_that_can_tell_is_asked_first(served: Served) -> None:
    async with served() as bench:
        toy(bench).script["crimp"] = [("after", OutcomeUnknown("its answer was lost"))]
        result = CrimpResult(peak_force=7.1, dwell=2.0, displacement=1.0, cycles=1)
        toy(bench).verdict = Outcome(Verdict.DONE, "its counter says so", result)
        _, act = await call(bench, "press", "crimp", force="7 kN")
        done = await ended(bench, act)
        assert (done["state"], done["result"]["peak_force"]["v"]) == ("done", 7.1)


async def test_one_that_is_under_way_can_be_cancelled(served: Served) -> None:
    async with served(toys={"stat": "stat"}) as bench:
        _, act = await call(bench, "stat", "open_circuit", duration="10 min")
        await asyncio.sleep(20)
        code, ended_ = await post(bench, f"/devices/stat/actions/{act['id']}/cancel")
        assert (code, ended_["state"]) == (200, "done")
        assert toy(bench, "stat").cancelled.is_set()
        assert (await post(bench, f"/devices/stat/actions/{act['id']}/cancel"))[0] == 409


async def test_an_abort_of_the_whole_lab_ends_it(served: Served) -> None:
    async with served(toys={"stat": "stat"}) as bench:
        _, act = await call(bench, "stat", "open_circuit", duration="10 min")
        await asyncio.sleep(20)
        assert (await post(bench, "/commands/abort"))[0] == 200
        assert (await ended(bench, act))["state"] in ("done", "failed")
        assert (await bench.client.get("/devices/stat/actions")).json() == []
        assert None in toy(bench, "stat").safe


async def test_what_bars_runs_bars_people_but_in_maintenance_one_answers_for_it(served: Served) -> None:
    async with served() as bench:
        bench.engine.lab.barriers.set("interlock-guard", "the guard is open", ("press",))
        code, refused = await call(bench, "press", "open")
        assert code == 409
        assert "labd maintenance press" in refused["error"]["message"]
        assert (await post(bench, "/devices/press/maintenance", on=True, reason="new seal"))[0] == 200
        assert (await call(bench, "press", "open"))[0] == 201


async def test_a_sample_that_an_arm_carries_by_hand_is_where_it_was_put(served: Served) -> None:
    async with served(
        toys={"press": "press", "arm": "arm"}, deck=[{"place": "tray/a", "labware": "cell_tray_8"}]
    ) as bench:
        places = bench.engine.lab.places
        places.move("cell-x", "tray/a/A1")
        _, act = await call(bench, "arm", "pick", place="tray/a/A1")
        assert ((await ended(bench, act))["state"], act["sample"]) == ("done", "cell-x")
        assert places.place_of("cell-x") == "arm/gripper"
        _, act = await call(bench, "arm", "place", place="press/nest")
        assert (await ended(bench, act))["state"] == "done"
        assert places.place_of("cell-x") == "press/nest"


async def test_a_runs_own_sample_is_not_carried_off(served: Served) -> None:
    async with served(
        toys={"press": "press", "arm": "arm"}, deck=[{"place": "tray/a", "labware": "cell_tray_8"}]
    ) as bench:
        run = (await bench.start(position="tray/a/A1"))["run"]
        await asyncio.sleep(0.5)
        code, refused = await call(bench, "arm", "pick", place="tray/a/A1")
        assert code == 409
        assert f"on which {run} works" in refused["error"]["message"]


# ── a restart ────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[tuple[Journal, SignalStore]]:
    (tmp_path / "store").mkdir()
    journal = await Journal.open(tmp_path / "store" / "journal.sqlite")
    signals = await SignalStore.open(tmp_path / "store" / "signals.sqlite")
    yield journal, signals
    await signals.close()
    await journal.close()


async def _dies_while_it_presses(lab: Lab, store: tuple[Journal, SignalStore]) -> str:
    engine = Engine(lab, *store)
    async with running(engine):
        driver = lab.devices["press"].driver
        assert isinstance(driver, Toy)
        driver.script["crimp"] = [600.0]
        act = await engine.by_hand.order("press", "crimp", {"force": "7 kN"}, by="eva")
        await asyncio.sleep(5)
        return act.id


@pytest.mark.parametrize(
    ("verdict", "state"), [(Verdict.UNKNOWN, "unknown"), (Verdict.NOT_DONE, "failed"), (Verdict.DONE, "done")]
)
async def test_after_a_crash_the_device_is_asked_and_nothing_is_ordered_again(
    tmp_path: Path, store: tuple[Journal, SignalStore], verdict: Verdict, state: str
) -> None:
    act_id = await _dies_while_it_presses(toy_lab(tmp_path, {"press": "press"}), store)
    lab = toy_lab(tmp_path, {"press": "press"})
    driver = lab.devices["press"].driver
    assert isinstance(driver, ToyPress)
    known = CrimpResult(peak_force=7.0, dwell=2.0, displacement=1.0, cycles=1) if verdict is Verdict.DONE else None
    driver.verdict = Outcome(verdict, "its counter says so", known)
    driver.happened = before = ["crimp"] if verdict is Verdict.DONE else []
    engine = Engine(lab, *store)
    async with running(engine):
        act = await engine.by_hand.wait(act_id, 60)
        assert (act.state, act.by, driver.happened) == (state, "eva", before)
        if state == "unknown":
            assert (await engine.by_hand.answer(act_id, "not done", "mk")).state == "failed"
    assert await store[0].kept("by-hand/") == {}


async def test_an_end_in_order_waits_for_what_acts(tmp_path: Path, store: tuple[Journal, SignalStore]) -> None:
    lab = toy_lab(tmp_path, {"press": "press"})
    engine = Engine(lab, *store)
    async with running(engine):
        act = await engine.by_hand.order("press", "crimp", {"force": "7 kN"}, by="eva")
        await asyncio.sleep(0.1)
        await engine.leave_all()
        assert engine.by_hand.act(act.id).state == "done"


# ── teaching and calibrating ─────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def arm(monkeypatch: pytest.MonkeyPatch) -> None:
    async def pose(self: ToyArm) -> tuple[float, ...]:
        return (140.0, 110.1234567, 50.0, 180.0, 0.0, 180.0)

    monkeypatch.setattr(ToyArm, "pose", pose)


async def test_where_an_arm_stands_is_taught_with_day_author_and_validity(
    served: Served, tmp_path: Path, arm: None
) -> None:
    file = tmp_path / "arm.yaml"
    file.write_text("# taught by hand\nhome: {pose: [190, 0, 180, 180, 0, 180], taught: 2026-01-01, by: mk} # up\n")
    devices = {"arm": {"driver": "arm", "simulator": {}, "positions": str(file)}}
    async with served(devices=devices) as bench:
        code, given = await post(bench, "/devices/arm/teach", position="press/nest", valid="90 day")
        assert code == 200, given
        assert (given["value"][1], given["by"], given["named"], given["before"]) == (110.1235, "eva", True, None)
        code, again = await post(bench, "/devices/arm/teach", position="home")
        assert again["before"] == [190.0, 0.0, 180.0, 180.0, 0.0, 180.0]
        first, second, third = file.read_text().splitlines()
        assert first == "# taught by hand"
        assert second.startswith("home: {pose: [140, 110.1235, 50, 180, 0, 180], taught: ")
        assert third.startswith("press/nest: {pose: [140, 110.1235")
        assert third.endswith("by: eva, valid: 90 day}")
        positions = toy(bench, "arm").setup.positions
        assert positions["press/nest"].by == "eva"
        (first_event, _) = await bench.engine.journal.events(kinds={"position.taught"})
        assert (first_event.data["name"], first_event.data["by"]) == ("press/nest", "eva")


async def test_what_cannot_be_taught_is_told_and_nothing_is_written(served: Served, tmp_path: Path, arm: None) -> None:
    async with served(toys={"press": "press", "arm": "arm"}) as bench:
        for device, body, said in (
            ("press", {"position": "x"}, "cannot tell where it stands"),
            ("arm", {"position": "a b"}, "is no name"),
            ("arm", {"position": "a", "valid": "90"}, "90 day"),
            ("arm", {"position": "a", "valid": "0 s"}, "90 day"),
        ):
            code, refused = await post(bench, f"/devices/{device}/teach", **body)
            assert code == 409, refused
            assert said in refused["error"]["message"]
        toy(bench, "arm").reads["moving"] = True
        await asyncio.sleep(30)
        code, refused = await post(bench, "/devices/arm/teach", position="a")
        assert "moves" in refused["error"]["message"]
        assert not (bench.engine.lab.config.base / "positions").exists()


async def test_a_file_that_cannot_be_written_or_does_not_hold_is_told(
    served: Served, tmp_path: Path, arm: None
) -> None:
    file = tmp_path / "arm.yaml"
    file.write_text("home: {pose: [1, 2, 3, 4, 5, 6]}\n")
    devices = {"arm": {"driver": "arm", "simulator": {}, "positions": str(file)}}
    async with served(devices=devices) as bench:
        file.write_text("home: {pose: [1]}\n")
        code, refused = await post(bench, "/devices/arm/teach", position="a")
        assert code == 409
        assert "nothing was written" in refused["error"]["message"]
        assert file.read_text() == "home: {pose: [1]}\n"
        file.unlink()
        file.mkdir()
        code, refused = await post(bench, "/devices/arm/teach", position="a")
        assert code == 409
        assert "cannot be written" in refused["error"]["message"]


async def test_calibrations_are_kept_and_reach_the_driver(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "press.yaml"
    devices = {"press": {"driver": "press", "simulator": {}, "calibrations": str(file)}}
    async with served(devices=devices) as bench:
        values = {"force": "1.003", "zero": "0.02 kN", "sensor": "it's: new"}
        code, given = await post(bench, "/devices/press/calibrate", values=values, valid="365 day")
        assert code == 200, given
        assert [one["value"] for one in given] == list(values.values())
        assert all(one["ends"] for one in given)
        assert dict(toy(bench).setup.calibrations) == values
        assert "force: {value: 1.003, calibrated: " in file.read_text()
    lab = toy_lab(tmp_path / "again", {"press": "press"}, devices=devices)
    assert {name: one.value for name, one in lab.calibrations["press"].items()} == values
    assert dict(lab.devices["press"].driver.setup.calibrations) == values


# ── recording ────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_a_device_without_a_link_has_nothing_to_record(served: Served) -> None:
    async with served() as bench:
        code, refused = await post(bench, "/devices/press/recording")
        assert code == 409
        assert "no link" in refused["error"]["message"]


async def test_what_goes_over_a_link_is_recorded_without_secrets(served: Served) -> None:
    async with served() as bench:
        link = TcpLink("10.0.0.9", 1)
        toy(bench)._link = link
        code, recording = await post(bench, "/devices/press/recording", seconds=60)
        assert (code, recording["on"], recording["transcripts"]) == (201, True, [])
        assert (await post(bench, "/devices/press/recording"))[0] == 409  # one at a time
        link._note("out", b"login password=hunter2\r\n")
        link._note("in", b"OK\r\n")
        code, recording = await post(bench, "/devices/press/recording/end")
        assert code == 200
        (text,) = recording["transcripts"]
        assert "hunter2" not in text
        assert "password=*******" in text
        assert link.tap is None
        assert (await post(bench, "/devices/press/recording/end"))[0] == 409
        events = await bench.engine.journal.events(kinds={"device.recorded"})
        assert [(event.data["on"], event.data["by"]) for event in events] == [(True, "eva"), (False, "eva")]


async def test_a_recording_goes_on_with_the_link_of_the_next_connection(served: Served) -> None:
    async with served() as bench:
        first, second = TcpLink("10.0.0.9", 1), TcpLink("10.0.0.9", 1)
        toy(bench)._link = first
        await post(bench, "/devices/press/recording", seconds=60)
        first._note("out", b"a\n")
        toy(bench)._link = second
        await asyncio.sleep(5)  # it is read meanwhile
        second._note("in", b"b\n")
        _, recording = await post(bench, "/devices/press/recording/end")
        (text,) = recording["transcripts"]
        assert [json.loads(line)["data"] for line in text.splitlines()[1:]] == ["a\n", "b\n"]
        assert (first.tap, second.tap) == (None, None)


async def test_an_idle_device_is_read_as_often_as_in_action_while_it_is_recorded(served: Served) -> None:
    async with served() as bench:
        toy(bench)._link = TcpLink("10.0.0.9", 1)
        device = bench.engine.lab.devices["press"]
        assert device._period == device.poll.idle
        await post(bench, "/devices/press/recording", seconds=60)
        assert device._period == device.poll.busy
        await post(bench, "/devices/press/recording/end")
        assert device._period == device.poll.idle


async def test_a_recording_ends_by_itself(served: Served) -> None:
    async with served() as bench:
        toy(bench)._link = TcpLink("10.0.0.9", 1)
        await post(bench, "/devices/press/recording", seconds=5)
        await asyncio.sleep(6)
        assert (await bench.client.get("/devices/press/recording")).json()["on"] is False
        assert (await post(bench, "/devices/press/recording"))[0] == 201


# ── what is no longer good ───────────────────────────────────────────────────────────────────────────────────────
OLD = "force: {value: 1.003, calibrated: 2020-01-01, by: mk, valid: 30 day}\n"


async def test_a_calibration_that_is_no_longer_good_is_asked_about_before_anything_is_sent(
    served: Served, tmp_path: Path
) -> None:
    file = tmp_path / "press.yaml"
    file.write_text(OLD)
    devices = {"press": {"driver": "press", "simulator": {}, "calibrations": str(file)}}
    async with served(devices=devices) as bench:
        assert [problem.code for problem in bench.engine.lab.warnings] == ["L403"]
        run = await bench.start()
        asked = await bench.first_question()
        assert asked["state"] == "Suspended"
        assert asked["question"]["text"].startswith("the calibration force of press was good until 2020-01-31.")
        assert (asked["question"]["choices"], toy(bench).happened) == (["go on"], [])
        code, _ = await post(bench, f"/runs/{run['run']}/answer", choice="go on")
        assert code == 200
        await asyncio.sleep(10)
        assert toy(bench).happened == ["crimp"]
        question = (await bench.client.get(f"/runs/{run['run']}")).json()["question"]
        assert question["text"] == "Is the cell sound?"


async def test_one_that_is_renewed_lets_the_run_go_on_by_itself(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "press.yaml"
    file.write_text(OLD)
    devices = {"press": {"driver": "press", "simulator": {}, "calibrations": str(file)}}
    async with served(devices=devices) as bench:
        await bench.start()
        await bench.first_question()
        code, _ = await post(bench, "/devices/press/calibrate", values={"force": "1.01"}, valid="30 day")
        assert code == 200
        await asyncio.sleep(10)
        assert toy(bench).happened == ["crimp"]
