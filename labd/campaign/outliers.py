"""A process that is not led astray by a few values that are wrong: a failed cell that still gave a number.

Such a value makes all others look noisy, and the model too careful everywhere. So the value that is furthest from what
the others say of it is tried as a gross error, and stays one where all values together are likelier so, though only one
value in twenty is wrong. It is not left out: it is believed as little as its distance says.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve

from labd.campaign.gp import Array, Basis, Priors, Process, fit

WRONG = 0.05  # of all values, as many cells as fail in the field
AT_MOST = 8  # one in so many; fewer values than this tell nothing of each other
SUSPECT = 2.5  # standard deviations from what the others say; what is nearer is not tried


def fit_most(
    x: Array, y: Array, basis: Basis, scale: float, told: Array, priors: Priors
) -> tuple[Process, NDArray[np.bool_]]:
    """As `gp.fit`, and which values it takes for gross errors; its evidence counts these, too."""
    found, wrong, noise = fit(x, y, basis, scale, told, priors), np.zeros(len(y), dtype=bool), told
    while wrong.sum() < len(y) // AT_MOST:
        residual, std = left_out(found)
        distance = np.where(wrong, 0.0, np.abs(residual) / std)
        at = int(np.argmax(distance))
        if distance[at] < SUSPECT:
            break
        tried = np.where(np.arange(len(y)) == at, max(scale, abs(float(residual[at]))), noise)
        other = fit(x, y, basis, scale, tried, priors, near=found.log)
        if other.evidence - found.evidence < np.log((1 - WRONG) / WRONG):
            break
        found, noise, wrong[at] = other, tried, True
    chance = wrong.sum() * np.log(WRONG) + (~wrong).sum() * np.log(1 - WRONG)
    return replace(found, evidence=found.evidence + float(chance)), wrong


def left_out(process: Process) -> tuple[Array, Array]:
    """Each value's distance from what all others say of it, and the standard deviation of that, noise and all.

    Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), equations 5.10 to 5.12.
    """
    inverse = np.diag(cho_solve((process.factor, True), np.eye(len(process.alpha)), check_finite=False))
    return process.alpha / inverse, 1 / np.sqrt(inverse)
