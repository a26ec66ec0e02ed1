"""The proof on measured values: what is in the pool, what chance is worth, and what is said without the data."""

from __future__ import annotations

import sys
from itertools import combinations
from pathlib import Path

import pytest

from benchmarks import all as every
from benchmarks import discovery
from benchmarks._pool import Pool, random_median, read
from benchmarks._race import METHODS, Run, acceleration, race
from labd.campaign.laws import carbonates

HEAD = ",doi,k,T,c,salt,c units,solvent ratio type,EC,PC,DMC,EMC,DEC,THF"
ROWS = """
0,a,10.0,298.15,1.0,LiPF6,mol/kg,w,0.5,0,0.5,0,0,0
1,b,12.0,300.15,1.0,LiPF6,mol/kg,w,1,0,1,0,0,0
2,a,8.0,298.15,1.0,LiPF6,mol/l,v,0.3,0,0,0.7,0,0
3,a,7.0,298.15,1.0,LiPF6,mol/l,mol,0.3,0,0,0.7,0,0
4,10.1149/2.0571912jes,9.0,293.15,0.5,LiPF6,mol/l,w,0.5,0,0.5,0,0,0
5,a,9.0,298.15,1.0,LiBF4,mol/kg,w,0.5,0,0.5,0,0,0
6,a,9.0,310.0,1.1,LiPF6,mol/kg,w,0.5,0,0.5,0,0,0
7,a,9.0,298.15,1.2,LiPF6,mol/kg,w,0.5,0,0.3,0,0,0.2
8,10.1007/s10008-002-0300-9,90.0,298.15,1.3,LiPF6,mol/kg,w,0.5,0,0.5,0,0,0
9,a,,298.15,1.4,LiPF6,mol/kg,w,0.5,0,0.5,0,0,0
"""


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    (tmp_path / "calisol23.csv").write_text(HEAD + ROWS, encoding="utf-8")
    return read(tmp_path)


def test_the_pool_has_the_salt_in_carbonates_at_room_temperature_without_the_two_papers(pool: Pool) -> None:
    assert pool.values == (11.0, 8.0, 7.0, 9.0)  # the first two rows are one formulation
    assert pool.points[0]["temperature"] == pytest.approx(26.0)
    assert pool.own == {3}
    assert pool.top == {0}


def test_volumes_moles_and_litres_become_masses_and_kilograms(pool: Pool) -> None:
    by_volume, by_moles = pool.points[1], pool.points[2]
    assert by_volume["EC"] == pytest.approx(0.3 * 1.321 / (0.3 * 1.321 + 0.7 * 1.006))
    assert by_moles["EC"] == pytest.approx(0.3 * 88.06 / (0.3 * 88.06 + 0.7 * 104.10))
    by_mass = {"EC": float(by_volume["EC"]), "EMC": float(by_volume["EMC"])}
    assert carbonates.concentration(float(by_volume["molality"]), by_mass) == pytest.approx(1.0)


def test_every_method_ends_at_the_best_formulation(pool: Pool) -> None:
    for name in ("grid", "latin", "one_factor", "gp", "physics", "physics_shuffled", "law_alone"):
        run = race(METHODS[name], pool, 2, 1)
        assert 1 <= run.hit <= 4
        assert run.made in (2, 4)
        assert run.found == 1


def test_chance_is_counted_exactly() -> None:
    orders = list(combinations(range(9), 2))  # where two of the best lie among nine
    for drawn in range(1, random_median(9, 2)):
        assert sum(min(order) < drawn for order in orders) / len(orders) < 0.5
    assert sum(min(order) < random_median(9, 2) for order in orders) / len(orders) >= 0.5
    assert random_median(413, 4) == 66


def test_acceleration_is_chances_median_over_the_methods(pool: Pool) -> None:
    runs = [Run(hit=1, made=2, rounds=1), Run(hit=2, made=2, rounds=1), Run(hit=2, made=2, rounds=1)]
    chance = random_median(4, 1)
    assert acceleration(runs, pool, whole=True) == (chance / 2, chance / 2, chance / 2)
    factor, low, high = acceleration(runs, pool, whole=False)
    assert low <= factor <= high == chance


def test_without_the_data_its_doi_is_told_and_the_status_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["discovery", "--data", str(tmp_path)])
    assert discovery.main() == 3
    assert "10.1038/s41597-024-03575-8" in capsys.readouterr().err


def test_all_benchmarks_leave_out_what_has_no_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(discovery.run, "__defaults__", (tmp_path, None, 1))
    monkeypatch.setattr(every, "structlog", _Quiet())
    monkeypatch.setattr(sys, "argv", ["benchmarks", "discovery"])
    assert every.main() == 3
    assert "left out: discovery" in capsys.readouterr().err


class _Quiet:
    def __getattr__(self, _: str) -> object:
        return lambda *_, **__: None
