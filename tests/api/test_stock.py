"""The inventory over REST and by the command line, which runs as a process of its own in real time."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Bench, Served
from tests.api.test_commands import labd

DECK = [
    {
        "place": "ot2/2",
        "labware": "vials_8x20ml",
        "contents": {"A1": {"material": "LP57", "lot": "L-1", "volume": "12 mL", "dead": "1 mL"}},
    },
    {"place": "ot2/1", "labware": "opentrons_96_tiprack_20ul"},
    {"place": "tray/lids", "labware": "lid_tray_8", "fill": "lid"},
]


@pytest.fixture
def anyio_backend(real_time: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return real_time


async def post(bench: Bench, verb: str, **body: Any) -> tuple[int, Any]:
    answer = await bench.client.post(f"/inventory/{verb}", json={"by": "eva", **body})
    return answer.status_code, answer.json()


async def test_what_is_loaded_counted_and_taken_out_is_seen_with_its_author(served: Served) -> None:
    async with served(deck=DECK) as bench:
        more = {"material": "LP57", "lot": "L-2", "volume": "3 mL", "add": True, "expires": "2099-01-01"}
        code, loaded = await post(bench, "load", place="ot2/2/A1", **more)
        assert code == 200
        (row,) = loaded["rows"]
        assert (row["lot"], row["amount"], row["usable"]) == ("L-1 + L-2", 15_000.0, 14_000.0)
        assert row["expires"] == "2099-01-01"
        code, counted = await post(bench, "count", place="ot2/2/A1", value="10mL")
        assert (code, counted["rows"][0]["amount"]) == (200, 10_000.0)
        assert (await post(bench, "count", place="tray/lids", value=5))[1]["rows"][0]["amount"] == 5
        assert (await post(bench, "load", place="ot2/1"))[0] == 200
        code, empty = await post(bench, "unload", place="ot2/2/A1")
        assert empty["rows"][0]["remarks"] == ["empty"]
        history = (await bench.client.get("/inventory/history", params={"lot": "L-2"})).json()
        assert [(one["kind"], one["by"]) for one in history] == [
            ("loaded", "eva"),
            ("counted", "eva"),
            ("unloaded", "eva"),
        ]
        assert [round(one["amount"]) for one in history] == [3000, 2000, 2000]
        assert [(one["before"], one["difference"]) for one in history] == [(None, None), (15_000, -5_000), (None, None)]


@pytest.mark.parametrize(
    ("verb", "body", "code", "told"),
    [
        ("load", {"place": "ot9/2/A1", "material": "LP57", "volume": "1mL"}, 404, "nothing stands at 'ot9/2/A1'"),
        ("load", {"place": "ot2/2/Z1", "material": "LP57", "volume": "1mL"}, 404, "has no well 'Z1'"),
        ("load", {"place": "ot2/2/A1", "material": "LP57"}, 422, "how much LP57 is in ot2/2/A1? Say --volume"),
        ("load", {"place": "ot2/2/A1", "material": "LP57", "volume": "12"}, 422, "write a volume like 12mL"),
        ("load", {"place": "ot2/2/A1", "volume": "1mL"}, 422, "what is in ot2/2/A1? Say --material"),
        ("load", {"place": "ot2/2/A1", "material": "LP57", "volume": "21mL"}, 422, "say at most 20 mL"),
        ("load", {"place": "tray/lids"}, 422, "tray/lids (lid_tray_8) is no tip rack"),
        ("count", {"place": "ot2/2/A1", "value": "500"}, 422, "ot2/2/A1: 500 needs a unit"),
        ("count", {"place": "tray/lids", "value": "many"}, 422, "is no number of pieces"),
        ("unload", {"place": "ot2/2/B2"}, 422, "nothing is at ot2/2/B2 as far as labd knows"),
    ],
)
async def test_what_cannot_be_is_refused_with_place_and_mend(
    served: Served, verb: str, body: dict[str, Any], code: int, told: str
) -> None:
    async with served(deck=DECK) as bench:
        status, answer = await post(bench, verb, **body)
        assert (status, told in answer["error"]["message"]) == (code, True), answer


async def test_the_command_line_shows_and_changes_it(served: Served) -> None:
    async with served(deck=DECK) as bench:
        shown = (await labd(bench, "inventory")).out
        assert "LP57" in shown
        assert "11 mL" in shown
        loaded = await labd(bench, "load", "ot2/2/B1", "--material", "EC", "--lot", "S-1", "--volume", "2mL")
        assert (loaded.status, "S-1" in loaded.out) == (0, True)
        counted = await labd(bench, "count", "ot2/2/B1", "1500uL", "--json")
        assert counted.json["rows"][0]["amount"] == 1500.0
        history = (await labd(bench, "inventory", "--history", "S-1")).out
        assert "counted" in history
        assert "(-500 µL, 2 mL before)" in " ".join(history.split())
        assert "no sample has any of it" in history
        refused = await labd(bench, "load", "ot2/2/Q1", "--material", "EC", "--volume", "2mL")
        assert (refused.status, "has no well 'Q1'" in refused.err) == (2, True)
        assert (await labd(bench, "unload", "ot2/2/B1")).status == 0
        (row,) = (await labd(bench, "inventory", "--lot", "L-1", "--json")).json["rows"]
        assert row["place"] == "ot2/2/A1"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["tray/lids", "--count", "3"], "labd load tray/lids --fill PART"),
        (["tray/lids", "--fill", "spacer", "--dead", "1mL"], "--dead: only for a liquid"),
        (["ot2/2/B1", "--material", "EC", "--volume", "2mL", "--expires", "tomorrow"], "write one like 2027-01-31"),
    ],
)
async def test_what_does_not_belong_together_is_refused_with_its_mend(
    served: Served, words: list[str], told: str
) -> None:
    async with served(deck=DECK) as bench:
        refused = await labd(bench, "load", *words)
        assert (refused.status, told in " ".join(refused.err.split())) == (2, True), refused.err
