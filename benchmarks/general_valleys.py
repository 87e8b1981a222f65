"""Whether `glmer` ends in the lowest minimum of the criterion, on random models of few rows.

    python -m benchmarks.general_valleys [--models 300] [--seed 0] [--starts 60] [--one-start]

Every model has 12 to 40 rows, one or two grouping factors and one to four covariance parameters,
and is made to have several minima often: few rows for each group, covariates that differ mostly
between groups, and slopes that are not the same between groups as within them. Searches start at
many random factors, all fixed effects and the dispersion at those of the model without random
effects, or moved at random. Printed is each certified fit that one of these searches undercuts by
more than 1e-6, with the same certificate; and how many fits were not certified.

With --one-start `glmer` starts only where it starts on many rows. The number of missed minima then
measures how hard the random models are.
"""

from __future__ import annotations

import argparse
import warnings
from typing import Any

import numpy as np
import pandas as pd

import pymackay as pm
from benchmarks.valleys import clustered
from pymackay.family.family import Family
from pymackay.solve.pirls.fit import criterion_of
from pymackay.solve.pirls.optimum import find_optimum
from pymackay.solve.pirls.search import Stopping, minimise
from pymackay.solve.pirls.starts import further
from pymackay.solve.pirls.starts.first import starting_point

FORMULAS = (
    "y ~ x + (1 | g)",
    "y ~ 1 + (0 + x | g)",
    "y ~ x + z + (1 | g)",
    "y ~ x + (x || g)",
    "y ~ x + (x | g)",
    "y ~ 1 + (x | g)",
    "y ~ x + (1 | g) + (1 | h)",
    "y ~ x + (x | g) + (1 | h)",
    "y ~ z + (x || g) + (1 | h)",
)
FAMILIES: tuple[Family, ...] = (
    pm.Binomial("logit"),
    pm.Binomial("logit"),
    pm.Binomial("cloglog"),
    pm.Binomial("probit"),
    pm.Poisson("log"),
    pm.Poisson("log"),
    pm.NegativeBinomial(theta=2.0),
    pm.Gamma("log"),
)
LOWER = 1e-6  # criterion units
ROUGH, SEARCHES = Stopping(1e-2, 60), 4  # of random searches, and how many of the lowest go on


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--starts", type=int, default=60)
    parser.add_argument("--one-start", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.one_start:
        further.FEW_ROWS = 0
    fitted = uncertified = undercut = 0
    for number in range(arguments.models):
        rng = np.random.default_rng([arguments.seed, number])
        formula, family, data = random_model(rng)
        try:
            fit = pm.glmer(formula, data, family)
        except pm.PymackayError:
            continue
        fitted += 1
        if not fit.convergence.converged:
            uncertified += 1
            continue
        gap = fit.criterion - lowest_from_many_starts(fit.problem, rng, arguments.starts)
        if gap > LOWER:
            undercut += 1
            print(
                f"model {number}: {formula}, {family.name} ({family.link}), {len(data)} rows: "
                f"{gap:.3g}",
                flush=True,
            )
    print(f"{fitted} models: {undercut} undercut, {uncertified} not certified")


def random_model(rng: np.random.Generator) -> tuple[str, Family, pd.DataFrame]:
    """Return a formula, a family, and a table of 12 to 40 rows."""
    formula, family = FORMULAS[rng.integers(len(FORMULAS))], FAMILIES[rng.integers(len(FAMILIES))]
    eta, table = clustered(rng, fewest=12, steepest=0.3, largest=2.0)
    return formula, family, pd.DataFrame({"y": response(rng, family, eta), **table})


def response(rng: np.random.Generator, family: Family, eta: np.ndarray) -> np.ndarray:
    """Draw a response with a linear predictor, (n,)."""
    if family.name == "binomial":
        return (rng.uniform(size=len(eta)) < 1.0 / (1.0 + np.exp(-eta))).astype(float)
    mean = np.exp(np.clip(eta + 1.0, -4.0, 6.0))
    if family.name == "poisson":
        return rng.poisson(mean).astype(float)
    if family.name == "negative binomial":
        return rng.negative_binomial(2.0, 2.0 / (2.0 + mean)).astype(float)
    shape = float(rng.choice([1.0, 10.0]))
    return np.maximum(rng.gamma(shape, mean / shape), 1e-6)


def lowest_from_many_starts(problem: Any, rng: np.random.Generator, starts: int) -> float:
    """Return the lowest certified criterion that searches from random parameters reach."""
    laplace, rows = problem.laplace, problem.laplace.rows
    first = starting_point(laplace)
    criterion = criterion_of(laplace, problem.nagq, first[: rows.p])
    ends = []
    for _ in range(starts):
        try:
            end = minimise(criterion, _random_start(rng, first, rows), ROUGH)
        except np.linalg.LinAlgError:
            continue
        ends.append((end.point.criterion, end.point.psi))
    lowest = np.inf
    for _, psi in sorted(ends, key=lambda each: each[0])[:SEARCHES]:
        stopping = Stopping(1e-10, 300)
        try:
            end = find_optimum(criterion, rows, [psi], stopping, rows.p, bounded=False)
        except pm.ConvergenceError:
            continue
        if end.convergence.converged:
            lowest = min(lowest, end.point.criterion)
    return lowest


def _random_start(rng: np.random.Generator, first: np.ndarray, rows: Any) -> np.ndarray:
    """Return parameters, (P,): factors of log-uniform sizes and random correlations."""
    start = first.copy()
    size = np.abs(first[rows.p : rows.p + rows.n_theta]).max()
    for term in rows.terms:
        q = term.full.q
        axes = np.linalg.qr(rng.normal(size=(q, q)))[0]
        root = axes * (size * 10.0 ** rng.uniform(-2.0, 1.5, size=q))
        factor = np.linalg.qr(root.T)[1].T
        places = slice(rows.p + term.own.start, rows.p + term.own.stop)
        start[places] = term.full.elements(factor * np.sign(np.diag(factor)))
    start[: rows.p] += rng.choice([0.0, 1.0]) * rng.normal(size=rows.p)
    if len(start) > rows.p + rows.n_theta:
        start[-1] += rng.uniform(-3.0, 0.5)
    return start


if __name__ == "__main__":
    main()
