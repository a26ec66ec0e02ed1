"""What an ask of eight points costs with a hundred results, in a space without an end, with and without a law."""

from __future__ import annotations

import os
import random
import statistics
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # small matrices: threads only wait for each other

from benchmarks._figures import Figures
from labd.campaign import points
from labd.campaign.laws import law
from labd.campaign.optimisers import optimiser
from labd.campaign.problem import Mixture, Objective, Observation, Problem, Range, Space

SPACE = Space(
    (
        Mixture("solvents", ("EC", "PC", "DMC", "EMC", "DEC"), (0.0,) * 5, (1.0,) * 5),
        Range("molality", 0.2, 2.5, "mol/kg"),
    )
)
GOAL = (Objective("conductivity", "maximise", "mS/cm"),)


def run(smoke: bool, figures: Figures) -> None:
    truth, dice = law("conductivity"), random.Random(1)
    some = points.candidates(SPACE, 100, dice)
    told = [Observation(point, {"conductivity": truth(point) * (1 + dice.gauss(0, 0.03))}) for point in some]
    for name, prior in (("plain", {}), ("law", {"conductivity": truth})):
        times, worked = [], []
        for seed in range(2 if smoke else 10):
            began, before = time.perf_counter(), time.process_time()
            optimiser("gp").ask(Problem(SPACE, GOAL, prior), told, [], 8, seed)
            times.append(time.perf_counter() - began)
            worked.append(time.process_time() - before)
        # on a machine that does nothing else the two are the same
        figures.add(f"eight_at_100.{name}.processor", statistics.median(worked), "s", goal=0.3, better="lower")
        figures.add(f"eight_at_100.{name}.clock", statistics.median(times), "s")
