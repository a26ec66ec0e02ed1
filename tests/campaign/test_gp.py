"""The Gaussian process: its algebra, its gradient, and what it learns of a law."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.stats import multivariate_normal

from labd.campaign.encoding import Encoder
from labd.campaign.gp import Basis, Priors, _Evidence, fit, matern
from labd.campaign.outliers import fit_most, left_out
from labd.campaign.problem import Choice, Mixture, Range, Space

DICE = np.random.default_rng(1)
X = DICE.random((12, 3))
Y = np.sin(4 * X[:, 0]) + X[:, 1] + 0.05 * DICE.standard_normal(12)


def constant(n: int, std: float = 1.0) -> Basis:
    return Basis(np.ones((n, 1)), np.zeros(1), np.array([std]))


def test_the_evidence_has_its_gradient() -> None:
    goal = _Evidence(X, Y, constant(12), 0.7, np.where(np.arange(12) < 6, 0.1, 0.0), Priors())
    log = goal.centre + 0.3 * DICE.standard_normal(5)
    assert goal(log)[1] == pytest.approx(approx_fprime(log, lambda one: goal(one)[0], 1e-6), rel=1e-3, abs=1e-3)


def test_the_evidence_is_the_probability_of_the_values() -> None:
    found = fit(X, Y, constant(12), 0.7)
    covariance = (0.7 * np.exp(found.log[-2])) ** 2 * matern(X / found.lengths, X / found.lengths) + 1.0
    covariance += np.eye(12) * (found.noise**2 + 1e-8 * 0.7**2)
    priors = Priors()
    pulls = [(one - priors.length[0]) / priors.length[1] for one in found.log[:-2]]
    pulls += [(found.log[-2] - priors.size[0]) / priors.size[1], (found.log[-1] - priors.noise[0]) / priors.noise[1]]
    expected = multivariate_normal(np.zeros(12), covariance).logpdf(Y) - 0.5 * sum(pull**2 for pull in pulls)
    assert found.evidence == pytest.approx(expected, rel=1e-6)


def test_predictions_meet_the_values_and_are_unsure_elsewhere() -> None:
    found = fit(X, Y, constant(12), 0.7, np.full(12, 1e-3))
    mean, std = found.predict(X, np.ones((12, 1)))
    assert mean == pytest.approx(Y, abs=0.02)
    away = found.predict(np.full((1, 3), 4.0), np.ones((1, 1)))[1]
    assert away[0] > 10 * std.max()


def test_samples_have_the_predicted_mean_and_spread() -> None:
    found = fit(X, Y, constant(12), 0.7)
    rows = DICE.random((4, 3))
    drawn = found.sample(rows, np.ones((4, 1)), np.random.default_rng(0).standard_normal((4000, 4)))
    mean, std = found.predict(rows, np.ones((4, 1)))
    assert drawn.mean(axis=0) == pytest.approx(mean, abs=4 * std.max() / 60)
    assert drawn.std(axis=0) == pytest.approx(std, rel=0.1)


def test_noise_is_learnt() -> None:
    x = np.linspace(0, 1, 60)[:, None]
    found = fit(x, 2 * x[:, 0] + 0.1 * np.random.default_rng(3).standard_normal(60), constant(60, 2.0), 1.0)
    assert found.noise == pytest.approx(0.1, rel=0.3)


def test_a_laws_factor_and_offset_are_learnt_from_few_values() -> None:
    law = np.sin(6 * X[:, 0])
    basis = Basis(np.stack([np.ones(12), law], axis=1), np.array([0.0, 1.0]), np.array([0.3, 0.3]))
    found = fit(X[:6], 0.2 + 1.3 * law[:6], Basis(basis.values[:6], basis.mean, basis.std), 1.0)
    mean, _ = found.predict(X[6:], basis.values[6:])
    assert mean == pytest.approx(0.2 + 1.3 * law[6:], abs=0.1)


def test_without_values_it_is_the_prior() -> None:
    found = fit(np.zeros((0, 3)), np.zeros(0), constant(0, 2.0), 1.0)
    mean, std = found.predict(X, np.ones((12, 1)))
    assert mean == pytest.approx(np.zeros(12))
    assert std == pytest.approx(np.full(12, np.sqrt(1 + 4)))


def test_levels_are_as_far_apart_as_their_descriptors_say() -> None:
    salts = {"LiPF6": (2.54,), "LiBF4": (2.29,), "LiFSI": (2.64,)}
    space = Space((Choice("salt", tuple(salts), salts), Choice("foil", ("a", "b")), Range("x", 5, 5)))
    rows = Encoder(space)([{"salt": salt, "foil": "a", "x": 5.0} for salt in salts])
    assert rows[:, 0] == pytest.approx([0.25 / 0.35, 0.0, 1.0])
    assert rows.shape == (3, 3)


def test_different_levels_without_descriptors_are_one_apart() -> None:
    rows = Encoder(Space((Choice("foil", ("a", "b", "c")),)))([{"foil": "a"}, {"foil": "b"}])
    assert np.linalg.norm(rows[0] - rows[1]) == pytest.approx(1.0)


def test_shares_are_told_in_parts_of_their_total() -> None:
    mixture = Mixture("m", ("a", "b", "c"), (0, 0, 20), (100, 100, 20), total=100)
    assert Encoder(Space((mixture,)))([{"a": 30.0, "b": 50.0, "c": 20.0}]).tolist() == [[0.3, 0.5]]


class TestOneWrongValue:
    """A failed cell that still gave a number."""

    ROWS = np.random.default_rng(5).random((20, 3))
    TRUE = np.sin(4 * ROWS[:, 0]) + ROWS[:, 1]
    SEEN = TRUE + 0.03 * np.random.default_rng(6).standard_normal(20)

    def test_what_the_others_say_is_what_they_say_without_it(self) -> None:
        found = fit(self.ROWS, self.SEEN, constant(20), 0.7)
        residual, std = left_out(found)
        kernel = (0.7 * np.exp(found.log[-2])) ** 2 * matern(self.ROWS / found.lengths, self.ROWS / found.lengths) + 1.0
        noisy = kernel + np.eye(20) * (found.noise**2 + 1e-8 * 0.7**2)
        rest = np.delete(np.arange(20), 7)
        weights = np.linalg.solve(noisy[np.ix_(rest, rest)], kernel[rest, 7])
        assert residual[7] == pytest.approx(self.SEEN[7] - weights @ self.SEEN[rest])
        assert std[7] ** 2 == pytest.approx(noisy[7, 7] - weights @ kernel[rest, 7])

    def test_it_is_found_and_the_rest_is_learnt_as_if_it_were_not_there(self) -> None:
        spoilt = np.where(np.arange(20) == 7, self.SEEN - 1.5, self.SEEN)
        found, wrong = fit_most(self.ROWS, spoilt, constant(20), 0.7, np.zeros(20), Priors(), float)
        assert list(wrong) == [7]
        assert wrong[7] == pytest.approx(self.TRUE[7], abs=0.1)
        away = np.random.default_rng(7).random((50, 3))
        true = np.sin(4 * away[:, 0]) + away[:, 1]
        careful = fit(self.ROWS, spoilt, constant(20), 0.7)
        off = [np.sqrt(np.mean((one.predict(away, np.ones((50, 1)))[0] - true) ** 2)) for one in (found, careful)]
        assert off[0] < off[1] / 3

    def test_where_none_is_none_is_found(self) -> None:
        found, wrong = fit_most(self.ROWS, self.SEEN, constant(20), 0.7, np.zeros(20), Priors(), float)
        assert not wrong
        assert found.log == pytest.approx(fit(self.ROWS, self.SEEN, constant(20), 0.7).log)

    def test_few_values_accuse_nobody(self) -> None:
        spoilt = np.where(np.arange(7) == 3, self.SEEN[:7] - 1.5, self.SEEN[:7])
        assert not fit_most(self.ROWS[:7], spoilt, constant(7), 0.7, np.zeros(7), Priors(), float)[1]

    @pytest.mark.parametrize("seed", range(10))
    def test_a_narrow_peak_is_none(self, seed: int) -> None:
        rows = np.random.default_rng(seed).random((20, 2))
        seen = np.exp(-0.5 * np.sum((rows - 0.4) ** 2, axis=1) / 0.1**2)
        seen += 0.02 * np.random.default_rng(seed + 100).standard_normal(20)
        _, wrong = fit_most(rows, seen, constant(20), float(np.std(seen)), np.zeros(20), Priors(), float)
        assert int(np.argmax(seen)) not in wrong

    def test_what_is_worse_is_what_the_objective_says(self) -> None:
        spoilt = np.where(np.arange(20) == 7, self.SEEN - 1.5, self.SEEN)
        _, wrong = fit_most(self.ROWS, spoilt, constant(20), 0.7, np.zeros(20), Priors(), lambda value: -value)
        assert not wrong
