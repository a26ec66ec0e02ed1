"""Faults as data: one vocabulary for all simulated devices, by time, by count or by seeded chance.

`words` is the vocabulary, `model` the file of it, `check` says what does not hold. `wire` and `tcp` do mischief on any
device's wire, whatever it speaks; `knobs` are what a device declares of the faults that only it can have; `plan` begins
and ends them all; `control` and `client` switch them live.
"""
