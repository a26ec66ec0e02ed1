"""The closed loop over many batches: ask an optimiser, make and measure in the lab, tell what came out.

Heavy libraries are imported where they are used.
"""
