"""`labd simulate`: a protocol on the real engine and simulated devices, many times, before it is let at the lab."""

from labd.simulate.plan import Dry, DryRunError, dry_lab
from labd.simulate.runs import simulate
from labd.simulate.story import Story

__all__ = ["Dry", "DryRunError", "Story", "dry_lab", "simulate"]
