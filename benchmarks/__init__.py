"""Speeds, as figures: `python -m benchmarks.all`. Each module measures one area."""
