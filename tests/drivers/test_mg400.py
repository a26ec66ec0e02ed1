"""The MG400 driver against ports that say what the facts say, and worse."""

from __future__ import annotations

import asyncio
import contextlib
import re
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from drivers.mg400 import DRIVER, Mg400
from drivers.mg400.alarms import told
from drivers.mg400.wire import Frame, Mode, Reply
from labd.io.transcript import Player, Transcript
from labd.sdk import Call, Fault, OutcomeUnknown, Position, Rejected, Setup, Unreachable

TRANSCRIPTS = Path(__file__).parent.parent / "transcripts" / "mg400"
POSITIONS = {
    "home": Position((250, 0, 100, 0, 0, 0)),
    "press/nest": Position((280, 60, 30, 0, 0, 45)),
    "tilted/spot": Position((280, 60, 30, 180, 0, 45)),
}


def frame(mode: int, pose: tuple[float, ...], *, outputs: int = 0, inputs: int = 0, queue: int = 1) -> bytes:
    """As the table of the feedback port has it."""
    raw = bytearray(1440)
    raw[0:2] = (1440).to_bytes(2, "little")
    struct.pack_into("<QQQ", raw, 8, inputs, outputs, mode)
    struct.pack_into("<Q", raw, 48, 0x123456789ABCDEF)
    struct.pack_into("<4d", raw, 624, *pose)
    raw[1014] = queue
    return bytes(raw)


class Arm:
    """Three listening ports: each command is answered by a table or a transcript, and carried out at once."""

    def __init__(self) -> None:
        self.mode, self.outputs, self.alarms = 5, 0, "[[],[],[],[],[]]"
        self.pose: tuple[float, ...] = (250, 0, 100, 0)
        self.instead: dict[str, str | None] = {}  # name -> other reply; None: silence
        self.heard: list[str] = []
        self.frames: list[bytes] = []  # said before the true ones
        self.scripts: dict[str, Player] = {}
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> dict[str, Any]:
        ports = {}
        for name, live in (("dashboard", self._commands), ("motion", self._commands), ("feedback", self._feedback)):
            server = await asyncio.start_server(self._serving(name, live), "127.0.0.1", 0)
            self._servers.append(server)
            ports[name] = server.sockets[0].getsockname()[1]
        return {"address": "127.0.0.1", **ports}

    def _serving(self, name: str, live: Any) -> Any:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await live(name, reader, writer)
            writer.close()

        return serve

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for server in self._servers:
            await server.wait_closed()

    async def _commands(self, port: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            raw = await reader.readuntil(b")")
            command = raw.decode()
            self.heard.append(command)
            name = command.partition("(")[0]
            self._do(name, [float(one) for one in re.findall(r"-?[\d.]+", command.partition("(")[2])])
            if port in self.scripts:
                for entry in self.scripts[port].take(raw):
                    await asyncio.sleep(entry.dt)
                    writer.write(entry.raw)
                continue
            values = {"RobotMode": str(self.mode), "GetErrorID": self.alarms}.get(name, "")
            reply = self.instead.get(name, f"0,{{{values}}},{command};")
            if reply is not None:
                writer.write(reply.encode())

    def _do(self, name: str, numbers: list[float]) -> None:
        if name in {"MovJ", "MovL"}:
            self.pose = tuple(numbers)
        elif name == "DO":
            self.outputs = int(numbers[1])

    async def _feedback(self, _: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            await asyncio.sleep(0.2)
            data = self.frames.pop(0) if self.frames else None
            writer.write(data or frame(self.mode, self.pose, outputs=self.outputs, inputs=self.outputs << 2))


@contextlib.asynccontextmanager
async def connected(arm: Arm, **settings: object) -> AsyncIterator[Mg400]:
    ports = await arm.start()
    driver = DRIVER(Setup("arm", {"held_input": 3, **ports, **settings}, POSITIONS))
    try:
        await driver.connect()
        yield driver
    finally:
        await driver.close()
        await arm.stop()


async def test_a_pick_is_three_motions_and_two_switches_in_the_wire_of_the_guide() -> None:
    arm = Arm()
    arm.scripts = {
        port: Player(Transcript.read(TRANSCRIPTS / f"pick_{port}.jsonl")) for port in ("dashboard", "motion")
    }
    async with connected(arm) as driver:
        assert (await driver.pick(Call("a"), "press/nest")).gripped
    assert not any(player.rest for player in arm.scripts.values())
    assert arm.heard == [
        "RobotMode()",
        "SpeedFactor(50)",
        "DO(1,0)",
        "MovJ(280,60,60,45)",
        "MovL(280,60,30,45)",
        "DO(1,1)",
        "MovL(280,60,60,45)",
    ]


@pytest.mark.parametrize(
    ("text", "error", "values", "name"),
    [
        ("0,{5},RobotMode();", 0, "5", "RobotMode"),
        ("-40001,{},SpeedFactor(200);", -40001, "", "SpeedFactor"),
        ("0,{[[-2],[],[],[],[]]},GetErrorID();", 0, "[[-2],[],[],[],[]]", "GetErrorID"),
        ("\n0, {1} , di( 1 );", 0, "1", "di"),
    ],
)
def test_replies_are_read(text: str, error: int, values: str, name: str) -> None:
    assert Reply.read(text.removesuffix(";")) == Reply(error, values, name)


@pytest.mark.parametrize("text", ["", "Control Mode Is Not Tcp", "0,{},MovJ", "{},MovJ()"])
def test_what_is_no_reply_is_none(text: str) -> None:
    assert Reply.read(text) is None


def test_a_frame_of_another_length_or_test_value_is_none() -> None:
    good = frame(7, (1, 2, 3, 4), outputs=1, inputs=4)
    assert Frame.read(good) == Frame(Mode.RUNNING, 4, 1, (1, 2, 3, 4))
    assert Frame.read(good[:-1]) is None
    assert Frame.read(good[700:] + good[:700]) is None
    assert Frame.read(good[:48] + bytes(8) + good[56:]) is None
    assert Frame.read(frame(7, (float("nan"), 2, 3, 4))) is None


def test_alarms_are_told_in_words_with_their_numbers() -> None:
    assert told([[-2, 17], [], [5]]) == (
        "-2 (a collision was detected), 17 (the position is out of reach; teach it again), "
        "5 (servo of axis 2, see alarm_servo.json of Dobot)"
    )
    assert told([[], []]) == ""


async def test_a_frame_from_before_the_order_is_not_taken_for_its_end() -> None:
    arm = Arm()
    async with connected(arm) as driver:
        old = arm.pose
        arm.frames = [frame(5, old), frame(5, old), frame(7, (260, 10, 90, 0)), frame(5, (260, 10, 90, 0))]
        await driver.move(Call("a"), "home")
        assert arm.frames == []


async def test_whatever_its_queue_flag_means_a_motion_is_begun_and_ended_without_it() -> None:
    arm = Arm()
    arm.frames = [frame(5, arm.pose, queue=0)]
    async with connected(arm) as driver:
        assert (await driver.move(Call("a"), "home")).position == "home"


async def test_home_forgets_what_was_queued_before_it_opens_the_queue() -> None:
    arm = Arm()
    async with connected(arm) as driver:
        await driver.home(Call("a"))
    orders = [command for command in arm.heard if not command.startswith("RobotMode")]
    assert orders[:2] == ["ResetRobot()", "Continue()"]
    assert orders[-1].startswith("MovJ")


async def test_an_order_that_the_arm_drops_is_a_fault() -> None:
    arm = Arm()
    arm._do = lambda name, numbers: None  # type: ignore[method-assign,assignment]
    arm.pose = (250, 50, 100, 0)
    async with connected(arm) as driver:
        with pytest.raises(Fault, match="50 mm and 0° beside its target: its order was dropped"):
            await driver.move(Call("a"), "home")


async def test_something_else_behind_the_port_is_no_arm() -> None:
    arm = Arm()
    arm.instead = {"RobotMode": "SSH-2.0-OpenSSH_9.2;"}
    with pytest.raises(Unreachable, match="no MG400 in TCP/IP mode"):
        async with connected(arm):
            pass


async def test_a_late_reply_is_not_taken_for_the_next_answer() -> None:
    arm = Arm()
    async with connected(arm) as driver:
        arm.instead = {"RobotMode": "0,{0},DI(3);"}
        with pytest.raises(OutcomeUnknown, match="that is no reply to RobotMode"):
            await driver.read_state()
        arm.instead = {}
        assert (await driver.read_state()).mode == "enabled"


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        ("-1,{},MovJ(1);", Rejected, "failed to carry that out"),
        ("-2,{},MovJ(1);", Fault, "in error"),
        ("-3,{},MovJ(1);", Fault, "E-stop"),
        ("-10000,{},MovJ(1);", Rejected, "1.5.5 or newer"),
        ("-40003,{},MovJ(1);", Rejected, "a parameter is wrong"),
    ],
)
async def test_refusals_are_told_by_their_numbers(reply: str, kind: type[Exception], words: str) -> None:
    arm = Arm()
    arm.instead = {"MovJ": reply}
    async with connected(arm) as driver:
        with pytest.raises(kind, match=words):
            await driver.move(Call("a"), "home")


async def test_a_refusal_after_the_arm_has_moved_is_a_fault() -> None:
    arm = Arm()
    arm.instead = {"MovL": "-1,{},MovL(1);"}
    async with connected(arm) as driver:
        with pytest.raises(Fault, match="the arm had begun"):
            await driver.move(Call("a"), "press/nest")


async def test_a_tilted_and_an_unknown_position_are_refused_in_words() -> None:
    arm = Arm()
    async with connected(arm) as driver:
        with pytest.raises(Rejected, match="tilted by 180° and 0°"):
            await driver.move(Call("a"), "tilted/spot")
        with pytest.raises(Rejected, match="did you mean 'press/nest'"):
            await driver.pick(Call("a"), "pres/nest")
    assert arm.heard == ["RobotMode()"]


async def test_a_second_output_opens_while_the_first_is_off() -> None:
    arm = Arm()
    async with connected(arm, release_output=2) as driver:
        arm._do = lambda name, numbers: (  # type: ignore[method-assign]
            setattr(arm, "pose", tuple(numbers))
            if name.startswith("Mov")
            else setattr(arm, "outputs", int(numbers[1]))
            if name == "DO" and numbers[0] == 1
            else None
        )
        await driver.pick(Call("a"), "press/nest")
    assert [command for command in arm.heard if command.startswith("DO")] == [
        "DO(1,0)",
        "DO(2,1)",
        "DO(2,0)",
        "DO(1,1)",
    ]


async def test_safe_state_stops_and_switches_off() -> None:
    arm = Arm()
    async with connected(arm) as driver:
        await driver.safe_state()
        await driver.safe_state("")
    assert arm.heard[1:] == ["ResetRobot()", "DisableRobot()"] * 2


@pytest.mark.parametrize("error", [-1, -2, -3])
async def test_an_arm_that_refuses_to_stop_loses_its_drives_all_the_same(error: int) -> None:
    arm = Arm()
    arm.instead["ResetRobot"] = f"{error},{{}},ResetRobot();"
    async with connected(arm) as driver:
        await driver.safe_state()
    assert arm.heard[1:] == ["ResetRobot()", "DisableRobot()"]


async def test_an_input_that_is_off_while_a_part_is_held_is_understood() -> None:
    arm = Arm()
    async with connected(arm, held_when=False) as driver:
        assert (await driver.place(Call("a"), "press/nest")).released is False  # the output is off: nothing is held
        with pytest.raises(Rejected, match="already holds a part"):
            await driver.pick(Call("a"), "press/nest")
