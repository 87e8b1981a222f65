"""Partitions of rows that do not fit in memory, summed in one pass."""
