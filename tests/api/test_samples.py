"""Samples over the interface: registered, corrected, found by barcode, traced over several runs."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.api.conftest import PRESSING, Served

CODE = "https://lab.example/cells/7?rev=b&x=%20"


async def test_a_sample_is_registered_corrected_and_found_by_its_barcode(served: Served) -> None:
    async with served() as lab:
        said = {"barcode": CODE, "active_mass": "12.3 mg", "about": {"coating": "N3"}, "by": "mk"}
        assert (await lab.client.post("/samples/cell-a", json=said)).status_code == 200
        path = f"/samples/{quote(CODE, safe='')}"
        answer = await lab.client.post(path, json={"active_mass": "12.5 mg", "note": "weighed again", "by": "jd"})
        found = answer.json()
        assert (found["sample"], found["barcode"], found["about"]) == ("cell-a", CODE, {"coating": "N3"})
        assert found["active_mass"] == {"v": pytest.approx(0.0125), "u": "g"}
        assert [(note["by"], note["note"]) for note in found["notes"]] == [("mk", None), ("jd", "weighed again")]
        assert (await lab.client.get(path)).json() == found
        assert found["fate"] == {"outcome": None, "run": None, "because": None, "taken_out": None}
        listed = (await lab.client.get("/samples")).json()
        assert [(row["sample"], row["barcode"], row["runs"]) for row in listed] == [("cell-a", CODE, 0)]


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("cell-b", {"barcode": "7"}, 409, "barcode '7' of cell-b is on cell-a already"),
        ("cell-b", {"active_mass": "12.3"}, 422, "is no mass; write such as '12.3 mg'"),
        ("cell-b", {"active_mass": 12.3}, 422, "active_mass"),
        ("cell-b", {"active_mas": "12.3 mg"}, 422, "active_mas"),
        ("Cell B", {}, 409, "write one to 64 of a-z"),
    ],
)
async def test_what_cannot_be_said_is_refused(
    served: Served, path: str, body: dict[str, Any], status: int, said: str
) -> None:
    async with served() as lab:
        await lab.client.post("/samples/cell-a", json={"barcode": "7", "by": "mk"})
        answer = await lab.client.post(f"/samples/{quote(path)}", json={**body, "by": "mk"})
        assert answer.status_code == status
        assert said in answer.json()["error"]["message"]


async def test_an_unknown_sample_is_told_with_its_like(served: Served) -> None:
    async with served() as lab:
        assert "there is none yet" in (await lab.client.get("/samples/cell-a")).json()["error"]["message"]
        await lab.client.post("/samples/cell-a", json={"by": "mk"})
        answer = await lab.client.get("/samples/cell-z")
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "unknown_sample"
        assert "did you mean `cell-a`?" in answer.json()["error"]["message"]


async def test_a_sample_keeps_its_identity_over_runs_that_are_started_with_its_barcode(served: Served) -> None:
    async with served() as lab:
        await lab.client.post("/samples/cell-a", json={"barcode": CODE, "by": "mk"})
        for choice in ("keep it", "scrap it"):
            run = (await lab.start(sample=CODE, position="press/nest"))["run"]
            await lab.wait(run)
            await lab.client.post(f"/runs/{run}/answer", json={"choice": choice, "by": "jd"})
            await lab.wait(run)
        found = (await lab.client.get("/samples/cell-a")).json()
        assert [(run["run"], run["outcome"]) for run in found["runs"]] == [
            ("run-0001", "complete"),
            ("run-0002", "scrapped"),
        ]
        assert [force["peak"] for force in found["forces"]] == [{"v": 7.8, "u": "kN"}] * 2
        assert [(one["text"], one["choice"], one["by"]) for one in found["questions"]] == [
            ("Is the cell sound?", "keep it", "jd"),
            ("Is the cell sound?", "scrap it", "jd"),
        ]
        assert found["fate"]["outcome"] == "scrapped"
        assert found["place"] == "press/nest"
        assert [step["kind"] for step in found["steps"]] == ["crimp", "crimp"]


async def test_a_run_for_a_code_that_nobody_registered_is_refused(served: Served) -> None:
    async with served() as lab:
        answer = await lab.client.post("/runs", json={"protocol": PRESSING, "by": "mk", "sample": CODE})
        assert answer.status_code == 409
        assert "or a barcode that is known" in answer.json()["error"]["message"]
