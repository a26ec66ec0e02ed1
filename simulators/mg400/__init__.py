"""A Dobot MG400 with a gripper: dashboard, motion and feedback, each on a TCP port of its own."""

from __future__ import annotations

import asyncio
from typing import Any

from labd import clock
from simulators._kit.arm_hand import ArmHand
from simulators._kit.simulator import Bench, Simulator
from simulators._kit.tcp import Client, TextServer, host_and_port
from simulators._kit.trial import Trial
from simulators._kit.world import Cell, World
from simulators.faults.knobs import act, of_next, switch
from simulators.mg400.arm import Arm
from simulators.mg400.commands import Commands
from simulators.mg400.feedback import FeedbackServer
from simulators.mg400.kinematics import apart, taught

PORTS = {"dashboard": 29999, "motion": 30003, "feedback": 30005}
_SOON = 1e-6  # s; timers fire up to one tick of the clock early


def _lay(world: World) -> None:
    world.put("tray/A1", Cell(id="c1"))


_TRIAL = Trial(
    name="arm",
    settings={"address": "127.0.0.1:0", "held_input": 3},
    positions={
        "home": {"pose": [250, 0, 100, 0, 0, 0]},
        "tray/A1": {"pose": [250, -80, 20, 0, 0, 0]},
        "press/nest": {"pose": [280, 60, 30, 0, 0, 45]},
    },
    furnish=_lay,
    acts=(
        ("home", {}),
        ("pick", {"place": "tray/A1"}),
        ("place", {"place": "press/nest"}),
        ("move", {"position": "home"}),
    ),
)


class Mg400Simulator(Simulator):
    """The arm `<name>`; what it holds lies at the place `<name>/gripper`, what it lost at `<name>/fallen/<n>`.

    Settings: `address`, and the ports `dashboard`, `motion`, `feedback` (all are free ones where the address has port
    0); `grip_output`, `release_output`, `held_input`, `held_when` as wired. Options: `feedback_8ms` (a second feedback
    port, 30004 on a real arm), `finger_time` (s that the gripper takes), `seed`, `faults`. Positions: the taught ones,
    x, y, z, 0, 0, r; those with a `/` are places.

    Faults, read when they matter (moves and closings at a part count from 1 and go on over a restart):
        miss (0 to 1), miss_on ([closings]): the gripper closes beside the part.
        drop (0 to 1), drop_on ([closings]): the part is lost on the next way.
        error_on ([moves]): a collision in mid-move, mode 9. estop_on ([moves]): the E-stop.
        slow (factor): every way takes so much longer.
        cut_frames (int, counts down): so many feedback frames end after 700 bytes.
        no_frames (bool): the feedback is silent. stuck_output (bool): the grip output does not switch.
        silent (bool), lost_replies (int, counts down), delay (s): as `TextServer` has them, on both command ports.
    """

    trial = _TRIAL

    FAULTS = {
        "missed_pick": of_next("miss_on", "closings"),
        "dropped_pick": of_next("drop_on", "closings"),
        "jam": of_next("error_on", "moves"),
        "estop": act("press_estop", "release_estop"),
        "stuck_pick": switch("stuck_output"),
        "slow": switch("slow", unit="1", default=3.0),
    }
    COUNTERS = {
        "moves": lambda simulator: int(simulator.world.memory(simulator.name).get("moves", 0)),
        "closings": lambda simulator: int(simulator.world.memory(simulator.name).get("closings", 0)),
    }

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.hand = ArmHand(bench, self.faults, taught, apart)
        self.arm = Arm(
            self.hand,
            self.world.memory(self.name),
            self.faults,
            self._stamp,
            wiring=bench.settings,
            finger_time=float(bench.options.get("finger_time", 0.2)),
        )
        commands = Commands(self.arm)
        self._dashboard = TextServer(self._handler(commands.dashboard), end=b")", out=b";", faults=self.faults)
        self._motion = TextServer(self._handler(commands.motion), end=b")", out=b";", faults=self.faults)
        self._feedback = FeedbackServer(self._frame, 0.2, self.faults)
        self._fast = FeedbackServer(self._frame, 0.008, self.faults)
        self._timer: asyncio.TimerHandle | None = None
        self._ahead = 0.0

    async def start(self) -> dict[str, Any]:
        """Switches the arm on; gives its host and ports.

        Raises:
            OSError: a port is taken.
        """
        self._advance()
        host, port = host_and_port(str(self.bench.settings.get("address", "127.0.0.1")), -1)
        said = {
            name: 0 if port == 0 else int(str(self.bench.settings.get(name, usual)).rpartition(":")[2])
            for name, usual in PORTS.items()
        }
        found = {
            "dashboard": await self._dashboard.start(host, said["dashboard"]),
            "motion": await self._motion.start(host, said["motion"]),
            "feedback": await self._feedback.start(host, said["feedback"]),
        }
        if "feedback_8ms" in self.bench.options:
            await self._fast.start(host, int(self.bench.options["feedback_8ms"]))
        others = {name: f"{host}:{port}" for name, port in found.items() if port != PORTS[name]}
        return {"address": host, **others}

    async def stop(self) -> None:
        """Switches the arm off. What it holds stays in its gripper."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for server in (self._dashboard, self._motion, self._feedback, self._fast):
            await server.stop()
        self.world.save()

    def step(self, dt: float) -> None:
        """Lets so many seconds pass for the arm, beside the lab's own time."""
        self._ahead += dt
        self._advance()

    def press_estop(self) -> None:
        """Alarm 85, mode 9: the arm stops, and stays so until it is released and cleared."""
        self._advance()
        self.arm.press_estop(self.arm.now)

    def release_estop(self) -> None:
        """The button is out again; the alarm stays until ClearError."""
        self.arm.estopped = False

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def _now(self) -> float:
        return clock.monotonic() + self._ahead

    def _stamp(self, at: float) -> float:
        return clock.now().timestamp() + at - self._now()

    def _advance(self) -> None:
        self.arm.advance(self._now())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.arm.next_due
        if due is not None:
            self._timer = asyncio.get_running_loop().call_at(due - self._ahead + _SOON, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._advance()

    # ── the wire ─────────────────────────────────────────────────────────────────────────────────────────────────
    def _handler(self, carry_out: Any) -> Any:
        def handle(client: Client, message: str) -> None:
            self._advance()
            carry_out(message.strip() + ")", client.send)
            self._advance()

        return handle

    def _frame(self) -> bytes:
        self._advance()
        return self.arm.frame()


SIMULATOR = Mg400Simulator
