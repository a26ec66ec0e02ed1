"""The simulators of a lab in the daemon's process."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from simulators._kit.host import HostError, SimulatorHost, main
from tests.simulators.ports import Port, is_gone

LAB: dict[str, Any] = {
    "labd": 1,
    "lab": "bench",
    "store": "store",
    "seed": 7,
    "devices": {
        "stat1": {"driver": "methodscript", "settings": {"port": "stat1"}, "simulator": {}},
        "stat2": {"driver": "methodscript", "settings": {"port": "stat2", "model": "nexus"}, "simulator": {"seed": 3}},
        "real": {"driver": "methodscript", "settings": {"port": "/dev/ttyACM0"}},
    },
    "deck": [{"place": "tray/cells", "labware": "cell_tray_8", "fill": "half_cell"}],
}


def lab(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(LAB), **changes}


async def test_it_starts_what_has_a_simulator_and_says_where(tmp_path: Path) -> None:
    host = SimulatorHost(lab(), tmp_path, tmp_path / "state")
    overrides = await host.start()
    assert set(overrides) == set(host.simulators) == {"stat1", "stat2"}
    assert host.world.seed == 7
    assert host.world.cell("tray/cells/B4") is not None
    with Port(overrides["stat2"]["port"]) as port:
        assert (await port.ask("t")).startswith("tnexus")
    await host.stop()
    assert is_gone(overrides["stat1"]["port"])


def test_how_many_cells_fail_is_the_labs(tmp_path: Path) -> None:
    assert SimulatorHost(lab(), tmp_path, tmp_path / "one").world.failed_cells == 0.05
    told = lab()
    told["devices"]["stat2"]["simulator"]["failed_cells"] = 0
    assert SimulatorHost(told, tmp_path, tmp_path / "other").world.failed_cells == 0


@pytest.mark.parametrize("share", [5, -0.1, "few"])
def test_a_share_of_failed_cells_that_is_none_is_refused(tmp_path: Path, share: object) -> None:
    told = lab()
    told["devices"]["stat2"]["simulator"]["failed_cells"] = share
    with pytest.raises(HostError, match=r"failed_cells: .* is no share: 0\.05 is one cell in twenty"):
        SimulatorHost(told, tmp_path, tmp_path / "state")


def test_blank_cells_lie_in_a_tray_like_others(tmp_path: Path) -> None:
    deck = [{"place": "tray/blanks", "labware": "cell_tray_8", "fill": "blank_cell"}]
    cell = SimulatorHost(lab(deck=deck), tmp_path, tmp_path / "state").world.cell("tray/blanks/A1")
    assert cell is not None
    assert cell.parts == ["blank_cell"]


async def test_the_next_one_finds_the_world_of_the_last(tmp_path: Path) -> None:
    first = SimulatorHost(lab(), tmp_path, tmp_path / "state")
    await first.start()
    first.world.take("tray/cells/A1")
    await first.stop()
    second = SimulatorHost(lab(), tmp_path, tmp_path / "state")
    assert second.world.cell("tray/cells/A1") is None
    assert second.world.cell("tray/cells/A2") is not None


async def test_two_hosts_do_not_share_one_world(tmp_path: Path) -> None:
    first = SimulatorHost(lab(), tmp_path, tmp_path / "state")
    await first.start()
    with pytest.raises(HostError, match="another process"):
        await SimulatorHost(lab(), tmp_path, tmp_path / "state").start()
    await first.stop()


async def test_only_some_devices_may_be_asked_for(tmp_path: Path) -> None:
    assert SimulatorHost(lab(), tmp_path, tmp_path / "a", ["stat2"]).devices == ["stat2"]
    with pytest.raises(HostError, match=r"real: no such simulated device.*stat1, stat2"):
        SimulatorHost(lab(), tmp_path, tmp_path / "b", ["real"])


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"driver": "teapot", "simulator": {}}, "stat2: there is no simulator for the driver 'teapot'"),
        ({"driver": "methodscript", "settings": {"model": "x"}, "simulator": {}}, "stat2: settings.model: 'x' is none"),
        ({"driver": "methodscript", "settings": {"port": "."}, "simulator": {}}, "stat2: .* is no link"),
    ],
)
async def test_what_cannot_start_is_named_and_the_rest_is_stopped(
    tmp_path: Path, entry: dict[str, Any], message: str
) -> None:
    devices = {**LAB["devices"], "stat2": entry}
    host = SimulatorHost(lab(devices=devices), tmp_path, tmp_path / "state")
    with pytest.raises(HostError, match=message):
        await host.start()
    assert not (tmp_path / "state" / "stat1").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("devices: [", "lab.yaml:1:"),
        ("- 1", "is not a mapping"),
        ("lab: x", "`store` is missing"),
        ("store: s\nclock: virtual\ndevices: {a: {driver: x}}", "virtual time cannot be shared"),
        ("store: s\nclock: tomorrow\ndevices: {a: {driver: x}}", "'tomorrow' is none of"),
        ("store: s\ndevices: {a: {driver: teapot, simulator: {}}}", "no simulator for the driver 'teapot'"),
    ],
)
def test_a_bad_file_ends_with_a_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, message: str
) -> None:
    path = tmp_path / "lab.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SystemExit) as ended:
        main([str(path)])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.startswith("labd-sim: ")
    assert "Traceback" not in told
