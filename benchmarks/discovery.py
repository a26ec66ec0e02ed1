"""How many experiments a campaign saves, on measurements of others: `python -m benchmarks.discovery [--data FOLDER]`.

The pool are 413 formulations of LiPF6 in carbonates with their measured conductivities at 293-303 K (CALiSol-23, which
stays outside the repository). A method asks for formulations, is told their values with 3 % noise, and is done when it
has measured one of the best hundredth. Its acceleration is the exact median of drawing by chance over its own median,
with an interval from resampled seeds. `hit` counts experiments up to the one that hit, in the order of the proposals;
`rounds` counts whole rounds of the batch. The law's constants were fixed before the pool was looked at, and settings
were chosen on other salts: the seeds that are reported were used for nothing else. `half` repeats it in a half of the
pool by chance for each seed, since the law's own ranking is the same for every seed.
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
from benchmarks._pool import Pool, random_median, read
from benchmarks._race import METHODS, Method, Run, acceleration, enhancement, halved, race

DATA = Path(os.environ.get("LABD_CALISOL23", "../shared/data/calisol23"))
FIRST = 1000  # of the seeds that are reported; smaller ones are for trying things
SEEDS = 40
BATCH = 8
GOALS = {("physics", 1): 10.0, ("physics", BATCH): 6.0}


def run(smoke: bool, figures: Figures, data: Path = DATA, methods: list[str] | None = None, seeds: int = SEEDS) -> None:
    pool = read(data)
    figures.add("pool", len(pool.points), "formulations")
    figures.add("pool.of_the_law", pool.own, "formulations")  # from the paper that its constants come from
    figures.add("pool.best", len(pool.top), "formulations")
    figures.add("random.median", random_median(len(pool.points), len(pool.top)), "experiments")
    for name in methods or METHODS:
        method = METHODS[name]
        if name == "baybe" and (smoke or importlib.util.find_spec("baybe") is None):
            print("# baybe: left out of a short run" if smoke else "# baybe: not installed, pip install 'labd[bo]'")
            continue
        for batch in (1, BATCH):
            some = range(FIRST, FIRST + (2 if smoke else seeds))
            tell(figures, method, batch, pool, [race(method, pool, batch, seed) for seed in some])
    for name in (
        [] if smoke else [one for one in ("latin", "gp", "physics", "physics_shuffled") if one in (methods or METHODS)]
    ):
        for batch in (1, BATCH):
            halves(figures, METHODS[name], batch, pool, seeds)


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
    worst = sorted(run.hit for run in runs)
    print(
        f"# {label}: {worst[0]} to {worst[-1]} experiments, {sum(run.hit == max(worst) for run in runs)} at the longest"
    )


def halves(figures: Figures, method: Method, batch: int, pool: Pool, seeds: int) -> None:
    """Each seed with a half of the pool of its own."""
    runs = []
    for seed in range(FIRST, FIRST + seeds):
        part = halved(pool, seed)
        runs.append((part, race(method, part, batch, seed)))
    label = f"half.{method.name}.{'one' if batch == 1 else f'batch{batch}'}"
    factor, low, high = acceleration([run for _, run in runs], runs[0][0], whole=False)
    figures.add(f"{label}.acceleration.hit", factor, "fold")
    figures.add(f"{label}.acceleration.hit.low", low, "fold")
    figures.add(f"{label}.acceleration.hit.high", high, "fold")


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.discovery", description="Experiments saved, on measured values.")
    parser.add_argument("--data", type=Path, default=DATA, help=f"the folder of calisol23.csv (default: {DATA})")
    parser.add_argument("--smoke", action="store_true", help="short: two seeds, without BayBE")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"races of each method (default: {SEEDS})")
    parser.add_argument("methods", nargs="*", metavar="METHOD", help=f"some of: {', '.join(METHODS)}")
    asked = parser.parse_args()
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
