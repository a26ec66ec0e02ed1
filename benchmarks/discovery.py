"""How many experiments a campaign saves, on measurements of others: `python -m benchmarks.discovery [--data FOLDER]`.

The pool are 413 formulations of LiPF6 in carbonates with their measured conductivities at 293-303 K (CALiSol-23, which
stays outside the repository). A method asks for formulations, is told their values with 3 % noise, and is done when it
has measured one of the best hundredth. Its acceleration is the exact median of drawing by chance over its own median,
with an interval from resampled seeds. `hit` counts experiments up to the one that hit, in the order of the proposals;
`rounds` counts whole rounds of the batch. The law's constants were fixed before the pool was looked at, and settings
were chosen on other salts: the seeds that are reported were used for nothing else. `half` repeats it in a half of the
pool by chance for each seed, since the law's own ranking is the same for every seed; `apart` without the formulations
of the paper that the law's constants come from.
Exit status 3 when the data set is not there.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import sys
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # small matrices: threads only wait for each other

from benchmarks._figures import Figures, MissingData
from benchmarks._pool import Pool, part, random_median, read
from benchmarks._race import METHODS, Method, Run, acceleration, enhancement, halved, race

DATA = Path(os.environ.get("LABD_CALISOL23", "../shared/data/calisol23"))
FIRST = 1000  # of the seeds that are reported; smaller ones are for trying things
SEEDS = 40
BATCH = 8
AGAIN = ("latin", "gp", "physics", "physics_shuffled")
GOALS = {("physics", 1): 10.0, ("physics", BATCH): 6.0}


def run(smoke: bool, figures: Figures, data: Path = DATA, methods: list[str] | None = None, seeds: int = SEEDS) -> None:
    pool = read(data)
    figures.add("pool", len(pool.points), "formulations")
    figures.add("pool.of_the_law", len(pool.own), "formulations")  # from the paper that its constants come from
    figures.add("pool.best", len(pool.top), "formulations")
    figures.add("pool.best.of_the_law", len(pool.top & pool.own), "formulations")
    figures.add("random.median", random_median(len(pool.points), len(pool.top)), "experiments")
    for name in methods or METHODS:
        method = METHODS[name]
        if name == "baybe" and (smoke or importlib.util.find_spec("baybe") is None):
            print("# baybe: left out of a short run" if smoke else "# baybe: not installed, pip install 'labd[bo]'")
            continue
        for batch in (1, BATCH):
            some = range(FIRST, FIRST + (1 if smoke else seeds))
            tell(figures, method, batch, pool, [race(method, pool, batch, seed) for seed in some])
    others = part(pool, [at for at in range(len(pool.points)) if at not in pool.own])
    for name in [] if smoke else [one for one in AGAIN if one in (methods or METHODS)]:
        for batch in (1, BATCH):
            each = [(halved(pool, seed), seed) for seed in range(FIRST, FIRST + seeds)]
            again(figures, "half", METHODS[name], batch, each)
            again(figures, "apart", METHODS[name], batch, [(others, seed) for _, seed in each])


def tell(figures: Figures, method: Method, batch: int, pool: Pool, runs: list[Run]) -> None:
    label = f"{method.name}.{'one' if batch == 1 else f'batch{batch}'}"
    goal = GOALS.get((method.name, batch))
    figures.add(f"{label}.experiments", statistics.median(run.hit for run in runs), "experiments")
    for kind, whole in (("hit", False), ("rounds", True)) if batch > 1 else (("hit", False),):
        factor, low, high = acceleration(runs, pool, whole=whole)
        figures.add(f"{label}.acceleration.{kind}", factor, "fold", goal)
        figures.add(f"{label}.acceleration.{kind}.low", low, "fold")
        figures.add(f"{label}.acceleration.{kind}.high", high, "fold")
    figures.add(f"{label}.rounds", statistics.median(run.rounds for run in runs), "rounds")
    figures.add(f"{label}.lab_time", statistics.median(run.hours for run in runs), "h")
    if method.watched:
        figures.add(f"{label}.enhancement", enhancement(runs, pool), "fold")
    hits = [run.hit for run in runs]
    given_up = sum(hit == method.longest for hit in hits)
    print(f"# {label}: {min(hits)} to {max(hits)} experiments, {given_up} given up")


def again(figures: Figures, kind: str, method: Method, batch: int, each: list[tuple[Pool, int]]) -> None:
    """The same with another pool for each seed."""
    runs = [race(method, pool, batch, seed) for pool, seed in each]
    label = f"{kind}.{method.name}.{'one' if batch == 1 else f'batch{batch}'}"
    factor, low, high = acceleration(runs, each[0][0], whole=False)
    figures.add(f"{label}.acceleration.hit", factor, "fold")
    figures.add(f"{label}.acceleration.hit.low", low, "fold")
    figures.add(f"{label}.acceleration.hit.high", high, "fold")


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.discovery", description="Experiments saved, on measured values.")
    parser.add_argument("--data", type=Path, default=DATA, help=f"the folder of calisol23.csv (default: {DATA})")
    parser.add_argument("--smoke", action="store_true", help="short: one seed, without BayBE")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"races of each method (default: {SEEDS})")
    parser.add_argument("methods", nargs="*", metavar="METHOD", help=f"some of: {', '.join(METHODS)}")
    asked = parser.parse_args()
    if asked.seeds < 1:
        parser.error(f"--seeds {asked.seeds}: there must be one race at least")
    if unknown := set(asked.methods) - set(METHODS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(METHODS)}")
    try:
        with Figures("discovery", smoke=asked.smoke) as figures:
            run(asked.smoke, figures, asked.data, asked.methods, asked.seeds)
    except MissingData as error:
        print(error, file=sys.stderr)
        return MissingData.status
    return 0


if __name__ == "__main__":
    sys.exit(main())
