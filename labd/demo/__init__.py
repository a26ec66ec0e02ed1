"""A simulated lab at work, in under a minute: `labd demo`."""

from labd.demo.play import demo

__all__ = ["demo"]
