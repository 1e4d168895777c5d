"""Benchmarks of active learning. May import: the engine."""
