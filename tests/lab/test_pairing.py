"""Electrodes read from tables, and paired as no other way could do better."""

from __future__ import annotations

import builtins
import json
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from labd.cli.app import app
from labd.files import InputErrors
from labd.files.tables import read_table
from labd.lab.pairing import Electrode, Pairing, PairingError, pair, read_electrodes, rows_of
from labd.lab.samples import Samples
from labd.protocol import load, standard_facts
from labd.run.queue.rows import Asked, Known, check_rows
from labd.run.queue.submitting import Checked, of_samples

WEIGHED = "id,mass [mg],collector_mass [mg],active_fraction,specific_capacity [mAh/g]\n"


def electrodes(*capacities: float, name: str = "e") -> list[Electrode]:
    return [Electrode(f"{name}{number}", capacity) for number, capacity in enumerate(capacities, 1)]


def ids(found: Pairing) -> list[tuple[str, str]]:
    return [(one.anode.id, one.cathode.id) for one in found.pairs]


# ── pairing ──────────────────────────────────────────────────────────────────────────────────────────────────────
def brute(anodes: list[float], cathodes: list[float], target: float, tolerance: float) -> tuple[int, float]:
    """The most pairs, and the least sum of deviations of so many, by trying all."""
    rows, columns = len(anodes), len(cathodes)
    apart = [[abs(anode / cathode - target) for cathode in cathodes] for anode in anodes]
    for count in range(min(rows, columns), 0, -1):
        sums = [
            sum(apart[row][column] for row, column in zip(some, others, strict=True))
            for some in combinations(range(rows), count)
            for others in permutations(range(columns), count)
            if all(apart[row][column] <= tolerance + 1e-9 for row, column in zip(some, others, strict=True))
        ]
        if sums:
            return count, min(sums)
    return 0, 0.0


CAPACITIES = st.lists(st.integers(min_value=80, max_value=130).map(lambda value: value / 50), min_size=0, max_size=5)


@settings(max_examples=150, deadline=None)
@given(CAPACITIES, CAPACITIES, st.sampled_from([1.0, 1.1, 1.2]), st.sampled_from([0.0, 0.02, 0.05, 0.15, 2.0]))
def test_no_other_way_gives_more_pairs_or_ones_that_fit_better(
    anodes: list[float], cathodes: list[float], target: float, tolerance: float
) -> None:
    found = pair(electrodes(*anodes), electrodes(*cathodes), target, tolerance)
    count, least = brute(anodes, cathodes, target, tolerance)
    assert len(found.pairs) == count
    assert sum(abs(one.ratio - target) for one in found.pairs) == pytest.approx(least, abs=1e-9)
    assert all(abs(one.ratio - target) <= tolerance + 1e-9 for one in found.pairs)
    used = [one.anode.id for one in found.pairs] + [one.id for one, _ in found.anodes]
    assert sorted(used) == sorted(one.id for one in electrodes(*anodes))
    used = [one.cathode.id for one in found.pairs] + [one.id for one, _ in found.cathodes]
    assert sorted(used) == sorted(one.id for one in electrodes(*cathodes))


def test_one_pair_more_goes_before_a_better_fit() -> None:
    """The first anode fits the second cathode exactly, but then the second anode would have none."""
    found = pair(electrodes(2.2, 2.3, name="a"), electrodes(2.1, 2.0, name="c"), 1.1, 0.06)
    assert ids(found) == [("a1", "c2"), ("a2", "c1")]
    found = pair(electrodes(2.2, 2.28, name="a"), electrodes(2.1, 2.0, name="c"), 1.1, 0.053)
    assert ids(found) == [("a1", "c2"), ("a2", "c1")]
    found = pair(electrodes(2.2, 2.10, name="a"), electrodes(1.90, 2.0, name="c"), 1.1, 0.06)
    assert len(found.pairs) == 2


def test_who_is_left_out_is_told_and_why() -> None:
    found = pair(electrodes(2.2, 2.21, 9.0, name="a"), electrodes(2.0, name="c"), 1.1, 0.05)
    assert ids(found) == [("a1", "c1")]
    assert [(one.id, why) for one, why in found.anodes] == [
        ("a2", "all that it fits to are paired with others"),
        ("a3", "its nearest N:P is 4.500, with c1"),
    ]
    none = pair([], electrodes(2.0), 1.1, 0.05)
    assert [why for _, why in none.cathodes] == ["there is nothing to pair it with"]


@pytest.mark.parametrize(
    ("target", "tolerance", "said"), [(0.0, 0.05, "no N:P ratio"), (float("nan"), 0.05, "no N:P"), (1.1, -1, "none")]
)
def test_a_target_that_cannot_be_is_refused(target: float, tolerance: float, said: str) -> None:
    with pytest.raises(PairingError, match=said):
        pair(electrodes(2.0), electrodes(2.0), target, tolerance)


def test_without_scipy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("scipy"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(PairingError, match=r"pip install 'labd\[pair\]'"):
        pair(electrodes(2.0), electrodes(2.0), 1.1, 0.05)


# ── tables ───────────────────────────────────────────────────────────────────────────────────────────────────────
def table(path: Path, text: str, name: str = "table.csv") -> Path:
    file = path / name
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("text", "capacity", "mass"),
    [
        (WEIGHED + "e,22.5,10,0.96,160\n", 1.92, 0.012),
        ("id;mass / mg;collector_mass / mg;active_fraction;specific_capacity\ne;22,5;10;96 %;160\n", 1.92, 0.012),
        ("id\tMass\tcollector mass\tspecific_capacity\ne\t0.0225 g\t10000 µg\t0.16 Ah/g\n", 2.0, 0.0125),
        ("id,mass,coating_fraction,specific_capacity\ne,25,50 %,160\n", 2.0, 0.0125),
        ("id,areal_capacity [mAh/cm²],area [mm2]\ne,2,113\n", 2.26, None),
        ("id,areal_capacity (µAh/cm2),area / cm2\ne,2000,1.13\n", 2.26, None),
        ("id,capacity [Ah],# note\ne,0.002,good\n", 2.0, None),
    ],
)
def test_what_an_electrode_holds(tmp_path: Path, text: str, capacity: float, mass: float | None) -> None:
    (found,) = read_electrodes(table(tmp_path, text))
    assert found.capacity == pytest.approx(capacity)
    assert found.active_mass == (pytest.approx(mass) if mass is not None else None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "T101 the table is empty"),
        ("id,mass\n", "T101 the table has no row"),
        ("mass\n1\n", ":1: T102 the column `id` is missing"),
        ("id,mas\na,1\n", ":1:2: T102 column `mas`: unknown\n      → did you mean `mass`?"),
        ("id,mass,Mass\na,1,2\n", ":1:3: T102 column `mass` stands twice"),
        ("id,mass [mL]\na,1\n", ":1:2: T102 column `mass [mL]`: mL is no unit of `mass`"),
        ("id,lot [mg]\na,1\n", ":1:2: T102 column `lot [mg]`: mg is no unit of `lot`"),
        (WEIGHED + "a,heavy,10,0.9,160\n", ":2:2: T103 row 2, column `mass`: 'heavy' is no mass"),
        (WEIGHED + "a,12 mm,10,0.9,160\n", ":2:2: T103 row 2, column `mass`: '12 mm' is no mass"),
        (WEIGHED + "a,-3,10,0.9,160\n", ":2:2: T103 row 2, column `mass`: -3 cannot be"),
        (WEIGHED + "a,22,10,1.2,160\n", ":2:4: T103 row 2, column `active_fraction`: 1.2 cannot be"),
        (WEIGHED + "a,9,10,0.9,160\n", ":2:2: T103 row 2, column `mass`: 9 mg is not more than the bare collector"),
        (WEIGHED + ",22,10,0.9,160\n", ":2:1: T103 row 2, column `id`: it is empty"),
        (WEIGHED + "a,22,10,,160\na,22,10,,160\n", ":3:1: T104 row 3, column `id`: 'a' stands in row 2 too"),
        (WEIGHED + "a,22,,0.9,160\n", ":2:3: T103 row 2, column `collector_mass`: it is needed for the capacity"),
        (WEIGHED + "a,22,10,0.9,\n", ":2:5: T103 row 2, column `specific_capacity`: it is needed"),
        ("id,areal_capacity\na,2\n", "T103 row 2, column `area`: it is needed"),
        ("id,mass,collector_mass,coating_fraction\na,2,1,0.5\n", "say the same twice"),
        ("id,capacity,barcode\na,2,7\nb,2,7\n", ":3:3: T104 row 3, column `barcode`: '7' stands in row 2 too"),
    ],
)
def test_what_is_wrong_with_a_table_is_told_with_row_and_column(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputErrors) as told:
        read_electrodes(table(tmp_path, text))
    assert said in str(told.value)


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputErrors) as told:
        read_electrodes(table(tmp_path, WEIGHED + "a,x,10,0.9,160\nb,22,10,2,y\n"))
    assert [(problem.line, problem.column) for problem in told.value.problems] == [(2, 2), (3, 4), (3, 5)]


# ── the command ──────────────────────────────────────────────────────────────────────────────────────────────────
ANODES = WEIGHED.strip() + ",position\nA1,18.1,11.8,0.95,350,tray/anodes/A1\nA2,30,11.8,0.95,350,tray/anodes/B1\n"
CATHODES = WEIGHED.strip() + ",position,barcode,lot\nC1,22.1,10,0.98,160,tray/cathodes/A1,QR-7,N3\n"


@pytest.fixture
def tables(tmp_path: Path) -> list[str]:
    return [str(table(tmp_path, ANODES, "anodes.csv")), str(table(tmp_path, CATHODES, "cathodes.csv"))]


def test_the_pairs_are_printed_and_written_as_a_table_to_submit(tmp_path: Path, tables: list[str]) -> None:
    out = tmp_path / "cells.csv"
    ended = CliRunner().invoke(app, ["pair", *tables, "--ratio", "1.1", "--out", str(out), "--prefix", "nmc"])
    assert ended.exit_code == 0, ended.output
    assert "1 pair of N:P 1.1 ± 0.05" in ended.stdout
    assert "anode A2 is left out: its nearest N:P is 3.190, with C1" in ended.stdout
    assert out.read_text(encoding="utf-8") == (
        "sample,barcode,active_mass,anode,cathode,# specific_capacity,# capacity,# n_p_ratio,# anode_id,# cathode_id,"
        "# cathode_lot\n"
        "nmc-1,QR-7,11.858 mg,tray/anodes/A1,tray/cathodes/A1,160 mAh/g,1.89728 mAh,1.1041,A1,C1,N3\n"
    )


STACKING = """\
labd: 1
protocol: stacking
version: 1.0.0
parameters: {anode: {type: position}, cathode: {type: position}}
roles: {arm: arm, stat: potentiostat}
start: stack
states:
  stack:
    summary: Look at both.
    steps:
      - {do: arm.pick, with: {place: =anode}}
      - {do: arm.place, with: {place: =sample.position}}
      - {do: arm.pick, with: {place: =cathode}}
      - {do: arm.place, with: {place: =sample.position}}
      - {do: stat.cycle, with: {c_rate: 0.1, upper: 4.2 V, lower: 2.8 V, cycles: 1}}
    next: done
  done: {end: complete}
"""


def test_the_written_table_is_one_that_a_submit_takes(tmp_path: Path, tables: list[str]) -> None:
    out = tmp_path / "cells.csv"
    CliRunner().invoke(app, ["pair", *tables, "--out", str(out)])
    protocol = load(STACKING, "stacking.yaml")
    asked = Asked(read_table(out).rows, file="cells.csv")
    (entry,) = check_rows(protocol, asked, standard_facts(), Known())
    assert (entry.sample, entry.barcode, entry.active_mass) == ("pair-1", "QR-7", pytest.approx(0.011858))
    assert entry.parameters == {"anode": "tray/anodes/A1", "cathode": "tray/cathodes/A1"}
    assert (entry.about["anode_id"], entry.about["cathode_lot"]) == ("A1", "N3")
    assert of_samples(Checked(protocol, [entry]), Samples(), "cells.csv") == []


def test_for_programs_the_same_as_json(tmp_path: Path, tables: list[str]) -> None:
    out = tmp_path / "cells.json"
    ended = CliRunner().invoke(app, ["pair", *tables, "--json", "--out", str(out)])
    told = json.loads(ended.stdout)
    assert [(one["anode"], one["cathode"]) for one in told["pairs"]] == [("A1", "C1")]
    assert told["pairs"][0]["n_p_ratio"] == pytest.approx(1.1041, abs=1e-4)
    assert told["left_out"]["anodes"][0]["id"] == "A2"
    assert json.loads(out.read_text(encoding="utf-8")) == told["rows"]


def test_no_pair_ends_with_1_and_bad_tables_with_2(tmp_path: Path, tables: list[str]) -> None:
    ended = CliRunner().invoke(app, ["pair", *tables, "--ratio", "9"])
    assert (ended.exit_code, "no pair of N:P 9" in ended.stdout) == (1, True)
    bad = str(table(tmp_path, "id,mas\na,1\n", "bad.csv"))
    ended = CliRunner().invoke(app, ["pair", bad, str(tmp_path / "none.csv")])
    assert ended.exit_code == 2
    assert "did you mean `mass`?" in ended.stderr
    assert "none.csv: T101 it cannot be read" in ended.stderr


def test_a_cell_of_electrodes_that_were_not_weighed_has_no_active_mass() -> None:
    (row,) = rows_of(pair(electrodes(2.2), electrodes(2.0), 1.1, 0.05), "p")
    assert "active_mass" not in row
    assert row["# capacity"] == "2 mAh"


def test_a_table_is_not_paired_with_itself(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text("id,mass\n")
    ended = CliRunner().invoke(app, ["pair", str(table), str(table)])
    assert ended.exit_code == 2
    assert "is given twice" in ended.stderr
