"""What is played in the kill matrix: a lab, a protocol, and the cells that are made there."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from benchmarks.faults.lab import PROTOCOL, WELLS, lab_of
from benchmarks.faults.stage import MEMORY, Witness
from labd import clock
from labd.daemon import Daemon
from labd.lab.config import load_lab
from labd.run.shipped import find_protocol
from simulators._kit.host import SimulatorHost, read_yaml
from simulators._kit.world import World

DESK = Path(__file__).parents[2] / "examples" / "simulated-lab"
PARTS = {
    "anode_case": "bottoms",
    "anode_spacer": "spacers1",
    "anode": "anodes",
    "separator": "separators",
    "cathode": "cathodes",
    "cathode_spacer": "spacers2",
    "spring": "springs",
    "cathode_case": "tops",
}


@dataclass(frozen=True, slots=True)
class Script:
    """One kind of cell.

    Args:
        name: of the figures.
        source: the protocol.
        lab: lays the lab out in a folder, and gives lab.yaml as a mapping.
        parameters: of the cell of one well.
    """

    name: str
    source: str
    lab: Callable[[Path, int], dict[str, Any]]
    parameters: Callable[[str], dict[str, str]]
    effects: dict[str, Counter[str]] = field(default_factory=dict)  # by well, where nothing goes wrong

    def start(self, well: str) -> dict[str, Any]:
        """The request that starts a cell."""
        told = {"protocol": self.source, "name": f"{self.name}.yaml", "parameters": self.parameters(well)}
        return told | {"by": "faults", "sample": f"cell-{well.lower()}", "position": f"ot2/3/{well}"}


def short_cell() -> Script:
    """Dose, close, crimp, store."""
    return Script(
        "short_cell",
        PROTOCOL,
        lab_of,
        lambda well: {"lid": f"tray/lids/{well}", "store_at": f"tray/cells/{well}"},
    )


def autobass() -> Script:
    """The shipped assembly of a cell from single parts.

    Its time window is wider here: under the scaled clock a restart of the daemon takes a minute of the lab's.
    """
    source = find_protocol("autobass_cr2032").read_text(encoding="utf-8")
    wide = source.replace("within: 742 s", "within: 48 h")
    assert wide != source
    return Script(
        "autobass",
        wide,
        _desk,
        lambda well: {name: f"tray/{tray}/{well}" for name, tray in PARTS.items()} | {"store_at": f"tray/cells/{well}"},
    )


def _desk(directory: Path, seed: int) -> dict[str, Any]:
    """The example's lab, without what has no part in it."""
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copy(DESK / "arm.yaml", directory)
    raw = read_yaml(DESK / "lab.yaml") | {"store": "store", "seed": seed}
    raw["devices"] = {name: raw["devices"][name] for name in ("ot2", "arm", "press", "bath")}
    return raw


def write_lab(path: Path, raw: Mapping[str, Any]) -> None:
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(dict(raw), file)


def effects_of(world: World, well: str) -> Counter[str]:
    """What really happened to the cell of one well and to its parts, each thing with how often."""
    mine = f"/{well}"
    log = world.memory(MEMORY).get("log", [])
    told = Counter(words for _, words in log if any(word.endswith(mine) for word in words.split()))
    cells = [item for _, item in world.items() if item.kind == "cell" and item.id.endswith(mine)]
    told["crimps"] = sum((cell.crimped_at is not None) + cell.damage.count("crimped twice") for cell in cells)
    told["damage"] = sum(len(cell.damage) for cell in cells)
    return +told


async def rehearse(script: Script, directory: Path, wells: int) -> None:
    """Makes the cells once with nothing going wrong, on virtual time: what must have happened in the end."""
    raw = script.lab(directory, 1) | {"clock": "virtual"}
    host = SimulatorHost(raw, directory, directory / "store" / "simulators")
    Witness(host.world)
    for name, settings in (await host.start()).items():
        raw["devices"][name]["settings"] |= settings
    write_lab(directory / "lab.yaml", raw)
    daemon = Daemon(load_lab(directory / "lab.yaml"), simulators=False)
    async with daemon.open():
        await asyncio.gather(*(device.wait_ready() for device in daemon.lab.devices.values()))
        runs = []
        for well in WELLS[:wells]:
            told = script.start(well)
            names = {name: told[name] for name in ("name", "parameters", "sample", "position", "by")}
            runs.append(await daemon.engine.start(told["protocol"], **names))
        ends = [await daemon.engine.wait(run.id) for run in runs]
        assert [end.outcome for end in ends] == ["complete"] * wells, ends
    await host.stop()
    script.effects.update({well: effects_of(host.world, well) for well in WELLS[:wells]})


def rehearsed(script: Script, directory: Path, wells: int) -> Script:
    """A script of which is known what must happen."""
    clock.run(rehearse(script, directory, wells), clock.timeline_of("virtual"))
    return script
