"""Mistakes that people make in protocols, by kind: made on purpose in protocols that hold, to see which are told."""
