"""A run that ends `complete` though something that is done once has failed, and nobody has said that it is sound.

An action counts that is done once and makes the sample, such as a dose and a crimp: it streams no data, as measurements
do, and is no arm's (what an arm has missed, its result and the next step tell). Its failure counts when a state catches
it: what is not caught holds the run. From there the way is clean again where a person answers a
question, where a person goes on after a hold, and where an action of the same name was done after all.
"""

from __future__ import annotations

from collections.abc import Iterator

from labd.files.problems import Problem
from labd.protocol.program import DoOp
from labd.protocol.proofs.case import Case
from labd.protocol.proofs.walk import Failure, Node, Walk

CARRYING = frozenset({"arm"})


def outcome_problems(case: Case) -> Iterator[Problem]:
    """One problem for each failure that is caught and then passed over."""
    if not any(state.catch for state in case.program.states.values()):
        return
    roles = case.protocol.roles

    def makes(op: DoOp) -> bool:
        return op.once and op.action.data is None and roles[op.role].role not in CARRYING

    walk = Walk(case.program, case.ranges, makes).run()
    told: set[tuple[str, str]] = set()
    for node in walk.before if walk.whole else ():
        failed = node.failed
        if failed is None or case.program.states[node.state].end != "complete":
            continue
        if (failed.state, failed.kind) in told:
            continue
        told.add((failed.state, failed.kind))
        way = " → ".join(_way(walk, node, failed))
        message = f"`{node.state}` ends complete though `{failed.name}` has failed: {way}"
        mend = "let the way pass a question to the operator or a hold, do it again, or end it `scrapped`"
        yield case.problem("P316", message, ("states", failed.state, "catch", failed.kind), mend)


def _way(walk: Walk, node: Node, failed: Failure) -> list[str]:
    """`crimp → (rejected) → rest → done`."""
    route = walk.route(node)
    first = next(index for index, one in enumerate(route) if one.failed == failed)
    found = [failed.state, f"({failed.kind})"]
    for index, one in enumerate(route[first:]):
        if one.at == 0 and (index == 0 or one.state != found[-1] or route[first + index - 1].at != 0):
            found.append(one.state)
    return found
