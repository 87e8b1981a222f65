"""The design of a model: from a formula and a table to columns."""
