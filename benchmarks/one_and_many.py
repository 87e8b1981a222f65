"""Checks on random designs that `lmer_many` and `lmer` reach the same optimum.

    python -m benchmarks.one_and_many [--designs 1000] [--seed 0]

Every design has one grouping factor and three responses. Printed is each response that only one
of the two certifies, or whose certified criteria differ by more than 1e-8 of their size; and how
many neither certifies: there float64 runs out of digits, and both say so.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import numpy as np

import pymackay as pm

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "support"))
from random_designs import one_factor_table

FORMULAS = (
    "y ~ x + (x | g)",
    "y ~ x + (x || g)",
    "y ~ x + (1 | g)",
    "y ~ 1 + (0 + x | g)",
    "y ~ 1 + (x | g)",
    "y ~ 1 + (x || g)",
    "y ~ x + (0 + x + z | g)",
    "y ~ x + (x + z || g)",
    "y ~ 0 + (x | g)",
)
CLOSE = 1e-8  # of a criterion's size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--designs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    responses = differences = uncertified = 0
    for number in range(asked.designs):
        rng = np.random.default_rng([asked.seed, number])
        lines, lost = compare(rng)
        responses += len(RESPONSES)
        differences += len(lines)
        uncertified += lost
        for line in lines:
            print(f"design {number}: {line}", flush=True)
    print(
        f"{asked.designs} designs, {responses} responses: {differences} differ, "
        f"{uncertified} certified by neither"
    )


RESPONSES = ["y0", "y1", "y2"]


def compare(rng: np.random.Generator) -> tuple[list[str], int]:
    """Return what differs for one random design, in words, and how many neither certifies."""
    formula, reml = FORMULAS[rng.integers(len(FORMULAS))], bool(rng.integers(2))
    levels, rows = int(rng.choice([2, 4, 8, 39])), int(rng.choice([4, 5, 12]))
    off_zero = float(rng.choice([0.0, 0.0, 10.0, 100.0, 1000.0]))
    sd = tuple(rng.choice([0.0, 0.1, 1.0, 5.0], size=3).tolist())
    data = one_factor_table(int(rng.integers(10**6)), levels, rows, off_zero, sd)
    Y = data[RESPONSES].to_numpy()
    many = pm.lmer_many(formula, data, Y, reml=reml)
    lines, lost = [], 0
    for k, y in enumerate(Y.T):
        one = pm.lmer(formula, data.assign(y=y), reml=reml)
        gap = many.criterion[k] - one.criterion
        certified = bool(many.converged[k]), one.convergence.converged
        lost += not any(certified)
        differ = abs(gap) > CLOSE * max(1.0, abs(one.criterion))
        if certified[0] != certified[1] or (all(certified) and differ):
            lines.append(
                f"{formula}, reml={reml}, {levels} x {rows}, x about {off_zero:g}, "
                f"sd {sd}: lmer_many {gap:+.3g}, certified {certified}"
            )
    return lines, lost


if __name__ == "__main__":
    main()
