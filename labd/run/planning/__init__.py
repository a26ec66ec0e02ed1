"""Planning a shift: who should have which unit when, so that all is done soon and no time window breaks."""

from labd.run.planning.bounds import load, lower_bound
from labd.run.planning.model import Begun, Bench, Broken, Plan, Row, Stay, Task, Units, Window, Work, stays_of
from labd.run.planning.retiming import retimed
from labd.run.planning.serial import greedy
from labd.run.planning.solver import available, solve, warm_up
from labd.run.planning.validity import problems_of

__all__ = [
    "Begun",
    "Bench",
    "Broken",
    "Plan",
    "Row",
    "Stay",
    "Task",
    "Units",
    "Window",
    "Work",
    "available",
    "greedy",
    "load",
    "lower_bound",
    "problems_of",
    "retimed",
    "solve",
    "stays_of",
    "warm_up",
]
