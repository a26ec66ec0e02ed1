"""The Meca500 driver against an arm on a real socket that says what the facts say, and worse."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from drivers.meca500 import DRIVER, Meca500
from labd import clock
from labd.io.transcript import Player, Transcript
from labd.sdk import (
    Call,
    Fault,
    Intent,
    OutcomeUnknown,
    Position,
    Rejected,
    Setup,
    Unreachable,
    Verdict,
)

TRANSCRIPTS = Path(__file__).parent.parent / "transcripts"
POSITIONS = {
    "home": Position((150, 0, 250, 180, 0, 0), "2026-11-02", "mk"),
    "press/nest": Position((190, -50, 100, 180, 0, 0), "2026-11-02", "mk"),
    "tray/cells/A1": Position((120, 90, 60.1234, 180, 0, 0), "2026-11-02", "mk"),
}


class Peer:
    """A listening socket; what it says on a connection is up to its children."""

    async def start(self) -> int:
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self.live(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            self._tasks.discard(task)

    async def live(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError

    async def stop(self) -> None:
        self._server.close()
        for task in (left := list(self._tasks)):
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._server.wait_closed()


class ScriptedArm(Peer):
    """Plays a transcript."""

    def __init__(self, name: str) -> None:
        self.player = Player(Transcript.read(TRANSCRIPTS / name))

    async def live(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        entries = self.player.start()
        while True:
            for entry in entries:
                await asyncio.sleep(entry.dt)
                writer.write(entry.raw)
            data = await reader.read(4096)
            if not data:
                return
            entries = self.player.take(data)


class Arm(Peer):
    """Answers each command by a table; a block takes `duration` seconds to its checkpoint."""

    def __init__(self) -> None:
        self.greeting = "[3000][Connected to Meca500 R3 v8.3.10]"
        self.activated, self.homed, self.error, self.paused, self.moving, self.holds = True, True, False, False, 0, 0
        self.opening, self.at_limit, self.pose = 48.0, 1, (150.0, 0.0, 250.0, 180.0, 0.0, 0.0)
        self.closes_on = 1  # what GripperClose finds: a part, or nothing
        self.duration = 4.0
        self.instead: dict[str, str | None] = {}  # command -> other answer; None: silence
        self.heard: list[str] = []
        self.connections = 0
        self._block: asyncio.TimerHandle | None = None

    async def live(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writer = writer
        self.say(self.greeting)
        while True:
            command = (await reader.readuntil(b"\0"))[:-1].decode()
            self.heard.append(command)
            name = command.partition("(")[0]
            answer = self.instead[name] if name in self.instead else self.answer(name, command)
            if answer:
                self.say(answer)

    def say(self, *messages: str) -> None:
        self.writer.write("".join(f"{message}\0" for message in messages).encode())

    def answer(self, name: str, command: str) -> str | None:
        match name:
            case "GetStatusRobot":
                still = int(not self.moving)
                flags = (self.activated, self.homed, 0, self.error, self.paused, still, still)
                return f"[2007][{','.join(str(int(flag)) for flag in flags)}]"
            case "GetStatusGripper":
                return f"[2079][1,1,{self.holds},{self.at_limit},0,0]"
            case "GetRtGripperPos":
                return f"[2322][1234567,{self.opening:.2f}]"
            case "GetPose":
                return f"[2027][{','.join(f'{value:.3f}' for value in self.pose)}]"
            case "SetCheckpoint":
                self.moving = 1
                number = command[14:-1]
                self._block = asyncio.get_running_loop().call_later(self.duration, self.reach, number)
            case "GripperOpen":
                self.holds = 0
            case "GripperClose":
                self.holds = self.closes_on
            case "PauseMotion":
                self.paused = True
                return "[2042][Motion paused.]"
            case "ClearMotion":
                if self._block:
                    self._block.cancel()
                self.moving, self.paused = 0, True
                return "[2044][The motion was cleared.]"
            case "ResumeMotion":
                self.paused = False
                return "[2043][Motion resumed.]"
            case "ResetError":
                self.error, self.paused = False, True
                return "[2005][The error was reset.]"
            case "ActivateRobot":
                self.activated = True
                return "[2000][Motors activated.]"
            case "Home":
                self.homed = True
                return "[2002][Homing done.]"
        return None

    def reach(self, number: str) -> None:
        self.moving = 0
        self.say(f"[3030][{number}]", "[3012][End of block.]")

    @property
    def moves(self) -> list[str]:
        return [command for command in self.heard if command.startswith(("Move", "Gripper", "Delay"))]


@contextlib.asynccontextmanager
async def driver_of(peer: Peer, **settings: object) -> AsyncIterator[Meca500]:
    port = await peer.start()
    driver = DRIVER(Setup("arm", {"address": f"127.0.0.1:{port}", **settings}, POSITIONS))
    try:
        yield driver
    finally:
        await driver.close()
        await peer.stop()


@contextlib.asynccontextmanager
async def connected(arm: Arm, **settings: object) -> AsyncIterator[Meca500]:
    async with driver_of(arm, **settings) as driver:
        await driver.connect()
        yield driver


def intent(driver: Meca500, action: str, place: str, baseline: dict[str, object], id_: str = "a1") -> Intent:
    parameters = driver.actions[action].parameters.model_validate({"place": place})
    return Intent(id_, action, "", parameters, baseline, clock.now())


async def test_a_pick_is_one_block_around_the_taught_place_and_the_grip_is_read_back() -> None:
    arm = ScriptedArm("meca500_pick.jsonl")
    accepted: list[object] = []
    async with driver_of(arm) as driver:
        about = await driver.connect()
        result = await driver.pick(Call("a1", on_accepted=accepted.append), "press/nest")
    assert (about.model, about.firmware) == ("Meca500 R3", "8.3.10")
    assert result.gripped
    assert accepted == [{"checkpoint": 1}]
    assert not arm.player.rest


async def test_connecting_moves_nothing() -> None:
    arm = Arm()
    async with connected(arm):
        pass
    assert arm.heard == []


async def test_another_client_in_control_is_unreachable_in_words() -> None:
    arm = Arm()
    arm.greeting = "[3001][Another user is already connected, closing connection.]"
    async with driver_of(arm) as driver:
        with pytest.raises(Unreachable, match="another client has control"):
            await driver.connect()


@pytest.mark.parametrize("greeting", ["SSH-2.0-OpenSSH_9.2", "[4000][Hello]", ""])
async def test_something_else_behind_the_port_is_not_an_arm(greeting: str) -> None:
    arm = Arm()
    arm.greeting = greeting
    async with driver_of(arm) as driver:
        with pytest.raises(Unreachable, match="no Meca500"):
            await driver.connect()


async def test_home_resets_activates_homes_and_goes_to_its_position() -> None:
    arm = Arm()
    arm.activated = arm.homed = False
    arm.error = True
    async with connected(arm) as driver:
        await driver.home(Call("h"))
    orders = [command for command in arm.heard if not command.startswith("Get")]
    assert orders == [
        "ResetError",
        "ClearMotion",
        "ResumeMotion",
        "ActivateRobot",
        "Home",
        "SetJointVel(25)",
        "MovePose(150,0,250,180,0,0)",
        "SetCheckpoint(1)",
    ]


async def test_a_missed_part_is_a_result() -> None:
    arm = Arm()
    arm.closes_on = 0
    async with connected(arm) as driver:
        assert not (await driver.pick(Call("a"), "press/nest")).gripped


async def test_placing_opens_the_gripper_low_and_withdraws() -> None:
    arm = Arm()
    arm.holds = 1
    async with connected(arm, approach="40 mm") as driver:
        assert (await driver.place(Call("a"), "tray/cells/A1")).released
    assert arm.moves == [
        "MovePose(120,90,100.1234,180,0,0)",
        "MoveLin(120,90,60.1234,180,0,0)",
        "GripperOpen",
        "Delay(1)",
        "MoveLin(120,90,100.1234,180,0,0)",
    ]


async def test_a_part_dropped_on_the_way_is_a_result_and_nothing_moves() -> None:
    arm = Arm()
    async with connected(arm) as driver:
        assert not (await driver.place(Call("a"), "press/nest")).released
    assert arm.moves == []


async def test_after_standing_low_at_a_spot_it_goes_up_first() -> None:
    arm = Arm()
    async with connected(arm) as driver:
        assert (await driver.move(Call("a"), "press/nest")).position == "press/nest"
        await driver.move(Call("b"), "home")
    assert arm.moves == [
        "MovePose(190,-50,130,180,0,0)",
        "MoveLin(190,-50,100,180,0,0)",
        "MoveLin(190,-50,130,180,0,0)",
        "MovePose(150,0,250,180,0,0)",
    ]


async def test_an_unknown_place_names_the_nearest_and_all() -> None:
    arm = Arm()
    async with connected(arm) as driver:
        with pytest.raises(Rejected, match=r"did you mean 'press/nest'\? Known: home, press/nest, tray/cells/A1"):
            await driver.pick(Call("a"), "pres/nest")
    assert arm.heard == []


@pytest.mark.parametrize(("force", "words"), [(0.05, "above the gripper's greatest, 40 N"), (0.0011, "below")])
async def test_a_grip_out_of_the_grippers_range_is_refused(force: float, words: str) -> None:
    async with connected(Arm()) as driver:
        with pytest.raises(Rejected, match=words):
            await driver.pick(Call("a"), "press/nest", force)


async def test_polls_during_a_motion_neither_disturb_it_nor_are_disturbed() -> None:
    arm = Arm()
    async with connected(arm) as driver, asyncio.TaskGroup() as group:
        pick = group.create_task(driver.pick(Call("a"), "press/nest"))
        await asyncio.sleep(0.5)
        for _ in range(20):
            state = await driver.read_state()
            assert state.moving
            assert not state.error
            await asyncio.sleep(0.1)
        assert (await pick).gripped
        state = await driver.read_state()
        assert (state.gripped, state.moving) == (True, False)


async def test_an_unhomed_arm_says_what_to_run() -> None:
    arm = Arm()
    arm.homed = False
    async with connected(arm) as driver:
        with pytest.raises(Rejected, match="run `home` first"):
            await driver.pick(Call("a"), "press/nest")
    assert arm.moves == []


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("[1016][The requested pose is out of reach]", "out of reach"),
        ("[3005][Motion error.]", "collision"),
        ("[3070][1]", "E-stop"),
    ],
)
async def test_a_stop_in_mid_motion_is_a_fault_with_the_codes_text(message: str, words: str) -> None:
    arm = Arm()
    async with connected(arm) as driver:
        asyncio.get_running_loop().call_later(1, arm.say, message)
        with pytest.raises(Fault, match=words):
            await driver.pick(Call("a"), "press/nest")


async def test_an_arm_in_error_is_a_fault_before_anything_is_sent() -> None:
    arm = Arm()
    arm.error = True
    async with connected(arm) as driver:
        assert (await driver.read_state()).error
        with pytest.raises(Fault, match="run `home`"):
            await driver.move(Call("a"), "home")
    assert arm.moves == []


async def test_safe_state_stops_a_motion_and_may_be_called_again() -> None:
    arm = Arm()

    async def cleared_pick(driver: Meca500) -> None:
        with pytest.raises(Fault, match="cleared"):
            await driver.pick(Call("a"), "press/nest")

    async with connected(arm) as driver:
        async with asyncio.TaskGroup() as group:
            group.create_task(cleared_pick(driver))
            await asyncio.sleep(1)
            await driver.safe_state()
            await driver.safe_state("")
        # what was cleared stays cleared: the next motion resumes an empty queue
        await driver.move(Call("b"), "home")
    assert arm.heard.index("ResumeMotion") > arm.heard.index("ClearMotion")


async def test_safe_state_of_an_arm_without_power_is_no_error() -> None:
    arm = Arm()
    arm.instead = dict.fromkeys(("PauseMotion", "ClearMotion"), "[1005][The robot is not activated.]")
    async with connected(arm) as driver:
        await driver.safe_state()


async def test_a_silent_arm_is_unknown_and_then_gets_a_new_connection() -> None:
    arm = Arm()
    async with connected(arm) as driver:
        arm.instead = {"GetStatusRobot": None}
        with pytest.raises(OutcomeUnknown, match="no answer within 5 s"):
            await driver.read_state()
        arm.instead = {}
        arm.say("[2007][1,1,0,1,0,1,1]")  # late: says that the arm is in error
        assert not (await driver.read_state()).error
        assert arm.connections == 2


async def test_a_link_cut_in_mid_motion_leaves_the_outcome_unknown() -> None:
    arm = Arm()
    async with connected(arm) as driver:
        baseline = await driver.baseline("pick", "")
        asyncio.get_running_loop().call_later(1, arm.writer.close)
        with pytest.raises(OutcomeUnknown, match="may have gone on"):
            await driver.pick(Call("a1"), "press/nest")
        with pytest.raises(Unreachable):
            await driver.read_state()
        await driver.connect()
        outcome = await driver.outcome(intent(driver, "pick", "press/nest", baseline))
        assert outcome.verdict is Verdict.UNKNOWN
        assert "holds a part" in outcome.why


async def test_a_checkpoint_that_comes_late_proves_the_pick() -> None:
    arm = Arm()
    arm.duration = 50
    async with connected(arm, motion_limit="20 s") as driver:
        baseline = await driver.baseline("pick", "")
        with pytest.raises(OutcomeUnknown, match="not reached within 20 s"):
            await driver.pick(Call("a1"), "press/nest")
        asked = intent(driver, "pick", "press/nest", baseline)
        assert (await driver.outcome(asked)).verdict is Verdict.RUNNING
        await asyncio.sleep(40)
        outcome = await driver.outcome(asked)
        assert (outcome.verdict, outcome.result.gripped) == (Verdict.DONE, True)


async def test_a_running_motion_is_taken_up_again() -> None:
    arm = Arm()
    arm.duration = 30
    async with connected(arm, motion_limit="20 s") as driver:
        with pytest.raises(OutcomeUnknown):
            await driver.pick(Call("a1"), "press/nest")
        result = await driver.attach(intent(driver, "pick", "press/nest", {}), Call("a1"))
        assert result.gripped


async def test_a_part_that_is_still_held_was_not_placed() -> None:
    arm = Arm()
    arm.holds = 1
    async with connected(arm) as driver:
        baseline = await driver.baseline("place", "")
        asked = intent(driver, "place", "press/nest", baseline)
        assert (await driver.outcome(asked)).verdict is Verdict.NOT_DONE
        arm.holds = 0  # set down, or lost: nobody knows where
        assert (await driver.outcome(asked)).verdict is Verdict.UNKNOWN
        arm.holds, arm.homed = 1, False  # it was switched off in between
        assert (await driver.outcome(asked)).verdict is Verdict.UNKNOWN


async def test_a_pick_whose_fingers_never_closed_was_not_done() -> None:
    arm = Arm()
    async with connected(arm) as driver:
        asked = intent(driver, "pick", "press/nest", await driver.baseline("pick", ""))
        outcome = await driver.outcome(asked)
        assert (outcome.verdict, "wide open" in outcome.why) == (Verdict.NOT_DONE, True)
        for change in (
            {"at_limit": 0},  # on their way
            {"opening": 0.0},  # closed: on nothing, or on a part that was lost since
            {"homed": False},  # it was switched off in between
            {"moving": 1},  # what was sent is not over
            {"holds": 1},  # the arm may still stand in the nest
            {"instead": {"GetRtGripperPos": "[1001][Command not recognized.]"}},  # a firmware that does not tell it
        ):
            before = {name: getattr(arm, name) for name in change}
            for name, value in change.items():
                setattr(arm, name, value)
            assert (await driver.outcome(asked)).verdict is Verdict.UNKNOWN, change
            for name, value in before.items():
                setattr(arm, name, value)


@pytest.mark.parametrize(("height", "first"), [(105.0, "MoveLin(190,-50,130"), (135.0, "MovePose(190,-50,130")])
async def test_what_comes_after_a_pick_that_was_cut_goes_straight_up_first(height: float, first: str) -> None:
    arm = Arm()
    arm.pose = (190.0, -50.0, height, 180.0, 0.0, 0.0)
    async with connected(arm) as driver:
        asked = intent(driver, "pick", "press/nest", await driver.baseline("pick", ""))
        assert (await driver.outcome(asked)).verdict is Verdict.NOT_DONE
        assert (await driver.pick(Call("a2"), "press/nest")).gripped
    assert next(move for move in arm.moves if move.startswith("Move")).startswith(first)


async def test_a_stop_heard_on_the_monitoring_port_ends_the_motion() -> None:
    monitor = Arm()
    port = await monitor.start()
    monitor.greeting = "[2007][1,1,0,0,0,1,1]"
    try:
        async with connected(Arm(), monitor=port) as driver:
            asyncio.get_running_loop().call_later(1, monitor.say, "[3032][1]")
            with pytest.raises(Fault, match="P-Stop 2"):
                await driver.move(Call("a"), "home")
    finally:
        await monitor.stop()


def test_settings_are_checked_with_units() -> None:
    with pytest.raises(ValueError, match="approach"):
        DRIVER(Setup("arm", {"address": "192.168.0.100", "approach": "1 kN"}))
    with pytest.raises(ValueError, match="no address"):
        DRIVER(Setup("arm", {"address": "http://192.168.0.100"}))
