"""Prints the table of mistakes that are told: `python -m tests.protocol.mutants [how many of each kind]`."""

from __future__ import annotations

import sys

from tests.protocol.mutants.judge import LEAST, PER_KIND, judged, table
from tests.protocol.mutants.sound import written


def main() -> int:
    rows = judged(int(sys.argv[1]) if len(sys.argv) > 1 else PER_KIND)
    print(table(rows))  # noqa: T201
    for row in rows:
        for one, mutant, problems in row.missed:
            told = "\n".join(problem.render() for problem in problems) or "nothing is told"
            print(f"\nmissed: {row.kind}, in {one.name}, at {mutant.path} {mutant.names}\n{told}")  # noqa: T201
            if "-v" in sys.argv:
                print(written(mutant.tree))  # noqa: T201
    return 0 if all(row.share >= LEAST for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
