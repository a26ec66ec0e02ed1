"""Of the mistakes that people make in protocols, nearly all are told before anything moves, each at its place."""

from __future__ import annotations

from tests.protocol.mutants.judge import LEAST, judged, table


def test_of_each_kind_of_mistake_nearly_all_are_told() -> None:
    rows = judged()
    print(table(rows))  # noqa: T201 - `pytest -rP` shows it, as does `make mutants`
    poor = [f"{row.kind}: {row.caught} of {row.mutants}" for row in rows if row.share < LEAST]
    assert not poor, f"{table(rows)}\n{poor}"
    assert all(row.mutants >= 10 for row in rows)
