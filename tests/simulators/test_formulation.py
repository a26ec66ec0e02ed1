"""What bottles hold, how it conducts and flows, and how its cells last."""

from __future__ import annotations

import pytest

from simulators.cells.formulation import Composition, conductivity, film, of_materials, of_point, viscosity, wear
from simulators.cells.materials import litre_of


@pytest.mark.parametrize(
    ("name", "solvents", "molarity"),
    [
        ("LP57", {"EC": 0.3, "EMC": 0.7}, 1.0),
        ("1.2 M LiPF6 in EC/DMC (1:1)", {"EC": 0.5, "DMC": 0.5}, 1.2),
        ("1M LiPF6 in EC", {"EC": 1.0}, 1.0),
        ("EC:DEC 3:7", {"EC": 0.3, "DEC": 0.7}, 0.0),
        ("EMC", {"EMC": 1.0}, 0.0),
    ],
)
def test_a_bottle_says_what_it_holds(name: str, solvents: dict[str, float], molarity: float) -> None:
    found = of_materials({name: 12.0})
    assert found.solvents == pytest.approx(solvents)
    assert found.molarity == pytest.approx(molarity)
    assert found.unknown == ()


def test_a_molal_solution_is_thinner_than_a_molar_one() -> None:
    assert of_materials({"1 mol/kg LiPF6 in EMC": 1.0}).molality == pytest.approx(1.0)
    assert of_materials({"1 mol/kg LiPF6 in EMC": 1.0}).molarity < 1.0


def test_additives_and_water_are_shares_of_the_mass() -> None:
    found = of_materials({"LP57 + 2% VC + 180 ppm water": 40.0})
    assert found.additives == pytest.approx({"VC": 0.02}, rel=1e-3)
    assert found.water == pytest.approx(200.0)
    assert of_materials({"10% VC in EMC": 1.0}).additives == pytest.approx({"VC": 0.1})


def test_what_is_poured_together_mixes() -> None:
    found = of_materials({"1M LiPF6 in EC": 15.0, "1M LiPF6 in EMC": 35.0})
    assert found.molarity == pytest.approx(1.0)
    assert found.solvents["EC"] == pytest.approx(15 * 1.32 / (15 * 1.32 + 35 * 1.006), rel=1e-6)


@pytest.mark.parametrize("name", ["E-17b", "1M KPF6 in EC", "LP57 + 2% magic", "EC:DMC 1:1:1", "120% VC in EMC"])
def test_what_nobody_knows_is_taken_for_the_reference_and_told(name: str) -> None:
    found = of_materials({name: 40.0})
    assert found.unknown == (name,)
    assert found.solvents == pytest.approx(of_materials({"LP57": 1.0}).solvents)
    assert not litre_of(name).known


def test_a_point_of_a_campaign_is_the_mixture_that_it_names() -> None:
    found = of_point({"EC": 0.3, "EMC": 0.7, "molality": 0.96156, "VC": 0.0, "salt": "LiPF6"})
    poured = of_materials({"LP57": 1.0})
    assert found.molarity == pytest.approx(poured.molarity, rel=5e-3)
    assert conductivity(found) == pytest.approx(conductivity(poured), rel=5e-3)


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ({"molality": 1.0}, "no mixture of solvents"),
        ({"EC": -0.1, "EMC": 1.1}, "no mixture of solvents"),
        ({"EC": 1.0, "salt": "NaPF6"}, "no salt 'NaPF6'; there are LiPF6"),
        ({"EC": 1.0, "VC": 2.0}, "0.02 is 2 %"),
    ],
)
def test_a_point_that_is_none_says_why(point: dict[str, float | str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        of_point(point)


# Suppliers' data sheets and Landesfeind and Gasteiger (2019), mS/cm at 25 °C.
@pytest.mark.parametrize(("name", "measured"), [("LP30", 11.3), ("LP40", 7.9), ("LP50", 9.4), ("LP57", 8.9)])
def test_stock_solutions_conduct_as_their_sheets_say(name: str, measured: float) -> None:
    assert conductivity(of_materials({name: 1.0})) == pytest.approx(measured, rel=0.06)


def test_conductivity_has_a_maximum_over_the_salt_and_grows_with_warmth() -> None:
    found = [conductivity(of_point({"EC": 0.3, "EMC": 0.7, "molarity": 0.1 * n})) for n in range(1, 25)]
    best = max(range(24), key=found.__getitem__)
    assert 0.9 <= 0.1 * (best + 1) <= 1.3
    liquid = of_materials({"LP57": 1.0})
    assert conductivity(liquid, -10) < conductivity(liquid, 25) / 2 < conductivity(liquid, 50) / 2


def test_conductivity_has_a_maximum_over_the_share_of_ec() -> None:
    found = [conductivity(of_point({"EC": 0.05 * n, "DMC": 1 - 0.05 * n})) for n in range(21)]
    assert 0.25 <= 0.05 * max(range(21), key=found.__getitem__) <= 0.6


def test_without_salt_hardly_anything_conducts() -> None:
    assert conductivity(Composition({"EC": 0.5, "DMC": 0.5}, molarity=0.0)) <= 1e-3


def test_viscosity_grows_with_ec_salt_and_cold() -> None:
    thin, thick = of_point({"EC": 0.2, "DMC": 0.8}), of_point({"EC": 0.8, "DMC": 0.2})
    assert viscosity(thin) < viscosity(thick)
    assert viscosity(of_point({"EC": 0.3, "EMC": 0.7, "molality": 0.5})) < viscosity(of_materials({"LP57": 1.0}))
    assert viscosity(of_materials({"LP57": 1.0})) == pytest.approx(2.8, rel=0.1)
    assert viscosity(thin, 0) > viscosity(thin, 40)


def test_the_toy_of_lasting_has_the_signs_that_the_field_tells() -> None:
    base = {"EC": 0.3, "EMC": 0.7, "molarity": 1.0}
    usual = wear(of_point(base))
    assert usual == pytest.approx(1.0, rel=0.01)
    assert wear(of_point(base | {"VC": 0.02})) < 0.7
    assert wear(of_point(base | {"VC": 0.02})) < wear(of_point(base | {"VC": 0.1}))
    assert wear(of_point(base | {"FEC": 0.05})) < 0.9
    assert wear(of_point(base | {"water": 220.0})) == pytest.approx(2.0, rel=0.02)
    assert wear(of_point({"EMC": 1.0})) > 4
    assert wear(of_point(base), 45) > 2
    assert wear(of_point(base), 0) > 1
    assert film(of_point(base | {"water": 500.0})) > film(of_point(base))
