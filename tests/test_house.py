"""The shape of the package stays within its bounds; `benchmarks/house.py` measures it."""

from __future__ import annotations

import pytest

from benchmarks import house


def test_a_small_fit_visits_few_files():
    visited = house.visited_files()
    assert len(visited) <= 20, sorted(visited)


def test_no_chain_of_imports_is_long_and_none_is_a_circle():
    chain = house.longest_chain(house.imports())  # raises on a circle
    assert len(chain) <= 13, " -> ".join(chain)


def test_a_circle_of_imports_is_reported():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a"}}
    with pytest.raises(ValueError, match="a -> b -> c -> a"):
        house.longest_chain(graph)


def test_no_folder_shows_more_than_fifteen_files():
    fullest = {folder: count for folder, count in house.first_look().items() if count > 15}
    assert not fullest


def test_nobody_asks_a_solver_what_it_is():
    assert house.casts() == []


def test_lines_of_code_and_of_docstrings_are_told_apart():
    text = '''"""Title.

Two more lines.
"""

# a comment
ONE = """a text
of code"""
TWO = 2  # a comment beside code
"""About TWO."""
'''
    assert house.Lines.of(text) == house.Lines(all=10, code=3, docstrings=5)
