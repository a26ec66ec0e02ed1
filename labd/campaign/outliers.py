"""A process that is not led astray by a few values that are wrong: a failed cell that still gave a number.

Such a value makes all others look noisy, and the model too careful everywhere. So the value that is furthest from what
the others say of it is tried as a gross error, and stays one where all values together are likelier so, though only one
value in twenty is wrong. It is not left out: it is believed as little as its distance says.

Only what is worse than the others say is tried: what fails is worse, and a value that is better may be the narrow peak
that is looked for. Where one that is worse was true after all, the next cell near it says so, and both are believed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.linalg import cho_solve

from labd.campaign.gp import Array, Basis, Priors, Process, fit

WRONG = 0.05  # of all values, as many cells as fail in the field
AT_MOST = 8  # one in so many; fewer values than this tell nothing of each other
SUSPECT = 2.5  # standard deviations from what the others say; what is nearer is not tried


def fit_most(
    x: Array, y: Array, basis: Basis, scale: float, told: Array, priors: Priors, gain: Callable[[float], float]
) -> tuple[Process, dict[int, float]]:
    """As `gp.fit`, and which values it takes for gross errors, each with what the others say in its place.

    `gain` says how good a value is. The evidence counts the errors, too.
    """
    found, noise = fit(x, y, basis, scale, told, priors), told
    wrong: list[int] = []
    while len(wrong) < len(y) // AT_MOST:
        residual, std = left_out(found)
        worse = np.array([gain(value) < gain(value - off) for value, off in zip(y, residual, strict=True)])
        worse[wrong] = False
        distance = np.where(worse, np.abs(residual) / std, 0.0)
        at = int(np.argmax(distance))
        if distance[at] < SUSPECT:
            break
        tried = np.where(np.arange(len(y)) == at, max(scale, abs(float(residual[at]))), noise)
        other = fit(x, y, basis, scale, tried, priors, near=found.log)
        if other.evidence - found.evidence < np.log((1 - WRONG) / WRONG):
            break
        found, noise = other, tried
        wrong.append(at)
    chance = len(wrong) * np.log(WRONG) + (len(y) - len(wrong)) * np.log(1 - WRONG)
    expected = y - left_out(found)[0]
    return replace(found, evidence=found.evidence + float(chance)), {at: float(expected[at]) for at in wrong}


def left_out(process: Process) -> tuple[Array, Array]:
    """Each value's distance from what all others say of it, and the standard deviation of that, noise and all.

    Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), equations 5.10 to 5.12.
    """
    inverse = np.diag(cho_solve((process.factor, True), np.eye(len(process.alpha)), check_finite=False))
    return process.alpha / inverse, 1 / np.sqrt(inverse)
