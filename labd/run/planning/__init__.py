"""Planning a shift: who should have which unit when, so that all is done soon and no time window breaks."""

from labd.run.planning.model import Begun, Bench, Broken, Plan, Row, Stay, Task, Units, Window, Work, stays_of

__all__ = ["Begun", "Bench", "Broken", "Plan", "Row", "Stay", "Task", "Units", "Window", "Work", "stays_of"]
