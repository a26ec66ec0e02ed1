"""The conductivity law gives back what it is made of, and compositions convert there and back."""

from __future__ import annotations

import pytest

from labd.campaign.laws import Law, law
from labd.campaign.laws import carbonates as carbonate
from labd.campaign.laws.conductivity import EC_DMC, EC_EMC, EMC_FEC, conductivity, landesfeind
from labd.campaign.problem import CampaignError


@pytest.mark.parametrize(
    ("fit", "solvents", "slack"),
    [
        (EC_DMC, {"EC": 1, "DMC": 1}, 1e-9),
        (EC_EMC, {"EC": 3, "EMC": 7}, 1e-9),
        (EMC_FEC, {"EMC": 19, "FEC": 1}, 1e-9),
    ],
)
@pytest.mark.parametrize("celsius", [-10, 25, 50])
def test_the_law_is_the_published_fit_in_its_own_solvents(
    fit: tuple[float, ...], solvents: dict[str, float], slack: float, celsius: float
) -> None:
    by_mass = carbonate.mass_shares(solvents)
    found = conductivity(by_mass, 1.0, celsius + 273.15)
    assert found == pytest.approx(landesfeind(fit, 1.0, celsius + 273.15), rel=slack)  # type: ignore[arg-type]


def test_pc_has_its_maximum_where_it_was_measured() -> None:
    curve = {c / 10: conductivity({"PC": 1.0}, c / 10) for c in range(2, 30)}
    assert max(curve, key=lambda c: curve[c]) == pytest.approx(0.8)
    assert max(curve.values()) == pytest.approx(6.2, rel=1e-6)


@pytest.mark.parametrize("solvents", [{"EC": 1, "DMC": 2, "PC": 1}, {"DEC": 1}, {"EC": 1}])
@pytest.mark.parametrize("c", [0.01, 0.1, 1.0, 4.0])
def test_conductivity_is_above_zero_everywhere(solvents: dict[str, float], c: float) -> None:
    assert 0 < conductivity(carbonate.mass_shares(solvents), c, 273.15) < 20


def test_shares_by_volume_and_moles_become_shares_by_mass() -> None:
    assert carbonate.mass_shares({"EC": 1, "DMC": 1}, "volume")["EC"] == pytest.approx(1.321 / (1.321 + 1.063))
    by_mass = carbonate.mass_shares({"EC": 2, "EMC": 3}, "mole")
    assert carbonate.mole_shares(by_mass) == pytest.approx({"EC": 0.4, "EMC": 0.6})


@pytest.mark.parametrize("c", [0.1, 1.0, 3.0])
def test_concentration_and_molality_convert_there_and_back(c: float) -> None:
    by_mass = carbonate.mass_shares({"EC": 3, "EMC": 7})
    assert carbonate.concentration(carbonate.molality(c, by_mass), by_mass) == pytest.approx(c)


def test_lp57_weighs_what_its_maker_says() -> None:
    by_mass = carbonate.mass_shares({"EC": 3, "EMC": 7})
    litre = 1000 * 1.0 / carbonate.molality(1.0, by_mass) + carbonate.LIPF6
    assert litre == pytest.approx(1190, rel=0.01)


def test_a_law_reads_a_campaigns_point_and_says_its_doubts() -> None:
    found = law("conductivity", solvents={"vinyl_free": "EC"}, salt="c", per="L", temperature="temp")
    assert isinstance(found, Law)
    point = {"vinyl_free": 0.5, "DMC": 0.5, "c": 1.0, "temp": 25.0, "separator": "glass"}
    assert found(point) == pytest.approx(landesfeind(EC_DMC, 1.0, 298.15))
    assert all(abs(found(point, **{name: std}) - found(point)) > 1e-3 for name, std in found.doubts.items())


def test_a_point_without_salt_and_an_unknown_law_are_said() -> None:
    with pytest.raises(CampaignError, match="name the salt's dimension"):
        law("conductivity")({"EC": 1.0})
    with pytest.raises(CampaignError, match="there are conductivity"):
        law("viscosities")
