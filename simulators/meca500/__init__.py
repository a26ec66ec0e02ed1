"""A Meca500 arm with a gripper: control on one TCP port, monitoring on the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from labd import clock
from simulators._kit.arm_hand import ArmHand
from simulators._kit.simulator import Bench, Simulator
from simulators._kit.tcp import Client, TextServer, host_and_port
from simulators._kit.trial import Trial
from simulators._kit.world import Cell, World
from simulators.faults.knobs import act, of_next, switch
from simulators.meca500.arm import Arm
from simulators.meca500.commands import Refused, carry_out, moveable
from simulators.meca500.gripper import TOP_FORCE
from simulators.meca500.kinematics import apart, frame

PORT = 10000
FIRMWARE = "8.4.3"
_WELCOME = f"[3000][Connected to Meca500 R3 v{FIRMWARE}]"
_SOON = 1e-6  # s; timers fire up to one tick of the clock early
_TRIES = 50  # for two free ports in a row


def _lay(world: World) -> None:
    world.put("tray/A1", Cell(id="c1"))


_TRIAL = Trial(
    name="arm",
    settings={"address": "127.0.0.1:0"},
    positions={
        "home": {"pose": [190, 0, 180, 180, 0, 180]},
        "tray/A1": {"pose": [140, 0, 50, 180, 0, 180]},
        "press/nest": {"pose": [240, -50, 62, 180, 0, 180]},
    },
    furnish=_lay,
    acts=(
        ("home", {}),
        ("pick", {"place": "tray/A1", "force": "20 N"}),
        ("place", {"place": "press/nest"}),
        ("move", {"position": "home"}),
    ),
)


class MecaSimulator(Simulator):
    """The arm `<name>`; what it holds lies at the place `<name>/gripper`, what it lost at `<name>/fallen/<n>`.

    Settings: `address` (`host:port`; monitoring is on the next port). Options: `monitoring` (s between two reports
    while somebody listens), `gripper: {stroke, part}` (mm), `seed`, `faults`. Positions: the taught ones; those with
    a `/` are places.

    Faults, read when they matter (moves and closings at a part count from 1 and go on over a restart):
        miss (0 to 1), miss_on ([closings]): the fingers close beside the part.
        drop (0 to 1), drop_on ([closings]): the part is lost on the next way.
        error_on ([moves]): motion error in mid-move. estop_on ([moves]): the E-stop.
        slow (factor): every way takes so much longer.
        taken (bool): another client has control.
        numbered (int): its statuses end with this number, so that two of them can be told apart.
        silent (bool), lost_replies (int, counts down): as `TextServer` has them.
    """

    FAULTS = {
        "missed_pick": of_next("miss_on", "closings"),
        "dropped_pick": of_next("drop_on", "closings"),
        "jam": of_next("error_on", "moves"),
        "estop": act("press_estop", "release_estop"),
        "slow": switch("slow", unit="1", default=3.0),
        "taken": switch("taken"),
    }
    COUNTERS = {
        "moves": lambda simulator: int(simulator.world.memory(simulator.name).get("moves", 0)),
        "closings": lambda simulator: int(simulator.world.memory(simulator.name).get("closings", 0)),
    }
    BY_HAND = {"tcp": "printf 'GetStatusRobot\\0' | nc -q 1 {host} {port}"}
    trial = _TRIAL

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.arm: Arm | None = None
        self.estopped = False
        self._control = TextServer(self._commanded, on_enter=self._entered, on_leave=self._left, faults=self.faults)
        self._monitoring = TextServer(lambda _client, _text: None, on_enter=self._watched)
        self._master: Client | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._interval = float(bench.options.get("monitoring", 10.0))
        self._told: tuple[str, ...] = ()
        self._ahead = 0.0

    async def start(self) -> dict[str, Any]:
        """Switches the robot on; gives `address`.

        Raises:
            OSError: a port is taken.
        """
        gripper = self.bench.options.get("gripper") or {}
        self.arm = Arm(
            ArmHand(self.bench, self.faults, frame, apart),
            self.world.memory(self.name),
            self.faults,
            self._say,
            self._report,
            self._stamp,
            stroke=float(gripper.get("stroke", 48.0)),
            part=float(gripper.get("part", 20.0)),
        )
        self.arm.estop_pressed = self.press_estop
        self.arm.advance(self._now())
        host, port = host_and_port(str(self.bench.settings.get("address", f"127.0.0.1:{PORT}")), PORT)
        return {"address": f"{host}:{await self._listen(host, port)}"}

    async def _listen(self, host: str, port: int) -> int:
        for _ in range(_TRIES):
            found = await self._control.start(host, port)
            try:
                await self._monitoring.start(host, found + 1)
            except (OSError, OverflowError):
                await self._control.stop()
                if port != 0:
                    raise
                continue
            return found
        raise OSError(f"{self.name}: no two free ports in a row on {host}")

    async def stop(self) -> None:
        """Switches the robot off. What it holds stays in its fingers."""
        for timer in (self._timer, self._ticker):
            if timer is not None:
                timer.cancel()
        self._timer = self._ticker = None
        await self._control.stop()
        await self._monitoring.stop()
        self.world.save()

    def step(self, dt: float) -> None:
        """Lets so many seconds pass for the arm, beside the lab's own time."""
        self._ahead += dt
        self._advance()

    def press_estop(self) -> None:
        """Takes the robot's power: it stops, and every connection ends."""
        assert self.arm is not None
        self.estopped = True
        self.arm.power_off()
        for client in [*self._control.clients, *self._monitoring.clients]:
            client.cut()

    def release_estop(self) -> None:
        """Gives the power back: clients may come again, the motors are off."""
        self.estopped = False

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def _now(self) -> float:
        return clock.monotonic() + self._ahead

    def _stamp(self, at: float) -> float:
        return clock.now().timestamp() + at - self._now()

    def _advance(self) -> None:
        assert self.arm is not None
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

    # ── the control port ─────────────────────────────────────────────────────────────────────────────────────────
    def _entered(self, client: Client) -> None:
        if self.estopped:
            client.cut()
        elif self._master is not None or self.faults.get("taken"):
            client.send("[3001][Another user is already connected, closing connection.]")
            client.close()
        else:
            self._master = client
            client.send(_WELCOME)

    def _left(self, client: Client) -> None:
        if client is self._master:
            self._master = None
            if self.arm is not None and not self.estopped:
                self._advance()
                self.arm.lose_control()

    def _say(self, code: int, text: str) -> None:
        if self._master is not None:
            self._master.send(f"[{code}][{text}]")

    def _commanded(self, client: Client, message: str) -> None:
        if client is not self._master or not message.strip():  # an empty one says that it is no WebSocket
            return
        assert self.arm is not None
        self._advance()
        try:
            carry_out(self.arm, message, self._immediate())
        except Refused as refusal:
            self._say(refusal.code, str(refusal))
        self._advance()

    def _immediate(self) -> dict[str, Callable[[tuple[float, ...]], None]]:
        arm = self.arm
        assert arm is not None

        def when_moveable(act: Callable[[], None], *, activated: bool) -> Callable[[tuple[float, ...]], None]:
            def guarded(_: tuple[float, ...]) -> None:
                if arm.error or (activated and not arm.activating):
                    moveable(arm, homed=False)
                act()

            return guarded

        def tells(code: int, text: Callable[[], str]) -> Callable[[tuple[float, ...]], None]:
            return lambda _: self._say(code, text())

        return {
            "activaterobot": when_moveable(arm.activate, activated=False),
            "home": when_moveable(arm.home, activated=True),
            "deactivaterobot": lambda _: arm.deactivate(),
            "pausemotion": when_moveable(arm.pause, activated=False),
            "resumemotion": when_moveable(arm.resume, activated=False),
            "clearmotion": when_moveable(arm.clear, activated=False),
            "reseterror": lambda _: arm.reset_error(),
            "seteob": self._set_eob,
            "setmonitoringinterval": self._set_interval,
            "getmonitoringinterval": tells(2116, lambda: f"{self._interval:g}"),
            "getrealtimemonitoring": tells(2117, lambda: ""),  # nothing is asked for beyond what is always told
            "setrtc": lambda _: None,  # its clock is the lab's
            "getstatusrobot": tells(2007, arm.robot_status),
            "getstatusgripper": tells(2079, arm.gripper_status),
            "getjoints": tells(2026, lambda: _numbers(arm.joints)),
            "getpose": tells(2027, lambda: _numbers(arm.pose)),
            "getrtjointpos": tells(2210, lambda: self._timed(_numbers(arm.joints))),
            "getrtcartpos": tells(2211, lambda: self._timed(_numbers(arm.pose))),
            "getrtgripperforce": tells(2321, lambda: self._timed(f"{self._grip_force():.2f}")),
            "getrtgripperpos": tells(2322, lambda: self._timed(f"{arm.fingers.width(arm.now):.2f}")),
            "getcheckpoint": tells(2157, lambda: str(arm.checkpoint)),
            "getcmdpendingcount": tells(2080, lambda: str(arm.pending)),
            "getfwversion": tells(2081, lambda: f"v{FIRMWARE}"),
            "getfwversionfull": tells(2082, lambda: f"{FIRMWARE}.0-simulated"),
            "getrobotserial": tells(2083, lambda: f"m500-{self.name}"),
            "getproducttype": tells(2084, lambda: "Meca500"),
        }

    def _grip_force(self) -> float:
        """N along the fingers' way, while they hold something."""
        assert self.arm is not None
        fingers = self.arm.fingers
        return TOP_FORCE * fingers.force / 100 if fingers.holding else 0.0

    def _timed(self, text: str) -> str:
        return f"{int(self._now() * 1e6)},{text}"

    def _set_eob(self, values: tuple[float, ...]) -> None:
        assert self.arm is not None
        on = values == (1.0,)
        self.arm.say_end_of_block = on
        self._say(*((2054, "End of block is enabled.") if on else (2055, "End of block is disabled.")))

    def _set_interval(self, values: tuple[float, ...]) -> None:
        if len(values) != 1 or not 0.001 <= values[0] <= 60:
            raise Refused(1003, "Argument error. - Command: SetMonitoringInterval")
        self._interval = values[0]
        self._tick_later()

    # ── the monitoring port ──────────────────────────────────────────────────────────────────────────────────────
    def _watched(self, client: Client) -> None:
        if self.estopped:
            client.cut()
            return
        client.send(_WELCOME)
        self._told = ()
        self._report()
        self._tick_later()

    def _report(self) -> None:
        """Tells those who listen what changed, and always where the arm is."""
        if not self._monitoring.clients:
            return
        assert self.arm is not None
        statuses = (f"[2007][{self.arm.robot_status()}]", f"[2079][{self.arm.gripper_status()}]")
        if statuses != self._told:
            self._told = statuses
            for status in statuses:
                self._monitoring.send(status)
        self._monitoring.send(f"[2026][{_numbers(self.arm.joints)}]")
        self._monitoring.send(f"[2027][{_numbers(self.arm.pose)}]")
        self._monitoring.send(f"[2230][{int(self._now() * 1e6)}]")

    def _tick_later(self) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        if self._monitoring.clients:
            self._ticker = asyncio.get_running_loop().call_later(self._interval, self._tick)

    def _tick(self) -> None:
        self._ticker = None
        self._advance()
        self._report()
        self._tick_later()


def _numbers(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:.3f}" for value in values)


SIMULATOR = MecaSimulator
