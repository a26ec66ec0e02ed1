"""Faults and crashes on purpose, on the whole loop: `python -m benchmarks.faults [--smoke] [PART …]`, or `make faults`.

The real engine, journal and drivers work over the real wires with the real simulators. What really happened is counted
in the simulators' world, never in what the drivers say.
"""
