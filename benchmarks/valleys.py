"""Whether `lmer` ends in the lowest valley of the criterion, on random models of few rows.

    python -m benchmarks.valleys [--models 2000] [--seed 0] [--starts 96] [--without-scan]

Every model has 8 to 40 rows, one or two grouping factors and one to four variance parameters, and
is made to have several valleys often: few rows for each group, covariates that differ mostly
between groups, and slopes that are not the same between groups as within them, so that small and
large variances explain different parts of the data. Many random points go down by criteria alone,
and `lmer`'s search starts at the lowest of them and at four others. Printed is each certified fit
that one of these searches undercuts by more than 1e-6 with a certificate of its own; and how many
fits were not certified, because the criterion falls without end or float64 runs out of digits.

With --without-scan `lmer` does not search for further valleys. The number of missed optima then
measures how hard the random models are: it must be 0.3 % at least.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd

import pymackay as pm
from pymackay.covariance.layout import lower_factor
from pymackay.solve.search import newton
from pymackay.solve.search.start import noise_level
from pymackay.solve.search.valleys.basins import descend
from pymackay.solve.solver import Solver

FORMULAS = (
    "y ~ x + (1 | g)",
    "y ~ 1 + (1 | g)",
    "y ~ x + z + (1 | g)",
    "y ~ 1 + (0 + x | g)",
    "y ~ x + (x || g)",
    "y ~ x + z + (x || g)",
    "y ~ x + (x | g)",
    "y ~ 1 + (x | g)",
    "y ~ x + (1 | g) + (1 | h)",
    "y ~ x + z + (1 | g) + (1 | h)",
    "y ~ x + (x || g) + (1 | h)",
    "y ~ z + (x | g) + (1 | h)",
)
LOWER = 1e-6  # criterion units
SEARCHES = 4  # from random points themselves


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--starts", type=int, default=96)
    parser.add_argument("--without-scan", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    fitted = uncertified = undercut = 0
    for number in range(arguments.models):
        rng = np.random.default_rng([arguments.seed, number])
        formula, reml, data = random_model(rng)
        try:
            with scan(is_on=not arguments.without_scan):
                fit = pm.lmer(formula, data, reml=reml)
        except pm.PymackayError:
            continue
        fitted += 1
        if not fit.convergence.converged:
            uncertified += 1
            continue
        lowest = lowest_from_many_starts(fit.problem.solver, rng, arguments.starts)
        if lowest < fit.criterion - LOWER:
            undercut += 1
            gap = fit.criterion - lowest
            print(
                f"model {number}: {formula}, reml={reml}, {len(data)} rows: {gap:.3g}", flush=True
            )
    print(f"{fitted} models: {undercut} undercut, {uncertified} not certified")


@contextmanager
def scan(*, is_on: bool) -> Iterator[None]:
    """Let the search look for further valleys, or not."""
    before = newton.may_scan
    try:
        newton.may_scan = before if is_on else lambda gram: False
        yield
    finally:
        newton.may_scan = before


def random_model(rng: np.random.Generator) -> tuple[str, bool, pd.DataFrame]:
    """Return a formula, whether REML, and a table of 8 to 40 rows."""
    formula, reml = FORMULAS[rng.integers(len(FORMULAS))], bool(rng.integers(2))
    mean, table = clustered(rng, fewest=8, steepest=1.0, largest=5.0)
    n = len(mean)
    y = mean + (rng.standard_t(2, size=n) if rng.integers(2) else rng.normal(size=n))
    return formula, reml, pd.DataFrame({"y": y, **table})


def clustered(
    rng: np.random.Generator, *, fewest: int, steepest: float, largest: float
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the mean of up to 40 rows, (n,), and their covariates x, z and groups g, h.

    Each covariate is the sum of a part that is constant within groups and one that differs within
    them, with slopes of their own.

    Parameters
    ----------
    rng : numpy.random.Generator
    fewest : int
        Number of rows, at least.
    steepest : float
        log10 of the size of slopes, at most.
    largest : float
        Standard deviation of random effects, at most.
    """
    n = int(rng.integers(fewest, 41))
    levels = int(rng.integers(3, max(4, n // 2)))
    shares = rng.dirichlet(np.full(levels, rng.choice([0.5, 2.0, 50.0])))
    g, h = rng.choice(levels, n, p=shares), rng.integers(0, 4, n)
    between, within = rng.normal(size=(2, levels))[:, g], rng.normal(size=(2, n))
    spread = 10.0 ** rng.uniform(-1.5, 0.5, size=(2, 1))
    x, z = between + spread * within + rng.choice([0.0, 0.0, 3.0])
    slopes = rng.normal(size=(2, 2)) * 10.0 ** rng.uniform(-1.0, steepest, size=(2, 2))
    sizes = rng.choice([0.0, 0.3, 1.0, largest], size=3)
    mean = slopes[0] @ between + slopes[1] @ within + sizes[2] * rng.normal(size=4)[h]
    mean += sizes[0] * rng.normal(size=levels)[g] + sizes[1] * rng.normal(size=levels)[g] * x
    return mean, {"x": x, "z": z, "g": g.astype(str), "h": h.astype(str)}


def lowest_from_many_starts(solver: Solver, rng: np.random.Generator, starts: int) -> float:
    """Return the lowest certified criterion that searches from random factors reach."""
    factors = tuple(_random_factors(solver, term, rng, starts) for term in range(_terms(solver)))
    profile = newton.OneResponse(solver).profile()
    floors = [np.sqrt(noise_level(solver.bases, term)) for term in range(_terms(solver))]
    bottoms, values = descend(
        lambda points: profile.criteria(points)[:, 0], factors, floors, solver.bases.layouts
    )
    lowest = np.inf
    first = [f[np.argmin(values)] for f in bottoms]
    for start in (first, *([f[k] for f in factors] for k in range(SEARCHES))):
        end = solver.find_optimum(start, start_only=True)
        if end.convergence.converged:
            lowest = min(lowest, end.evaluation.criterion)
    return lowest


def _terms(solver: Solver) -> int:
    return len(solver.bases.layouts)


def _random_factors(solver: Solver, term: int, rng: np.random.Generator, count: int) -> np.ndarray:
    """Return relative factors of one term, (count, q, q), with log-uniform sizes."""
    q = solver.bases.layouts[term].q
    axes = np.linalg.qr(rng.normal(size=(count, q, q)))[0]
    sizes = 10.0 ** rng.uniform(-1.5, 2.0, size=(count, 1, q))
    return lower_factor(axes * sizes * np.sqrt(noise_level(solver.bases, term)))


if __name__ == "__main__":
    main()
