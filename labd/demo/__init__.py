"""A simulated lab at work, in under a minute: `labd demo`."""

from labd.demo.main import DemoError, demo

__all__ = ["DemoError", "demo"]
