"""The instrument on its serial line: the commands of the communication protocol."""

from __future__ import annotations

import asyncio
import zlib
from pathlib import Path
from typing import Any

from labd import clock
from simulators._kit.pty import PtyServer
from simulators._kit.simulator import Bench, Simulator
from simulators._kit.trial import Trial, charge_at
from simulators._kit.world import LID, Cell, World
from simulators.faults.knobs import switch
from simulators.methodscript import errors
from simulators.methodscript.commands import COMMANDS
from simulators.methodscript.errors import ScriptError, ScriptFault
from simulators.methodscript.machine import Machine
from simulators.methodscript.models import model_of
from simulators.methodscript.parser import LINE_LIMIT, Parser, Program
from simulators.methodscript.potentiostat import Potentiostat

DEAF = 0.1  # s that the instrument throws away what comes in after it answered with an error
_XON = b"\x11"


def _lay(world: World) -> None:
    made = {"parts": ["half_cell", LID], "electrolyte": {"LP57": 40.0}, "wetted_at": 0.0}
    world.put("stat1/cell", Cell(id="c1", crimp_force=7.8, crimp_dwell=2.0, crimped_at=120.0, **made))


_TRIAL = Trial(
    name="stat1",
    settings={"port": "ports/stat1", "model": "emstat4_hr"},
    furnish=_lay,
    acts=(
        ("open_circuit", {"duration": "5 s"}),
        ("constant_current", {"current": "0.1 mA", "until_time": "10 s"}),
        ("constant_voltage", {"voltage": "3.7 V", "until_time": "10 s"}),
        (
            "cyclic_voltammetry",
            {"start": "3.6 V", "vertex1": "3.7 V", "vertex2": "3.5 V", "scan_rate": "50 mV/s"},
        ),
        ("impedance", {"f_max": "1 kHz", "f_min": "10 Hz", "points_per_decade": 2}),
        (
            "cycle",
            {"upper": "3.8 V", "lower": "3.4 V", "cycles": 1, "current": "1 mA", "half_cycle_limit": "30 s"},
        ),
        ("cell_off", {}),
    ),
    effect=charge_at("stat1/cell"),
)


class MethodScriptInstrument(Simulator):
    """One PalmSens instrument on a pty; the cell is the one at `<name>/cell`.

    Settings: `port` (where the link to the pty is put; relative: under the bench's directory), `model` (emstat4_hr,
    emstat4_lr, emstat_pico, nexus).

    Faults, besides those of the line (`silent`, `drop`, `delay`, `truncate`, `garble`; see `PtyServer`):
        busy (bool): every command is answered with 0006, as if a script of somebody else ran.
        overload (bool): every reading carries the overload bit.
        critical (int, once): the script stops with 0032 after so many points; the cell stays on.
        fatal (int, once): the same with 7FFF.
        open_circuit (bool): a contact is off; no cell.
        garble_package, cut_package (bool, once): the next package has a spoilt byte, or ends in its middle.
        bare_package (bool, once): a `P` without anything comes before the next package.
    """

    FAULTS = {
        "busy_stuck": switch("busy"),
        "overload": switch("overload"),
        "open_circuit": switch("open_circuit"),
        "crash": switch("critical", 1),
    }
    trial = _TRIAL

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.model = model_of(str(bench.settings.get("model", "emstat4_hr")))
        port = Path(str(bench.settings.get("port") or f"{self.name}.pty"))
        self.pty = PtyServer(port if port.is_absolute() else bench.directory / port, self._receive, self.faults)
        self.serial = f"{self.model.serial}{zlib.crc32(self.name.encode()) % 100_000:05d}"
        self._offset = 0.0
        self._ahead = 0.0
        self.front = Potentiostat(self.model, self.world, f"{self.name}/cell", bench.random(), self._wall, self.faults)
        self._machine: Machine | None = None
        self._loaded: Program | None = None
        self._script: list[str] | None = None  # lines of the script that comes in
        self._echo = ""
        self._input = b""
        self._deaf_until = 0.0
        self._queue: asyncio.Queue[Program] = asyncio.Queue()
        self._worker: asyncio.Task[None] | None = None
        self._running = False

    def _wall(self) -> float:
        return asyncio.get_running_loop().time() + self._offset + self._ahead

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────
    async def start(self) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        self._offset = clock.now().timestamp() - loop.time()
        self._queue = asyncio.Queue()
        self._machine = Machine(self.front, self._line, self.world.save, self.faults)
        port = await self.pty.start()
        self._worker = asyncio.create_task(self._work(), name=f"simulator {self.name}")
        self._worker.add_done_callback(self._ended)
        return {"port": port}

    async def stop(self) -> None:
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
            self._worker = None
            self.front.switch(on=False)
        await self.pty.stop()

    def _ended(self, worker: asyncio.Task[None]) -> None:
        if not worker.cancelled() and (error := worker.exception()) is not None:
            worker.get_loop().call_exception_handler(
                {"message": f"simulator {self.name} died", "exception": error, "task": worker}
            )

    def step(self, dt: float) -> None:
        """Lets so many seconds pass for the cell, beside the lab's own time."""
        self._ahead += dt
        self.front.advance()

    async def _work(self) -> None:
        assert self._machine is not None
        while True:
            program = await self._queue.get()
            ending = "\n"
            try:
                await self._machine.run(program)
            except ScriptFault as fault:
                ending = f"{fault}\n\n"
                self._deafen()
            # Idle before the last line is out: the host may answer it at once.
            self._running = False
            self._send(ending)

    # ── line ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def _send(self, text: str) -> None:
        self.pty.write(text.encode("ascii", errors="replace"))

    def _line(self, text: str) -> None:
        if self.faults and text.startswith("P") and len(text) > 5:
            if self.faults.pop("garble_package", None):
                text = text[:4] + "~" + text[5:]
            if self.faults.pop("cut_package", None):
                self._send(text[: len(text) // 2])
                return
        self._send(text + "\n")

    def _deafen(self) -> None:
        self._deaf_until = asyncio.get_running_loop().time() + DEAF

    def _refuse(self, command: str, code: int) -> None:
        self._send(f"{command}!{code:04X}\n")
        self._deafen()

    def _receive(self, data: bytes) -> None:
        if asyncio.get_running_loop().time() < self._deaf_until:
            self._input, self._script = b"", None
            return
        *lines, self._input = (self._input + data).split(b"\n")
        for index, line in enumerate(lines):
            self._command(line.rstrip(b"\r").decode("ascii", errors="replace"))
            if asyncio.get_running_loop().time() < self._deaf_until:
                # What came in one piece with the mistake is lost with it.
                del lines[index + 1 :]
                self._input = b""
                return

    def _command(self, line: str) -> None:
        if self._script is not None:
            if line.strip():
                self._script.append(line)
            else:
                self._take_script()
        elif not line:
            return
        elif self.faults.get("busy"):
            self._refuse(line[0], errors.WRONG_MODE)
        elif len(line) > LINE_LIMIT:
            self._refuse(line[0], errors.TOO_LONG)
        elif line in ("Z", "Y", "h", "H"):
            self._control(line)
        elif line in ("t", "i", "v", "CC", "CM", "e", "l", "r"):
            if self._running:
                self._refuse(line, errors.WRONG_MODE)
            else:
                self._idle_command(line)
        else:
            self._refuse(line[0], errors.UNKNOWN)

    def _control(self, line: str) -> None:
        if not self._running or self._machine is None:
            self._refuse(line, errors.WRONG_MODE)
            return
        self._send(f"{line}\n")
        match line:
            case "Z":
                self._machine.abort()
            case "Y":
                self._machine.end_loop()
            case _:
                self._machine.halt(halted=line == "h")

    def _idle_command(self, line: str) -> None:
        match line:
            case "t":
                if self.model.xon:
                    self.pty.write(_XON)
                self._send(f"t{self.model.firmware}\nR*\n")
            case "i":
                self._send(f"i{self.serial}\n")
            case "v":
                self._send("v01.05.00\n")
            case "CC":
                self._send(f"CC{3 if self.model.galvanostat else 1:08X}\n")
            case "CM":
                self._send(f"CM{(1 << len(COMMANDS)) - 1:032X}\n")
            case "r":
                if self._loaded is None:
                    self._refuse("r", errors.NO_SCRIPT)
                else:
                    self._run("r", self._loaded)
            case _:
                self._echo, self._script = line, []

    def _take_script(self) -> None:
        lines, self._script = self._script or [], None
        try:
            program = Parser().parse(lines)
        except ScriptError as error:
            self._send(f"{self._echo}{error}\n")
            self._deafen()
            return
        if self._echo == "l":
            self._loaded = program
            self._send("l\n")
        else:
            self._run("e", program)

    def _run(self, echo: str, program: Program) -> None:
        self._running = True
        self._send(f"{echo}\n")
        self._queue.put_nowait(program)


SIMULATOR = MethodScriptInstrument
