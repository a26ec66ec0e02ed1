"""Crates over REST: of a run that asks, of one that has ended, and of none."""

from __future__ import annotations

from pathlib import Path

from labd.lab.identities import driver_version, keep_identities
from labd.records.crate import check
from tests.api.conftest import Served


async def test_a_run_that_still_asks_has_a_crate_already(served: Served) -> None:
    async with served() as bench:
        run = (await bench.start())["run"]
        await bench.wait(run)
        answer = await bench.client.post("/crates", json={"what": run})
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert (told["kind"], told["runs"]) == ("run", [run])
        assert Path(told["path"]) == bench.path.parent / "exports" / f"{run}.crate.zip"
        assert check(Path(told["path"])) == []
        assert not list(bench.path.parent.glob("crate.*"))  # what was gathered is gone


async def test_what_nobody_knows_has_no_crate(served: Served) -> None:
    async with served() as bench:
        answer = await bench.client.post("/crates", json={"what": "run-0404"})
        assert answer.status_code == 404
        assert "there is no run, batch or sample 'run-0404'" in answer.json()["error"]["message"]


async def test_a_place_that_cannot_be_written_is_told(served: Served, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with served() as bench:
        run = (await bench.start())["run"]
        answer = await bench.client.post("/crates", json={"what": run, "to": str(tmp_path / "file" / "out")})
        assert answer.status_code == 409
        assert "cannot be written" in answer.json()["error"]["message"]


async def test_a_device_tells_the_journal_what_it_is_once_and_again_when_it_has_changed(served: Served) -> None:
    async with served() as bench:
        press = bench.engine.lab.devices["press"]
        forget = keep_identities(bench.engine.lab, bench.engine.journal)
        for _ in range(2):
            press.bus.tell(press.describe())
        assert press.about is not None
        press.about = press.about.model_copy(update={"firmware": "9.9"})
        press.bus.tell(press.describe())
        forget()
        press.bus.tell(press.describe())
        events = await bench.engine.journal.events(kinds={"device.identified"})
        assert [event.data["firmware"] for event in events][1:] == ["9.9"]
        assert events[0].data["device"] == "press"
        assert events[0].data["simulated"] is True  # lab.yaml of toys says so


def test_a_driver_of_another_package_has_that_packages_version() -> None:
    import httpx

    assert driver_version(httpx.Client) == httpx.__version__
    assert driver_version(type("Own", (), {"__module__": "nowhere"})) == ""


async def test_a_barcode_that_looks_like_a_path_does_not_lead_out_of_the_store(served: Served) -> None:
    async with served() as bench:
        started = await bench.start()
        await bench.wait(started["run"])
        sample = (await bench.client.get(f"/runs/{started['run']}")).json()["sample"]
        code = "../../out/of/here"
        answer = await bench.client.post(f"/samples/{sample}", json={"barcode": code, "by": "mk"})
        assert answer.status_code == 200, answer.text
        answer = await bench.client.post("/crates", json={"what": code})
        assert answer.status_code == 200, answer.text
        assert Path(answer.json()["path"]).parent == bench.path.parent / "exports"
        assert answer.json()["lacks"] == []
