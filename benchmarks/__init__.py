"""Benchmarks against other engines: ``python -m benchmarks.run``."""
