"""An Opentrons OT-2 or Flex: robot-server 8.1.0 over HTTP, with a deck of tips and wells that run out."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from labd import clock
from simulators._kit.agenda import Agenda
from simulators._kit.http import HttpServer
from simulators._kit.simulator import Bench, Simulator
from simulators._kit.tcp import host_and_port
from simulators._kit.trial import Trial
from simulators.faults.knobs import MANY, switch
from simulators.faults.words import Takes
from simulators.opentrons.hardware import Robot
from simulators.opentrons.labware import FLEX, OT2
from simulators.opentrons.server import RobotServer

PORT = 31950
PRECISION = 0.008  # relative standard deviation of a volume: what the vendor states for a P20 GEN2 at 10 µL, about
_SOON = 1e-6  # s; timers fire up to one tick of the clock early

_TRIAL = Trial(
    name="ot2",
    settings={
        "address": "http://127.0.0.1:0",
        "pipettes": {"left": "p20_single_gen2", "right": "p300_single_gen2"},
    },
    deck=(
        {"place": "ot2/1", "labware": "opentrons_96_tiprack_20ul"},
        {"place": "ot2/4", "labware": "opentrons_96_tiprack_300ul"},
        {
            "place": "ot2/2",
            "labware": "vials_8x20ml",
            "contents": {"A1": {"material": "LP57", "volume": "2 mL", "dead": "100 µL"}},
        },
        {"place": "ot2/3", "labware": "cell_tray_8", "fill": "half_cell"},
    ),
    acts=(
        ("home", {}),
        ("transfer", {"source": "ot2/2/A1", "destination": "ot2/3/A1", "volume": "35 µL"}),
        ("mix", {"place": "ot2/2/A1", "volume": "50 µL", "times": 2}),
        ("new_tips", {"slot": "4"}),
    ),
)


class OpentronsSimulator(Simulator):
    """The robot `<name>`; its wells are the places `<name>/<slot>/<well>`.

    Settings: `address` (`http://host:port`), `pipettes: {left, right}` (load names). Options: `model` (ot2, flex),
    `precision` (relative standard deviation of each volume), `pipette_error` (what each pipette gives too much or too
    little always: a relative standard deviation, from which each gets its own by the seed, or {left, right}: relative
    errors; none by default), `seed`, `faults`. The deck's tip racks are where lab.yaml's `deck` has them; without any
    deck entry a rack is there wherever a run loads one. Used tips stay used over a restart: `robot.refill(slot)`.

    Faults, read when they matter:
        boot (s): 503 for so long after power-up.
        reply_lost, hang (int, counts down | {commandType, count}): the connection ends after the effect instead of an
            answer; the request is never answered nor carried out.
        door_open (bool): tells so; a Flex does not play then.
        estop (bool): Flex: commands are refused.
        tip_missed, tip_stuck (bool | int, counts down): no tip comes on, or none comes off. A Flex feels it, an OT-2
            does not.
        fail ({commandType: true | {count, errorType, errorCode, detail}}): commands fail.
        slow (factor): every command takes so much longer.
    """

    FAULTS = {
        "reply_lost": switch(
            "reply_lost",
            takes={"command": Takes("text", "only of commands of this type, aspirate", None)},
            make=lambda given, times: _of_command(given["command"], times or MANY),
            times=True,
        ),
        "missed_pick": switch("tip_missed", times=True, make=lambda _, times: times or True),
        "stuck_pick": switch("tip_stuck", times=True, make=lambda _, times: times or True),
        "guard_open": switch("door_open"),
        "estop": switch("estop"),
        "fail": switch(
            "fail",
            takes={"command": Takes("text", "commands of this type, aspirate", needed=True)},
            make=lambda given, times: {given["command"]: True if times is None else {"count": times}},
            times=True,
        ),
        "slow": switch("slow", unit="1", default=3.0),
    }
    BY_HAND = {"http": "curl -s -H 'Opentrons-Version: *' http://{host}:{port}/health"}
    trial = _TRIAL

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        model = bench.options.get("model", "ot2")
        if model not in ("ot2", "flex"):
            raise ValueError(f"{bench.name}: model {model!r} is none of ot2, flex")
        self._is_flex = model == "flex"
        self.robot = Robot(
            bench,
            FLEX if self._is_flex else OT2,
            self.faults,
            precision=float(bench.options.get("precision", PRECISION)),
            pipette_error=bench.options.get("pipette_error", 0.0),
            is_flex=self._is_flex,
        )
        self._agenda = Agenda()
        self._http: HttpServer | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ahead = 0.0

    async def start(self) -> dict[str, Any]:
        """Switches the robot on; gives `address`.

        Raises:
            OSError: the port is taken.
        """
        self._agenda.advance(self._now())
        server = RobotServer(
            self.name,
            self.robot,
            self.faults,
            self._agenda,
            self._iso,
            self._epoch,
            self._advance,
            door_blocks=self._is_flex,
        )
        self._http = HttpServer(server.handle)
        host, port = host_and_port(str(self.bench.settings.get("address", f"http://127.0.0.1:{PORT}")), PORT)
        return {"address": f"http://{host}:{await self._http.start(host, port)}"}

    async def stop(self) -> None:
        """Cuts the power: what was under way is lost, a tip stays on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._agenda.clear()
        if self._http is not None:
            await self._http.stop()
            self._http = None
        self.world.save()

    def step(self, dt: float) -> None:
        """Lets so many seconds pass for the robot, beside the lab's own time."""
        self._ahead += dt
        self._advance()

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def _now(self) -> float:
        return clock.monotonic() + self._ahead

    def _iso(self, at: float) -> str:
        return (clock.now() + timedelta(seconds=at - self._now())).isoformat(timespec="microseconds")

    def _epoch(self, at: float) -> float:
        return clock.now().timestamp() + at - self._now()

    def _advance(self) -> None:
        """Does what is due, and sets one timer for what comes next."""
        self._agenda.advance(self._now())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._agenda.next
        if due is not None:
            self._timer = asyncio.get_running_loop().call_at(due - self._ahead + _SOON, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._advance()


def _of_command(command: object, count: int) -> object:
    return count if command is None else {"commandType": command, "count": count}


SIMULATOR = OpentronsSimulator
