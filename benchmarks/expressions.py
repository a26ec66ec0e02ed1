"""What an expression costs: one evaluation, beside two references; compiling the worst texts; reading over ranges.

The references run the same condition in the same process, parsed beforehand: a plain walk over the tree of Python's own
parser, and simpleeval where it is installed.
"""

from __future__ import annotations

import ast
import operator
import time
import timeit
import tracemalloc
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from benchmarks._figures import Figures
from labd.expr import ExpressionError, Interval, compile_expression, decide, possible
from labd.sdk import units
from tests.expr.evil import EVIL
from tests.expr.names import TYPES, VALUES

TEXT = "peak < 0.95 * force and visits < 3"
OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {ast.Mult: operator.mul, ast.Lt: operator.lt}
MIB = 2**20


def walk(node: ast.expr, values: Mapping[str, Any]) -> Any:
    """The reference: every node is looked at again at each evaluation."""
    if isinstance(node, ast.BoolOp):
        return all(walk(part, values) for part in node.values)
    if isinstance(node, ast.Compare):
        return OPERATORS[type(node.ops[0])](walk(node.left, values), walk(node.comparators[0], values))
    if isinstance(node, ast.BinOp):
        return OPERATORS[type(node.op)](walk(node.left, values), walk(node.right, values))
    if isinstance(node, ast.Name):
        return values[node.id]
    assert isinstance(node, ast.Constant)
    return node.value


def simpleeval() -> ModuleType | None:
    try:
        import simpleeval as found  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return None
    return found  # type: ignore[no-any-return, unused-ignore]


def nanoseconds(call: Callable[[], object], rounds: int) -> float:
    """Of the fastest of five series: the others waited for something else."""
    return min(timeit.repeat(call, number=rounds, repeat=5)) / rounds * 1e9


def evaluation(rounds: int, figures: Figures) -> None:
    expression = compile_expression(TEXT, TYPES)
    tree = ast.parse(TEXT, mode="eval").body
    assert expression(VALUES) is walk(tree, VALUES)
    own = nanoseconds(lambda: expression(VALUES), rounds)
    reference = nanoseconds(lambda: walk(tree, VALUES), rounds)
    figures.add("evaluation", own, "ns", goal=10_000, better="lower")
    figures.add("evaluation_of_a_tree_walk", reference, "ns")
    figures.add("evaluation_over_tree_walk", own / reference, "ratio", goal=1.0, better="lower")
    if (found := simpleeval()) is not None:
        evaluator = found.SimpleEval(names=VALUES)
        parsed = evaluator.parse(TEXT)
        other = nanoseconds(lambda: evaluator.eval(TEXT, previously_parsed=parsed), rounds)
        figures.add("evaluation_of_simpleeval", other, "ns")
        figures.add("evaluation_over_simpleeval", own / other, "ratio", goal=1.0, better="lower")


def cost(text: str) -> tuple[float, float]:
    """CPU time in ms and memory in MiB at the most, refused or not, with no unit known yet."""
    units.unit.cache_clear()
    start = time.process_time()
    attempt(text)
    took = time.process_time() - start
    tracemalloc.start()
    attempt(text)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return took * 1e3, peak / MIB


def attempt(text: str) -> None:
    try:
        compile_expression(text, TYPES)(VALUES)
    except ExpressionError:
        return


def compiling(rounds: int, figures: Figures) -> None:
    start = time.process_time()
    compile_expression(TEXT, TYPES)
    figures.add("first_compile", (time.process_time() - start) * 1e3, "ms")
    figures.add("compile", nanoseconds(lambda: compile_expression(TEXT, TYPES), rounds) / 1e3, "µs")
    costs = {name: cost(text) for name, text in EVIL.items()}
    slowest = max(costs, key=lambda name: costs[name][0])
    print(f"# the slowest of {len(costs)} evil texts: {slowest}")
    figures.add("slowest_evil_text", costs[slowest][0], "ms", goal=100.0, better="lower")
    figures.add("greatest_evil_text", max(peak for _, peak in costs.values()), "MiB", goal=10.0, better="lower")


def ranges(rounds: int, figures: Figures) -> None:
    env = {"peak": Interval(1, 20), "force": Interval(5, 10), "visits": Interval(1, 500)}
    condition = compile_expression(TEXT, TYPES)
    rare = compile_expression("force * force + peak * peak == 41.3 kN * 1 kN", TYPES)
    figures.add("decide", nanoseconds(lambda: decide(condition, env), rounds) / 1e3, "µs")
    figures.add("possible", nanoseconds(lambda: possible(condition, True, env), rounds) / 1e3, "µs")
    start = time.process_time()
    possible(rare, True, env)
    figures.add("search_in_vain", (time.process_time() - start) * 1e3, "ms", goal=500.0, better="lower")


def run(smoke: bool, figures: Figures) -> None:
    rounds = 200 if smoke else 20_000
    compiling(max(10, rounds // 100), figures)
    evaluation(rounds, figures)
    ranges(max(10, rounds // 20), figures)
