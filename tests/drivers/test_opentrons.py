"""A pipetting robot over its HTTP API: runs, commands by key, lost answers, tips."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from drivers.opentrons import DRIVER, Opentrons
from drivers.opentrons.labware import OWN, definition
from labd import clock
from labd.sdk import Call, Fault, Intent, Labware, OutcomeUnknown, Rejected, Setup, Unreachable, Verdict

TRANSCRIPT = json.loads((Path(__file__).parents[1] / "transcripts/opentrons/robot_server_8.1.0.json").read_text())
DECK = ("opentrons_96_tiprack_20ul", "vials_8x20ml", "cell_tray_8", "opentrons_96_tiprack_300ul")
Reply = tuple[int, Any]


class RobotServer:
    """Keeps runs and commands as a robot-server does; ids of what is loaded are mounts and slots, to be readable."""

    def __init__(self, model: str = "ot2") -> None:
        self.model = model
        self.runs: dict[str, dict[str, Any]] = {}
        self.made = 0
        self.ordered: list[dict[str, Any]] = []  # every command that was taken
        self.fails: dict[str, str] = {}  # command type -> name of an error
        self.lasts: dict[str, float] = {}  # command type -> seconds, else 1
        self.lose: Callable[[str, str, Any], bool] = lambda *_: False  # answers that are lost after the effect
        self.refuse: Callable[[str, str, Any], str | None] = lambda *_: None
        self.busy_until = 0.0
        self.felt: list[Any] = []  # the `state` of each pipette; empty: none is told
        self.server: asyncio.Server | None = None

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    @property
    def current(self) -> dict[str, Any] | None:
        return next((run for run in self.runs.values() if run["current"]), None)

    def kinds(self, *, of: str = "") -> list[str]:
        """The command types of an action, in the order that the robot got them."""
        return [one["commandType"] for one in self.ordered if one["key"].startswith(f"{of}:")]

    def stranger(self) -> None:
        """Somebody's `POST /runs`."""
        self.route("POST", "/runs", {}, {"data": {}})

    def route(self, method: str, path: str, query: dict[str, str], body: Any) -> Reply:
        parts = path.strip("/").split("/")
        match (method, *parts):
            case ("GET", "health"):
                return 200, TRANSCRIPT["health"][self.model]
            case ("GET", "instruments"):
                told = TRANSCRIPT["instruments"][self.model]
                felt = zip(told["data"], self.felt or [None] * len(told["data"]), strict=True)
                return 200, {**told, "data": [one | ({"state": state} if state else {}) for one, state in felt]}
            case ("GET", "robot", "door", "status"):
                return 200, {"data": {"status": "closed", "doorRequiredClosedForProtocol": False}}
            case ("GET", "runs"):
                return 200, {"data": [self.shown(run) for run in self.runs.values()], "meta": {}}
            case ("POST", "runs"):
                if self.current and any(self.status(one) in {"running", "queued"} for one in self.current["commands"]):
                    return self.refusal("RunAlreadyActive")
                if self.current:
                    self.current.update(status="stopped", current=False)
                self.made += 1
                run = {"id": f"run-{self.made}", "status": "idle", "current": True}
                run |= {"pipettes": [], "labware": [], "commands": []}
                self.runs[run["id"]] = run
                return 201, {"data": self.shown(run)}
        if parts[0] != "runs" or parts[1] not in self.runs:
            return self.refusal("RunNotFound")
        return self.in_run(method, self.runs[parts[1]], parts[2:], query, body)

    def in_run(self, method: str, run: dict[str, Any], parts: list[str], query: dict[str, str], body: Any) -> Reply:
        match (method, *parts):
            case ("GET",):
                return 200, {"data": self.shown(run)}
            case ("POST", "labware_definitions"):
                run.setdefault("definitions", []).append(body["data"])
                return 201, {"data": {}}
            case ("POST", "actions"):
                if run["status"] == "stopped":
                    return self.refusal("RunActionNotAllowed")
                run["status"] = "stopped"
                for one in run["commands"]:
                    if self.status(one) in {"running", "queued"}:
                        one |= {"ends": self.now, "error": TRANSCRIPT["errors"]["stall"]}
                return 201, {"data": {"id": "a", "actionType": "stop"}}
            case ("GET", "commands"):
                page = run["commands"][int(query["cursor"]) :][: int(query["pageLength"])]
                shown = [{k: v for k, v in self.told(one).items() if k != "result"} for one in page]
                return 200, {
                    "data": shown,
                    "meta": {"cursor": int(query["cursor"]), "totalLength": len(run["commands"])},
                }
            case ("GET", "commands", identity):
                return 200, {"data": self.told(next(one for one in run["commands"] if one["id"] == identity))}
            case ("POST", "commands"):
                if run["status"] == "stopped":
                    return self.refusal("RunStopped")
                return 201, {"data": self.take(run, body["data"])}
        return 405, {"message": "?"}

    def take(self, run: dict[str, Any], order: dict[str, Any]) -> dict[str, Any]:
        kind, params = order["commandType"], order["params"]
        begins = max(self.now, self.busy_until)
        self.busy_until = begins + (0 if kind.startswith("load") else self.lasts.get(kind, 1.0))
        one = {**order, "id": f"c{len(self.ordered)}", "begins": begins, "ends": self.busy_until}
        if kind in self.fails:
            one["error"] = TRANSCRIPT["errors"][self.fails[kind]]
        if kind == "loadPipette":
            one["result"] = {"pipetteId": params["mount"]}
            run["pipettes"].append({"id": params["mount"], **params})
        if kind == "loadLabware":
            slot = params["location"]["slotName"]
            one["result"] = {"labwareId": slot}
            run["labware"].append({"id": slot, **params})
        run["commands"].append(one)
        self.ordered.append(one)
        return one

    def status(self, one: dict[str, Any]) -> str:
        if self.now >= one["ends"]:
            return "failed" if "error" in one else "succeeded"
        return "running" if self.now >= one["begins"] else "queued"

    def told(self, one: dict[str, Any]) -> dict[str, Any]:
        hidden = {"begins", "ends", *(() if self.status(one) == "failed" else ("error",))}
        hidden |= set() if self.status(one) == "succeeded" else {"result"}
        return {k: v for k, v in one.items() if k not in hidden} | {"status": self.status(one)}

    def shown(self, run: dict[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in run.items() if k not in {"commands", "definitions"}}

    @staticmethod
    def refusal(name: str) -> Reply:
        status, body = TRANSCRIPT["refusals"][name]
        return status, body

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
            raw = await reader.readexactly(int(headers.get("content-length", 0)))
            method, target, _ = head.split(" ", 2)
            url, body = urlsplit(target), json.loads(raw) if raw else None
            query = {key: value[0] for key, value in parse_qs(url.query).items()}
            refusal = self.refuse(method, url.path, body)
            if headers.get("opentrons-version") != "*":
                refusal = "NoVersion"
            status, answer = self.refusal(refusal) if refusal else self.route(method, url.path, query, body)
            if method == "POST" and url.path.endswith("/commands") and status == 201:
                one = answer["data"]
                await asyncio.sleep(max(0.0, min(one["ends"] - self.now, int(query["timeout"]) / 1000)))
                answer = {"data": self.told(one)}
            if not self.lose(method, url.path, body):
                raw = json.dumps(answer).encode()
                writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(raw)) + raw)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def start(self, port: int = 0) -> int:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", port)
        return int(self.server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        assert self.server is not None
        self.server.close()
        await self.server.wait_closed()


def setup(port: int, deck: tuple[str, ...] = DECK, name: str = "ot2") -> Setup:
    slots = [f"{name}/{n}" for n in range(1, len(deck) + 1)]
    labware = tuple(Labware(place, load_name) for place, load_name in zip(slots, deck, strict=True))
    return Setup(name, {"address": f"http://127.0.0.1:{port}"}, deck=labware)


@asynccontextmanager
async def lab(robot: RobotServer | None = None) -> AsyncIterator[tuple[Opentrons, RobotServer]]:
    robot = robot or RobotServer()
    driver = DRIVER(setup(await robot.start()))
    await driver.connect()
    try:
        yield driver, robot
    finally:
        await driver.close()
        await robot.stop()


async def intent(driver: Opentrons, **values: Any) -> Intent:
    given = {"source": "ot2/2/A1", "destination": "ot2/3/B2", "volume": "17.5 µL", **values}
    parameters = driver.actions["transfer"].parameters.model_validate(given)
    return Intent("a1", "transfer", "", parameters, await driver.baseline("transfer", ""), clock.now())


async def give(driver: Opentrons, volume: float = 17.5, call: str = "a1", **more: Any) -> Any:
    return await driver.transfer(Call(call), "ot2/2/A1", "ot2/3/B2", volume, **more)


async def eventually(met: Callable[[], bool]) -> None:
    while not met():
        await asyncio.sleep(0.05)


# ── transfers ────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_a_transfer_is_the_recorded_sequence_with_the_actions_id_as_key() -> None:
    async with lab() as (driver, robot):
        result = await give(driver)
        assert result.model_dump() == {
            "volume": 17.5,
            "source": "ot2/2/A1",
            "destination": "ot2/3/B2",
            "tip": "ot2/1/A1",
        }
        ours = [one for one in robot.ordered if one["key"].startswith("a1:")]
        sent = [[one["commandType"], one["params"]] for one in ours]
        assert sent == TRANSCRIPT["transfer 17.5 µL, ot2/2/A1 to ot2/3/B2"]
        assert [one["key"] for one in ours][2:4] == ["a1:2:aspirate", "a1:3:dispense"]


async def test_the_smallest_pipette_that_fits_is_chosen_and_large_volumes_go_in_strokes() -> None:
    async with lab() as (driver, robot):
        for volume in (20.0, 21.0, 500.0):
            await give(driver, volume, f"v{volume:g}")
        used = {
            key: [(one["params"]["pipetteId"], one["params"]["volume"]) for one in robot.ordered
                  if one["key"].startswith(f"{key}:") and one["commandType"] == "dispense"]
            for key in ("v20", "v21", "v500")
        }  # fmt: skip
        assert used == {"v20": [("left", 20.0)], "v21": [("right", 21.0)], "v500": [("right", 250.0)] * 2}
        assert robot.kinds(of="v500").count("pickUpTip") == 1


@pytest.mark.parametrize(
    ("source", "destination", "volume", "words"),
    [
        ("ot2/2/A1", "ot2/3/B2", 0.5, "1 to 20 µL; right p300_single_gen2: 20 to 300 µL"),
        ("ot2/2/A1", "ot2/3/B2", 501.0, "more than a well of cell_tray_8 holds"),
        ("ot2/2/C9", "ot2/3/B2", 20.0, "names no well of vials_8x20ml, it has A1 to B4"),
        ("ot2/2/A1", "press/nest", 20.0, "out of the robot's reach"),
    ],
)
async def test_what_cannot_be_done_is_refused_before_anything_is_sent(
    source: str, destination: str, volume: float, words: str
) -> None:
    async with lab() as (driver, robot):
        with pytest.raises(Rejected, match=words):
            await driver.transfer(Call("a1"), source, destination, volume)
        assert robot.kinds(of="a1") == []


async def test_a_command_that_outlasts_its_wait_is_polled_to_its_end() -> None:
    async with lab() as (driver, robot):
        robot.lasts["aspirate"] = 45.0
        assert (await give(driver)).volume == 17.5
        assert robot.kinds(of="a1").count("aspirate") == 1


async def test_an_answer_that_is_lost_after_the_effect_is_found_by_its_key_and_nothing_is_sent_twice() -> None:
    async with lab() as (driver, robot):
        robot.lose = lambda method, path, body: (
            method == "POST" and path.endswith("/commands") and body["data"]["commandType"] == "dispense"
        )
        await give(driver)
        assert robot.kinds(of="a1").count("dispense") == 1


async def test_an_order_that_never_arrived_is_outcome_unknown_and_then_proven_not_done() -> None:
    async with lab() as (driver, robot):
        before = await intent(driver)
        run = robot.current
        assert run is not None
        real = robot.take
        robot.take = lambda *_: {"id": "x", "ends": 0.0}  # type: ignore[method-assign]
        robot.lose = lambda method, *_: method == "POST"
        with pytest.raises(OutcomeUnknown):
            await give(driver)
        robot.take, robot.lose = real, lambda *_: False  # type: ignore[method-assign]
        assert (await driver.outcome(before)).verdict is Verdict.NOT_DONE


@pytest.mark.parametrize(
    ("kind", "error", "raised", "words"),
    [
        ("aspirate", "no tip attached", Rejected, "should have a tip"),
        ("aspirate", "stall", Fault, "Stall or collision"),
        ("dispense", "no tip attached", Fault, "in mid-transfer"),
        ("pickUpTip", "estop", Fault, "E-stop activated"),
        ("pickUpTip", "tip missing", Rejected, "No Tip Detected"),
    ],
)
async def test_a_201_that_failed_is_an_error_by_what_had_moved(
    kind: str, error: str, raised: type[Exception], words: str
) -> None:
    async with lab() as (driver, robot):
        robot.fails[kind] = error
        with pytest.raises(raised, match=words):
            await give(driver)


async def test_a_robot_that_is_away_for_a_moment_in_mid_transfer_gets_the_rest() -> None:
    async with lab() as (driver, robot):
        port = robot.server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        transfer = asyncio.ensure_future(give(driver))
        await eventually(lambda: "aspirate" in robot.kinds(of="a1"))
        await robot.stop()
        await asyncio.sleep(5)
        await robot.start(port)
        assert (await transfer).volume == 17.5
        assert robot.kinds(of="a1")[2:4] == ["aspirate", "dispense"]


async def test_a_robot_that_stays_away_in_mid_transfer_is_outcome_unknown_never_unreachable() -> None:
    async with lab() as (driver, robot):
        transfer = asyncio.ensure_future(give(driver))
        await eventually(lambda: "aspirate" in robot.kinds(of="a1"))
        await robot.stop()
        with pytest.raises(OutcomeUnknown, match="cannot be reached in mid-transfer"):
            await transfer


async def test_a_mix_draws_and_gives_in_one_well_and_is_told_by_its_keys() -> None:
    async with lab() as (driver, robot):
        parameters = driver.actions["mix"].parameters.model_validate(
            {"place": "ot2/2/A1", "volume": "50 µL", "times": 2}
        )
        before = Intent("a1", "mix", "", parameters, await driver.baseline("mix", ""), clock.now())
        await driver.mix(Call("a1"), "ot2/2/A1", 50.0, 2)
        assert robot.kinds(of="a1")[2:6] == ["aspirate", "dispense"] * 2
        assert (await driver.outcome(before)).verdict is Verdict.DONE
        with pytest.raises(Rejected, match="more than one stroke"):
            await driver.mix(Call("a2"), "ot2/2/A1", 500.0, 2)


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_our_trays_and_racks_are_defined_in_the_run_and_loaded() -> None:
    async with lab() as (_, robot):
        run = robot.current
        assert run is not None
        assert [one["parameters"]["loadName"] for one in run["definitions"]] == ["vials_8x20ml", "cell_tray_8"]
        assert [(one["loadName"], one["namespace"]) for one in run["labware"]] == [
            ("opentrons_96_tiprack_20ul", "opentrons"),
            ("vials_8x20ml", "labd"),
            ("cell_tray_8", "labd"),
            ("opentrons_96_tiprack_300ul", "opentrons"),
        ]


async def test_a_run_that_a_stranger_ended_is_made_anew_and_tips_are_not_taken_twice() -> None:
    async with lab() as (driver, robot):
        await give(driver)
        robot.stranger()
        assert (await give(driver, call="a2")).tip == "ot2/1/B1"
        assert robot.kinds(of="a2")[0] == "home"


async def test_a_tip_of_an_ended_run_is_dropped_before_a_new_one_is_taken() -> None:
    async with lab() as (driver, robot):
        await give(driver, new_tip="once")
        robot.stranger()
        await give(driver, call="a2")
        assert robot.kinds(of="a2")[:4] == [
            "home",
            "moveToAddressableAreaForDropTip",
            "unsafe/dropTipInPlace",
            "pickUpTip",
        ]


async def test_a_stray_tip_that_the_robot_does_not_drop_is_a_persons_affair_once() -> None:
    async with lab() as (driver, robot):
        await give(driver, new_tip="once")
        robot.stranger()
        robot.fails["unsafe/dropTipInPlace"] = "stall"
        with pytest.raises(Fault, match=r"may still be on the left pipette.*take it off"):
            await give(driver, call="a2")
        assert "pickUpTip" not in robot.kinds(of="a2")
        await give(driver, call="a3")


async def test_a_run_that_is_ended_in_mid_transfer_is_a_fault() -> None:
    async with lab() as (driver, robot):
        robot.refuse = lambda method, _, body: (
            "RunStopped" if method == "POST" and body["data"].get("commandType") == "dispense" else None
        )
        with pytest.raises(Fault, match="ended from outside in mid-transfer"):
            await give(driver)


async def test_a_tip_is_dropped_on_request() -> None:
    async with lab() as (driver, robot):
        await give(driver, new_tip="once")
        await driver.drop_tip(Call("a2"))
        assert robot.kinds(of="a2") == ["moveToAddressableAreaForDropTip", "dropTipInPlace"]
        assert (await driver.read_state()).tip_attached is False


def lose_pick_up(robot: RobotServer) -> None:
    """Its answer is lost, and so are those of all who ask for it then."""
    robot.lose = lambda method, path, _: path.endswith("/commands") and "pickUpTip" in robot.kinds(of="a1")


async def test_a_tip_whose_pick_up_was_never_answered_is_dropped_before_the_next() -> None:
    async with lab() as (driver, robot):
        before = await intent(driver)
        lose_pick_up(robot)
        with pytest.raises(OutcomeUnknown):
            await give(driver)
        robot.lose = lambda *_: False
        assert (await driver.outcome(before)).verdict is Verdict.NOT_DONE
        assert (await give(driver, call="a2")).tip == "ot2/1/B1"
        assert robot.kinds(of="a2")[:3] == ["moveToAddressableAreaForDropTip", "dropTipInPlace", "pickUpTip"]


async def test_a_tip_whose_pick_up_was_never_answered_is_a_stray_when_the_run_is_gone() -> None:
    async with lab() as (driver, robot):
        lose_pick_up(robot)
        with pytest.raises(OutcomeUnknown):
            await give(driver)
        robot.lose = lambda *_: False
        robot.stranger()
        await give(driver, call="a2")
        assert robot.kinds(of="a2")[1:4] == [
            "moveToAddressableAreaForDropTip",
            "unsafe/dropTipInPlace",
            "pickUpTip",
        ]


async def test_somebodys_run_under_way_makes_us_wait_and_sends_nothing() -> None:
    async with lab() as (driver, robot):
        robot.stranger()
        assert robot.current is not None
        robot.take(robot.current, {"commandType": "home", "params": {}, "key": "x"})
        with pytest.raises(Unreachable, match="someone else's run"):
            await give(driver)
        await asyncio.sleep(2)
        await give(driver)


async def test_a_robot_that_boots_is_unreachable() -> None:
    robot = RobotServer()
    robot.refuse = lambda *_: "Booting"
    driver = DRIVER(setup(await robot.start()))
    with pytest.raises(Unreachable, match="has not finished initializing"):
        await driver.connect()
    await driver.close()
    await robot.stop()


async def test_other_pipettes_than_written_are_named() -> None:
    robot = RobotServer()
    there = setup(await robot.start())
    driver = DRIVER(Setup(there.name, {**there.settings, "pipettes": {"left": "p300_single_gen2"}}, deck=there.deck))
    with pytest.raises(Rejected, match="should carry p300_single_gen2, and the robot has p20_single_gen2"):
        await driver.connect()
    await driver.close()
    await robot.stop()


async def test_a_flex_drops_its_tips_into_its_own_trash() -> None:
    robot = RobotServer("flex")
    driver = DRIVER(setup(await robot.start(), ("opentrons_flex_96_tiprack_200ul", "vials_8x20ml", "cell_tray_8")))
    assert (await driver.connect()).model == "Opentrons Flex"
    await give(driver, 250.0)
    areas = [one["params"].get("addressableAreaName") for one in robot.ordered]
    assert [area for area in areas if area] == ["movableTrashA3"]
    assert robot.kinds(of="a1").count("dispense") == 2  # 200 µL a tip
    await driver.close()
    await robot.stop()


# ── tips ─────────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_once_keeps_a_tip_for_one_source_and_never_wants_one_on() -> None:
    async with lab() as (driver, robot):
        with pytest.raises(Rejected, match="no pipette has a tip on"):
            await give(driver, new_tip="never")
        await give(driver, call="a2", new_tip="once")
        assert (await give(driver, call="a3", new_tip="once")).tip == "ot2/1/A1"
        assert (await give(driver, call="a4", new_tip="never")).tip == "ot2/1/A1"
        assert (await driver.read_state()).tip_attached is True
        other = await driver.transfer(Call("a5"), "ot2/2/A2", "ot2/3/B2", 17.5, "once")
        assert other.tip == "ot2/1/B1"
        assert robot.kinds(of="a5")[:2] == ["moveToAddressableAreaForDropTip", "dropTipInPlace"]


async def test_a_rack_that_is_empty_is_named_and_a_new_one_is_told() -> None:
    async with lab() as (driver, _):
        for n in range(96):
            await give(driver, call=f"t{n}")
        with pytest.raises(Rejected, match=r"no tips left in ot2/1 .*put a new rack"):
            await give(driver)
        await driver.new_tips(Call("n"), "1")
        assert (await give(driver, call="a2")).tip == "ot2/1/A1"


async def test_after_a_restart_of_ours_the_run_is_taken_up_with_its_tips() -> None:
    async with lab() as (driver, robot):
        await give(driver)
        await driver.new_tips(Call("n"), "4")
        await give(driver, call="a2")
        made = robot.made
        port = robot.server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        again = DRIVER(setup(port))
        await again.connect()
        assert robot.made == made
        assert (await give(again, call="a3")).tip == "ot2/1/C1"
        assert (await give(again, 50.0, "a4")).tip == "ot2/4/A1"
        await again.close()


# ── what became of it ────────────────────────────────────────────────────────────────────────────────────────────
async def test_outcome_says_running_and_attach_brings_it_to_its_end() -> None:
    async with lab() as (driver, robot):
        before = await intent(driver)
        robot.lasts["aspirate"] = 30.0
        transfer = asyncio.ensure_future(give(driver))
        await eventually(lambda: "aspirate" in robot.kinds(of="a1"))
        transfer.cancel()  # the daemon dies
        with pytest.raises(asyncio.CancelledError):
            await transfer
        port = robot.server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        again = DRIVER(setup(port))
        await again.connect()
        assert (await again.outcome(before)).verdict is Verdict.RUNNING
        attached = await again.attach(before, Call("a1"))
        assert attached.tip == "ot2/1/A1"  # type: ignore[attr-defined]
        assert robot.kinds(of="a1")[2:] == ["aspirate", "dispense", "moveToAddressableAreaForDropTip", "dropTipInPlace"]
        done = await again.outcome(before)
        assert (done.verdict, done.result) == (Verdict.DONE, attached)
        await again.close()


async def test_a_transfer_cut_short_after_its_aspirate_is_partial_with_nothing_given() -> None:
    async with lab() as (driver, robot):
        before = await intent(driver)
        transfer = asyncio.ensure_future(give(driver))
        await eventually(lambda: "aspirate" in robot.kinds(of="a1"))
        transfer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await transfer
        await asyncio.sleep(5)
        outcome = await driver.outcome(before)
        assert outcome.verdict is Verdict.PARTIAL
        assert outcome.result.volume == 0.0  # type: ignore[union-attr]


async def test_absent_keys_prove_nothing_after_a_restart_of_the_robot() -> None:
    async with lab() as (driver, robot):
        before = await intent(driver)
        assert (await driver.outcome(before)).verdict is Verdict.NOT_DONE
        robot.runs.clear()
        outcome = await driver.outcome(before)
        assert outcome.verdict is Verdict.UNKNOWN
        assert "restarted" in outcome.why


async def test_what_was_done_in_a_later_run_counts_too() -> None:
    async with lab() as (driver, robot):
        before = await intent(driver)
        robot.stranger()
        await give(driver)
        assert (await driver.outcome(before)).verdict is Verdict.DONE


async def test_the_safe_state_stops_what_runs_and_leaves_a_robot_at_rest_alone() -> None:
    async with lab() as (driver, robot):
        await driver.safe_state()
        assert robot.current is not None
        assert robot.current["status"] == "idle"
        robot.lasts["dispense"] = 60.0
        transfer = asyncio.ensure_future(give(driver))
        await eventually(lambda: "dispense" in robot.kinds(of="a1"))
        assert (await driver.read_state()).busy is True
        await driver.safe_state()
        with pytest.raises(Fault):
            await transfer
        assert robot.current["status"] == "stopped"
        await driver.safe_state()


# ── labware ──────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("load_name", OWN)
def test_wells_lie_within_their_labware_and_do_not_touch(load_name: str) -> None:
    made = definition(load_name)
    size, wells = made["dimensions"], list(made["wells"].values())
    for well in wells:
        radius = well["diameter"] / 2
        assert radius <= well["x"] <= size["xDimension"] - radius
        assert radius <= well["y"] <= size["yDimension"] - radius
        assert well["z"] + well["depth"] == pytest.approx(size["zDimension"])
    for n, one in enumerate(wells):
        for other in wells[n + 1 :]:
            assert (one["x"] - other["x"]) ** 2 + (one["y"] - other["y"]) ** 2 > one["diameter"] ** 2
    assert [well for column in made["ordering"] for well in column] == made["groups"][0]["wells"]
    assert set(made["wells"]) == set(made["groups"][0]["wells"])


@pytest.mark.parametrize(
    ("state", "attached"),
    [
        ({"tipDetected": False}, False),  # whatever its list of commands says: it feels none
        ({"tipDetected": True}, True),
        ({"tipDetected": None}, True),  # it cannot tell: then the list counts
        (None, True),
    ],
)
async def test_a_flex_is_believed_about_its_tips_by_what_it_feels(state: Any, attached: bool) -> None:
    robot = RobotServer("flex")
    driver = DRIVER(setup(await robot.start(), ("opentrons_flex_96_tiprack_200ul", "vials_8x20ml", "cell_tray_8")))
    await driver.connect()
    await give(driver, 50.0, new_tip="once")
    robot.felt = [state]
    assert (await driver.read_state()).tip_attached is attached
    await driver.close()
    await robot.stop()


async def test_an_ot2_is_believed_about_its_tips_by_its_list_of_commands() -> None:
    async with lab() as (driver, robot):
        await give(driver, new_tip="once")
        robot.felt = [{"tipDetected": False}, {"tipDetected": False}]  # an OT-2 has no such sensor
        assert (await driver.read_state()).tip_attached is True
