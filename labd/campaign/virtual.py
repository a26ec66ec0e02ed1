"""Virtual experiments: a function of another package, named by its dotted path, answers for cells that nobody makes.

It is called in processes of their own, here or on a cluster whose dask scheduler's address is given. What it gives is
told to the optimiser as observations of its own fidelity: they teach where to look, and never count as results.
"""

from __future__ import annotations

import importlib
import math
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from labd.campaign.problem import CampaignError, Observation, Point

Arguments = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Virtual:
    """One fidelity of virtual cells.

    Args:
        name: the fidelity's name, `light` or `pybamm`; never `lab`.
        function: `package.module:function`; called by keywords, it gives a mapping of figures to numbers.
        arguments: turns a point into the function's keywords; without it they are the point's own names.
        figures: the figure of each objective, where their names differ.
        processes: how many at once; ignored with a cluster.
        cluster: address of a dask scheduler, `tcp://10.0.0.2:8786`.
    """

    name: str
    function: str
    arguments: Callable[[Point], Arguments] | None = None
    figures: Mapping[str, str] = field(default_factory=dict)
    processes: int = 2
    cluster: str = ""

    def observe(self, points: Sequence[Point], objectives: Sequence[str]) -> list[Observation]:
        """One observation a point, in their order; a point at which the function fails is a failure with its cause.

        Raises:
            CampaignError: the function is not there, a figure is missing, or the cluster does not answer.
        """
        if self.name == "lab":
            raise CampaignError("a virtual fidelity cannot be called lab: that is what real cells are")
        find(self.function)  # said here, before a process is started for it
        asked = [dict(point if self.arguments is None else self.arguments(point)) for point in points]
        with self._workers() as workers:
            waiting = [workers.submit(_call, self.function, one) for one in asked]
            results = [one.result() for one in waiting]
        return [self._observation(point, result, objectives) for point, result in zip(points, results, strict=True)]

    def _observation(self, point: Point, result: Mapping[str, float] | str, objectives: Sequence[str]) -> Observation:
        if isinstance(result, str):
            return Observation(point, failed=True, cause=result, fidelity=self.name)
        values: dict[str, float] = {}
        for objective in objectives:
            figure = self.figures.get(objective, objective)
            if figure not in result:
                raise CampaignError(
                    f"virtual cells {self.name}: {self.function} gives no {figure}, only {', '.join(sorted(result))}"
                )
            if math.isfinite(result[figure]):
                values[objective] = float(result[figure])
        failed = len(values) < len(objectives)
        cause = "a figure is not finite" if failed else ""
        return Observation(point, {} if failed else values, failed=failed, cause=cause, fidelity=self.name)

    @contextmanager
    def _workers(self) -> Iterator[Executor]:
        if self.cluster:
            with _dask(self.cluster) as workers:
                yield workers
        else:
            # a forked process would inherit the daemon's threads and sockets
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(max(1, self.processes), mp_context=context) as pool:
                yield pool


def find(path: str) -> Callable[..., Mapping[str, float]]:
    """The function of a dotted path. Raises CampaignError when there is none."""
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise CampaignError(
            f"virtual cells: {path!r} is not there ({error}); write it as package.module:function"
        ) from None
    if not callable(found):
        raise CampaignError(f"virtual cells: {path!r} is no function")
    return cast("Callable[..., Mapping[str, float]]", found)


def _call(path: str, arguments: Arguments) -> dict[str, float] | str:
    """In the other process: the figures, or why there are none. A text, since not every error can be sent."""
    try:
        return {name: float(value) for name, value in find(path)(**arguments).items()}
    except CampaignError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a model raises, this cell has failed
        return f"{type(error).__name__}: {error}"


@contextmanager
def _dask(address: str) -> Iterator[Executor]:
    try:
        from distributed import Client
    except ImportError as error:
        raise CampaignError("a cluster needs dask: pip install distributed") from error
    try:
        client = Client(address, timeout=10)
    except OSError as error:
        raise CampaignError(f"no dask scheduler answers at {address}: {error}") from error
    with client:
        yield client.get_executor()
