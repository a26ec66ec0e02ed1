"""How all plots look, and how they become files or part of a page. matplotlib is imported when a plot is made.

Colours: things in order go from light to dark along `cividis`, which reads the same with every kind of colour vision
and in grey; what must be told apart differs in shape as well.
"""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

INK, FAINT, GRID = "#22262b", "#6b7280", "#e5e7eb"
ALARM = "#b3261e"
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.edgecolor": "#9ca3af",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text: it can be searched and edited
    "svg.hashsalt": "labd",  # the same data give the same file
}


class PlotError(Exception):
    """A plot cannot be drawn; the text says why and how to mend it."""


def shade(number: int, count: int) -> Any:
    """The colour of one of `count` things in order: from light to dark."""
    from matplotlib import colormaps

    return colormaps["cividis"](0.05 if count == 1 else 0.78 - 0.73 * (number - 1) / (count - 1))


_STYLED = threading.Lock()  # matplotlib's settings belong to the process; plots are drawn in threads


@contextmanager
def drawn(draw: Callable[[Any], None]) -> Iterator[Any]:
    """A figure in our style, drawn. Raises PlotError: matplotlib is missing."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure  # not pyplot, which keeps every figure for the process's life
    except ImportError as error:
        raise PlotError("plots need matplotlib: pip install 'labd[data]'") from error
    with _STYLED, rc_context(STYLE):
        figure = Figure(layout="constrained")
        draw(figure)
        yield figure


def save(draw: Callable[[Any], None], stem: Path) -> list[Path]:
    """Draws a figure and writes it as `<stem>.png` and `<stem>.svg`."""
    files = [stem.with_name(f"{stem.name}.{ending}") for ending in ("png", "svg")]
    with drawn(draw) as figure:
        stem.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(files[0], dpi=200)
        figure.savefig(files[1], metadata={"Date": None})  # the same data give the same file
    return files


def inline(draw: Callable[[Any], None]) -> str:
    """Draws a figure as an `<svg>` element for a page: no prolog, no metadata, nothing that points elsewhere."""
    stream = io.StringIO()
    with drawn(draw) as figure:
        figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    return re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL).strip()
