"""What is known of samples: the fold of the journal, barcodes, and what may not be said."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from labd.journal import Event, Journal
from labd.lab.samples import Noted, SampleError, Samples


def said(kind: str, seq: int = 1, run: str | None = None, **data: Any) -> Event:
    return Event(seq, f"2026-01-01T08:00:{seq:02}.000000Z", run, kind, data, "")


def registered(sample: str, seq: int = 1, **more: Any) -> Event:
    usual = {"sample": sample, "barcode": None, "active_mass": None, "about": {}, "by": "mk"}
    return said("sample.registered", seq, **{**usual, **more})


def folded(*events: Event) -> Samples:
    samples = Samples()
    samples.fold(events)
    return samples


def test_a_sample_is_found_by_its_id_and_by_its_barcode() -> None:
    samples = folded(registered("cell-a", barcode="QR:https://lab/7?x=1", active_mass=0.0123))
    assert samples.by_barcode("QR:https://lab/7?x=1") == "cell-a"
    assert samples.called(" QR:https://lab/7?x=1\n") == "cell-a"
    assert samples.called("cell-a") == "cell-a"
    assert samples.called("cell-b") == "cell-b"
    assert samples.active_mass("cell-a") == 0.0123
    assert samples.active_mass("cell-b") is None


def test_a_later_note_corrects_only_what_it_speaks_of() -> None:
    first = registered("cell-a", barcode="7", active_mass=0.0123, about={"batch": "N3", "coating": "left"})
    note = said("sample.noted", 2, sample="cell-a", active_mass=0.0125, about={"coating": None}, note="", by="jd")
    known = folded(first, note).registered("cell-a")
    assert known is not None
    assert (known.barcode, known.active_mass, known.about, known.by) == ("7", 0.0125, {"batch": "N3"}, "mk")


def test_a_row_of_another_table_takes_nothing_away() -> None:
    samples = folded(registered("cell-a", barcode="7", active_mass=0.0123), registered("cell-a", 2, about={"n": 1}))
    known = samples.registered("cell-a")
    assert known is not None
    assert (known.barcode, known.active_mass, known.about) == ("7", 0.0123, {"n": 1})


def test_a_barcode_that_is_taken_away_is_free_again() -> None:
    note = said("sample.noted", 2, sample="cell-a", barcode=None, note=None, by="jd")
    samples = folded(registered("cell-a", barcode="7"), note)
    assert samples.by_barcode("7") is None
    assert samples.problem("cell-b", "7") is None


def test_masses_and_specific_capacities_are_read_with_their_units() -> None:
    samples = folded(registered("a", active_mass={"v": 12.3, "u": "mg"}, about={"specific_capacity": "0.16 Ah/g"}))
    assert samples.active_mass("a") == pytest.approx(0.0123)
    assert samples.specific_capacity("a") == pytest.approx(160)


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        ({"specific_capacity": "160 mAh/g"}, 160),
        ({"specific_capacity [mAh/g]": 160}, 160),
        ({"Specific capacity / Ah/g": "0.16"}, 160),
        ({"specific_capacity": 160}, None),
        ({"specific_capacity": "160"}, None),
        ({"coating": "N3"}, None),
    ],
)
def test_a_specific_capacity_counts_with_its_unit_only(about: dict[str, Any], expected: float | None) -> None:
    found = folded(registered("a", about=about)).specific_capacity("a")
    assert found == (pytest.approx(expected) if expected is not None else None)


def test_what_happened_outside_its_runs_is_kept_by_number() -> None:
    spent = said("stock.spent", 2, sample="a", what="separator", lot="L1")
    inside = said("stock.spent", 3, "run-0001", sample="a", what="anode", lot="L2")
    assert folded(registered("a"), spent, inside).beside("a") == (1, 2)


@pytest.fixture
async def journal(tmp_path: Path) -> Any:
    found = await Journal.open(tmp_path / "journal.sqlite")
    yield found
    await found.close()


async def test_what_is_said_is_durable_and_names_who_said_it(journal: Journal) -> None:
    samples = Samples()
    samples.take_up(journal, ())
    await samples.note("a", Noted({"barcode": " 7 ", "active_mass": 0.0123}), by="mk")
    await samples.note("a", Noted({"active_mass": 0.0125}, "weighed again"), by="jd")
    told = [(event.kind, event.data) for event in await journal.events()]
    assert told == [
        ("sample.registered", {"sample": "a", "barcode": "7", "active_mass": 0.0123, "about": {}, "by": "mk"}),
        ("sample.noted", {"sample": "a", "active_mass": 0.0125, "note": "weighed again", "by": "jd"}),
    ]
    again = Samples()
    again.fold(await journal.events())
    assert again.registered("a") == samples.registered("a")


@pytest.mark.parametrize(
    ("sample", "changes", "said"),
    [
        ("b", {"barcode": "7"}, "barcode '7' of b is on a already"),
        ("b", {"barcode": "a"}, "is the name of another sample"),
        ("b", {"barcode": "cell-0012"}, "is the name of another sample"),
        ("b", {"barcode": "x" * 129}, "1 to 128 printable characters"),
        ("b", {"barcode": "one\ntwo"}, "1 to 128 printable characters"),
        ("b", {"barcode": "  "}, "1 to 128 printable characters"),
        ("b", {"active_mass": 0.0}, "0 g is no mass"),
        ("b", {"active_mass": float("nan")}, "no mass"),
        ("b", {"about": {"specific_capacity": "160 mAh"}}, "write such as '160 mAh/g'"),
        ("Upper Case", {}, "write one to 64 of a-z"),
        ("7", {}, "7 is the barcode of a"),
        ("a", {}, "nothing is said of a"),
    ],
)
async def test_what_cannot_be_is_refused_with_its_mend(
    journal: Journal, sample: str, changes: dict[str, Any], said: str
) -> None:
    samples = Samples()
    samples.take_up(journal, [registered("a", barcode="7")])
    with pytest.raises(SampleError, match=said):
        await samples.note(sample, Noted(changes), by="mk")
    assert await journal.events() == []


async def test_the_name_of_a_sample_that_only_ran_is_no_barcode(journal: Journal) -> None:
    samples = Samples()
    started = said("run.started", 1, "run-0001", sample="x-1", home="ot2/6/A1")
    moved = said("sample.moved", 2, "run-0002", sample="x-3", **{"from": None, "to": "ot2/6/A2"})
    samples.take_up(journal, [started, moved])
    for name in ("x-1", "x-3"):
        with pytest.raises(SampleError, match=f"barcode '{name}' of x-2 is the name of another sample"):
            await samples.note("x-2", Noted({"barcode": name}), by="mk")
    assert samples.every() == ()


async def test_the_id_of_a_sample_wins_over_the_same_barcode_on_another(journal: Journal) -> None:
    """As journals have it that were written when such a barcode was taken."""
    samples = Samples()
    samples.take_up(journal, [registered("x-2", barcode="x-1"), said("run.started", 2, "run-0001", sample="x-1")])
    assert samples.called("x-1") == "x-1"
    assert samples.by_barcode("x-1") == "x-2"
    assert (await samples.note("x-1", Noted({"barcode": "9"}), by="mk")).barcode == "9"


async def test_of_two_who_give_one_barcode_at_once_the_second_is_refused(journal: Journal) -> None:
    samples = Samples()
    samples.take_up(journal, ())
    told = await asyncio.gather(
        *(samples.note(name, Noted({"barcode": "7"}), by="mk") for name in ("a", "b")), return_exceptions=True
    )
    assert str(told[1]) == "barcode '7' of b is on a already; scan the right one, or correct a first"
    assert samples.by_barcode("7") == "a"


async def test_nothing_is_taken_before_the_journal_was_read() -> None:
    with pytest.raises(SampleError, match="the daemon is starting"):
        await Samples().note("a", Noted({}), by="mk")
