"""An exact Gaussian process: Matérn 5/2 with a length for each column, around a mean that is itself in doubt.

The mean is a sum of given functions with normal weights (a constant; or a law, its slope and its constants): weights
are integrated out, so that a law is calibrated by the same algebra that predicts. Lengths, size and noise have priors
and are those of the greatest posterior. Values are in the objective's unit; `scale` says what a large difference is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

Array = NDArray[np.float64]
_ROOT5 = float(np.sqrt(5.0))
_JITTER = 1e-8


@dataclass(frozen=True, slots=True)
class Basis:
    """The mean's functions at some rows, with their weights' means and standard deviations."""

    values: Array  # rows × functions
    mean: Array
    std: Array


@dataclass(frozen=True, slots=True)
class Priors:
    """Normal distributions of logarithms, as (mean, std): lengths in encoded units, size and noise over the scale."""

    length: tuple[float, float] = (np.log(0.6), 0.7)
    size: tuple[float, float] = (0.0, 0.7)
    noise: tuple[float, float] = (np.log(0.05), 1.0)


@dataclass(slots=True)
class Process:
    """A process that has seen rows `x` with values `y`; make it by `fit`."""

    x: Array
    basis: Basis
    scale: float
    log: Array  # lengths, size, noise
    evidence: float  # log probability of the values and of what was fitted
    told: Array  # known noise's standard deviation by row, 0 where it is to be learnt
    factor: Array = field(repr=False)
    alpha: Array = field(repr=False)

    @property
    def lengths(self) -> Array:
        return np.exp(self.log[:-2])

    @property
    def noise(self) -> float:
        """Standard deviation of a measurement's noise, where it is not told."""
        return float(np.exp(self.log[-1])) * self.scale

    def _kernel(self, one: Array, other: Array, basis_one: Array, basis_other: Array) -> Array:
        size = float(np.exp(2 * self.log[-2])) * self.scale**2
        weighed = basis_one * self.basis.std**2
        return np.asarray(size * matern(one / self.lengths, other / self.lengths) + weighed @ basis_other.T)

    def predict(self, x: Array, values: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the function, without noise, at rows whose basis is `values`."""
        cross = self._kernel(x, self.x, values, self.basis.values)
        mean = values @ self.basis.mean + cross @ self.alpha
        size = float(np.exp(2 * self.log[-2])) * self.scale**2
        prior = size + (values**2) @ self.basis.std**2
        if len(self.x):
            prior = prior - np.sum(solve_triangular(self.factor, cross.T, lower=True, check_finite=False) ** 2, axis=0)
        return mean, np.sqrt(np.maximum(prior, 1e-12 * self.scale**2))

    def sample(self, x: Array, values: Array, normal: Array) -> Array:
        """Functions drawn from what is known, at rows: one a row of `normal`, which has a number for each of them."""
        cross = self._kernel(x, self.x, values, self.basis.values)
        mean = values @ self.basis.mean + cross @ self.alpha
        covariance = self._kernel(x, x, values, values)
        if len(self.x):
            part = solve_triangular(self.factor, cross.T, lower=True, check_finite=False)
            covariance = covariance - part.T @ part
        return np.asarray(mean + normal @ _root(covariance).T)


def matern(one: Array, other: Array) -> Array:
    """Matérn 5/2 between all pairs of rows."""
    square = np.sum(one**2, axis=1)[:, None] + np.sum(other**2, axis=1)[None, :] - 2 * one @ other.T
    r = _ROOT5 * np.sqrt(np.maximum(square, 0.0))
    return np.asarray((1 + r + r**2 / 3) * np.exp(-r))


def _root(covariance: Array) -> Array:
    """A lower triangle whose square it is; rounding is mended by as little as is enough."""
    size = float(np.mean(np.diag(covariance))) or 1.0
    for jitter in (1e-9, 1e-7, 1e-5, 1e-3):
        try:
            return np.asarray(
                cholesky(covariance + jitter * size * np.eye(len(covariance)), lower=True, check_finite=False)
            )
        except np.linalg.LinAlgError:
            continue
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


class _Evidence:
    """The negative log posterior of the logs of lengths, size and noise, with its gradient."""

    def __init__(self, x: Array, y: Array, basis: Basis, scale: float, told: Array, priors: Priors) -> None:
        self.differences = ((x[:, None, :] - x[None, :, :]) ** 2).transpose(2, 0, 1).reshape(x.shape[1], -1)
        self.y = (y - basis.values @ basis.mean) / scale
        weighed = basis.values * (basis.std / scale)
        self.linear = weighed @ weighed.T
        self.told = (told / scale) ** 2
        self.learnt = (told == 0).astype(float)
        each = [priors.length] * x.shape[1] + [priors.size, priors.noise]
        self.centre = np.array([mean for mean, _ in each])
        self.width = np.array([std for _, std in each])

    def covariance(self, log: Array) -> tuple[Array, Array, Array]:
        """Of the values; and the kernel's correlation and slope, which the gradient needs."""
        n = len(self.y)
        r = _ROOT5 * np.sqrt(np.exp(-2 * log[:-2]) @ self.differences).reshape(n, n)
        decay = np.exp(-r)
        correlation = (1 + r + r**2 / 3) * decay
        diagonal = self.told + self.learnt * np.exp(2 * log[-1]) + _JITTER
        return (
            np.exp(2 * log[-2]) * correlation + self.linear + np.diag(diagonal),
            correlation,
            (5 / 3) * (1 + r) * decay,
        )

    def __call__(self, log: Array) -> tuple[float, Array]:
        n = len(self.y)
        pull = (log - self.centre) / self.width
        prior, slope = 0.5 * float(pull @ pull), pull / self.width
        try:
            whole, correlation, fall = self.covariance(log)
            factor = cholesky(whole, lower=True, check_finite=False)
        except np.linalg.LinAlgError:
            return 1e10 + prior, slope
        alpha = cho_solve((factor, True), self.y, check_finite=False)
        loss = 0.5 * float(self.y @ alpha) + float(np.sum(np.log(np.diag(factor)))) + 0.5 * n * float(np.log(2 * np.pi))
        inner = cho_solve((factor, True), np.eye(n), check_finite=False) - np.outer(alpha, alpha)
        size, noise = np.exp(2 * log[-2]), np.exp(2 * log[-1])
        lengths = 0.5 * size * (self.differences @ (inner * fall).ravel()) * np.exp(-2 * log[:-2])
        ends = (size * np.sum(inner * correlation), noise * np.sum(np.diag(inner) * self.learnt))
        return loss + prior, np.concatenate([lengths, ends]) + slope


def fit(
    x: Array,
    y: Array,
    basis: Basis,
    scale: float,
    told: Array | None = None,
    priors: Priors | None = None,
    near: Array | None = None,
) -> Process:
    """The process of the greatest posterior for values `y` at rows `x`; without values it is the prior's.

    Args:
        x: rows, encoded.
        y: their values, in the objective's unit.
        basis: the mean's functions at these rows.
        scale: what a large difference of values is, in their unit.
        told: known noise by row, as standard deviation in the unit; 0 where it is to be learnt.
        priors: of lengths, size and noise.
        near: logs of lengths, size and noise to begin with; default: the priors' own.
    """
    priors = priors or Priors()
    told = np.zeros(len(y)) if told is None else told
    goal = _Evidence(x, y, basis, scale, told, priors)
    log = goal.centre if near is None else near
    if len(y):
        bounds = [(c - 3.5 * w, c + 3.5 * w) for c, w in zip(goal.centre, goal.width, strict=True)]
        start = minimize(goal, log, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 40, "ftol": 1e-5})
        log = start.x
    loss, _ = goal(log)
    whole, _, _ = goal.covariance(log)
    factor = np.asarray(cholesky(whole, lower=True, check_finite=False)) if len(y) else np.zeros((0, 0))
    alpha = cho_solve((factor, True), goal.y, check_finite=False) / scale if len(y) else np.zeros(0)
    evidence = -loss - len(y) * float(np.log(scale))
    return Process(x, basis, scale, log, evidence, told, factor * scale, alpha)
