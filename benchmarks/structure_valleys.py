"""Whether `lmer` ends in the lowest valley of the criterion, on random models with structures.

    python -m benchmarks.structure_valleys [--models 300] [--seed 0] [--starts 24] [--residual]

Every model has 12 to 70 rows and one or two terms, one of them with a covariance structure; with
--residual the structure is that of the residuals, and there is a random term beside it or none. The
peer is a dense likelihood: V is written out, shape (n, n), with structures in code of its own, and
L-BFGS goes down from many random starts, in logarithms of standard deviations and in inverse
hyperbolic tangents of correlations. Printed is each certified fit that lies above the lowest
end by more than 1e-6, and how many fits were not certified.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import scipy.linalg as sl
import scipy.optimize as so

import pymackay as pm
from pymackay.model.model import Model

TERMS = (
    "diag(0 + t | g)",
    "cs(0 + t | g)",
    "cs(0 + t | g, hom = TRUE)",
    "ar1(0 + t | g)",
    "ar1(0 + t | g, hom = FALSE)",
    "toep(0 + t | g)",
    "toep(0 + t | g, hom = TRUE)",
    "ou(0 + t | g)",
    "cs(x | g)",
    "diag(x | g)",
    "ar1(0 + t | g) + (1 | g)",
    "ar1(0 + t | g) + (1 | h)",
    "cs(0 + t | g, hom = TRUE) + (1 | h)",
    "ar1(0 + t | h) + (x | g)",
)
RESIDUALS = (
    "varident(h)",
    "diag(t | g)",
    "cs(t | g)",
    "cs(t | g, hom = TRUE)",
    "ar1(t | g)",
    "ar1(t | g, hom = FALSE)",
    "toep(t | g)",
    "ou(t | g)",
    "us(t | g)",
)
BESIDE = ("", "", "(1 | g)", "(1 | h)", "(x | h)")  # random terms of models with such residuals
LOWER = 1e-6  # criterion units
FARTHEST = 25.0  # of a parameter from its start: beyond, V has lost its digits
Correlations = Callable[[np.ndarray, int, tuple[float, ...]], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--starts", type=int, default=24)
    parser.add_argument("--residual", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    counts = dict.fromkeys(("fitted", "refused", "not certified", "undercut"), 0)
    for number in range(arguments.models):
        rng = np.random.default_rng([arguments.seed, number])
        residual = str(rng.choice(RESIDUALS)) if arguments.residual else None
        formula, reml, data = random_model(rng, residual)
        try:
            fit = pm.lmer(formula, data, reml=reml, residual=residual)
        except pm.PymackayError:
            counts["refused"] += 1
            continue
        counts["fitted"] += 1
        if not fit.convergence.converged:
            counts["not certified"] += 1
            continue
        dense = Dense.of(fit.problem.model, fit.model.terms, reml=reml)
        if residual is not None:
            dense = dense.with_residual(residual, data.loc[fit.model.rows])
        lowest = min(dense.descend(start) for start in dense.starts(rng, arguments.starts))
        if lowest < fit.criterion - LOWER * max(1.0, abs(fit.criterion) * 1e-3):
            counts["undercut"] += 1
            gap = f"{fit.criterion - lowest:.3g}"
            what = f"{formula}, {residual}, reml={reml}, {len(data)} rows"
            print(f"model {number}: {what}: {gap}", flush=True)
    print(", ".join(f"{name} {count}" for name, count in counts.items()))


def random_model(
    rng: np.random.Generator, residual: str | None = None
) -> tuple[str, bool, pd.DataFrame]:
    """Return a formula, whether REML, and a table of 12 to 70 rows.

    With a `residual` structure no group has two rows at one time.
    """
    term, reml = str(rng.choice(TERMS if residual is None else BESIDE)), bool(rng.integers(2))
    n, times = int(rng.integers(12, 71)), int(rng.integers(2, 6))
    levels = int(rng.integers(3, max(4, n // 3)))
    g, h, t = (rng.integers(0, k, n) for k in (levels, 4, times))
    if residual is not None:
        cells = rng.permutation(levels * times)[:n]
        n, g, t = len(cells), cells // times, cells % times
        h = h[:n]
    x = rng.normal(size=n) + rng.normal(size=levels)[g]
    rho = rng.uniform(-0.9, 0.95)
    root = np.linalg.cholesky(rho ** np.abs(np.subtract.outer(np.arange(times), np.arange(times))))
    effects = rng.normal(size=(levels, times)) @ root.T
    size = rng.choice([0.0, 0.5, 2.0, 10.0])
    y = size * effects[g, t] + rng.choice([0.0, 1.0]) * rng.normal(size=levels)[g] * x
    y += rng.normal(size=4)[h] + rng.normal(size=n)
    table = {"y": y, "x": x, "g": g.astype(str), "h": h.astype(str)}
    spaced = np.array([0, 1, 2, 4, 7])[t]
    labels = spaced if "ou(" in f"{term} {residual}" else t
    is_number = residual is not None and residual.startswith(("ou", "ar1"))
    data = pd.DataFrame({**table, "t": labels if is_number else pd.Categorical(labels)})
    return f"y ~ {rng.choice(['1', 'x'])}" + f" + {term}" * bool(term), reml, data


def _identity(angles: np.ndarray, q: int, times: tuple[float, ...]) -> np.ndarray:
    return np.eye(q)


def _compound(angles: np.ndarray, q: int, times: tuple[float, ...]) -> np.ndarray:
    low = -1.0 / (q - 1.0)
    rho = low + (1.0 - low) * (1.0 + np.tanh(angles[0])) / 2.0
    return (1.0 - rho) * np.eye(q) + rho


def _autoregressive(angles: np.ndarray, q: int, times: tuple[float, ...]) -> np.ndarray:
    lag = np.abs(np.subtract.outer(np.arange(q), np.arange(q)))
    return np.tanh(angles[0]) ** lag


def _ou(angles: np.ndarray, q: int, times: tuple[float, ...]) -> np.ndarray:
    apart = np.abs(np.subtract.outer(times, times))
    return np.exp(-np.exp(angles[0]) * apart)


def _toeplitz(angles: np.ndarray, q: int, times: tuple[float, ...]) -> np.ndarray:
    """Return the Toeplitz matrix of partial autocorrelations, by Durbin's recursion."""
    correlations, phi = [1.0], np.zeros(0)
    for partial in np.tanh(angles[: q - 1]):
        left = np.array(correlations[1:])
        spread = 1.0 - (phi @ left if len(phi) else 0.0)
        correlations.append((phi @ left[::-1] if len(phi) else 0.0) + partial * spread)
        phi = np.append(phi - partial * phi[::-1], partial)
    return sl.toeplitz(correlations)


def _unstructured(angles: np.ndarray, q: int, times: tuple[float, ...]) -> np.ndarray:
    """Return the correlation matrix of a lower triangle with a diagonal of ones."""
    root = np.eye(q)
    root[np.tril_indices(q, -1)] = angles
    root /= np.linalg.norm(root, axis=1, keepdims=True)
    return root @ root.T


_CORRELATIONS: dict[str, tuple[Correlations, Callable[[int], int]]] = {
    "": (_unstructured, lambda q: q * (q - 1) // 2),
    "diag": (_identity, lambda q: 0),
    "cs": (_compound, lambda q: min(1, q - 1)),
    "ar1": (_autoregressive, lambda q: min(1, q - 1)),
    "ou": (_ou, lambda q: min(1, q - 1)),
    "toep": (_toeplitz, lambda q: q - 1),
    "us": (_unstructured, lambda q: q * (q - 1) // 2),
    "varident": (_identity, lambda q: 0),
}


@dataclass(frozen=True, eq=False)
class _Term:
    """One term: ``blocks`` of shape (J, n, q) are the levels' columns of Z."""

    blocks: np.ndarray
    correlations: Correlations
    sds: int
    angles: int
    times: tuple[float, ...]

    @property
    def q(self) -> int:
        return self.blocks.shape[2]

    @property
    def size(self) -> int:
        return self.sds + self.angles

    def covariance(self, parameters: np.ndarray) -> np.ndarray:
        """Return G, shape (q, q)."""
        sds = np.broadcast_to(np.exp(parameters[: self.sds]), self.q)
        R = self.correlations(parameters[self.sds :], self.q, self.times) if self.q > 1 else 1.0
        return sds[:, None] * R * sds


@dataclass(frozen=True, eq=False)
class Dense:
    """-2 log likelihood (restricted, or not) with V written out.

    Attributes
    ----------
    y : numpy.ndarray, shape (n,)
    X : numpy.ndarray, shape (n, p)
    terms : sequence of _Term
    reml : bool
    nugget : bool
        Whether the residuals are independent with one variance, the last parameter. Otherwise the
        last of the terms is their covariance.
    """

    y: np.ndarray
    X: np.ndarray
    terms: Sequence[_Term]
    reml: bool
    nugget: bool = True

    @classmethod
    def of(cls, model: Model, summaries: Sequence[object], *, reml: bool) -> Dense:
        """Return the likelihood of a model; `summaries` name the structures of its terms."""
        terms = []
        for term, summary in zip(model.terms, summaries, strict=True):
            codes, tag, hom = model.factors[term.group].codes, summary.structure, summary.hom
            q = term.columns.shape[1]
            correlations, count = _CORRELATIONS[tag if q > 1 else "diag"]
            is_level = codes[None, :] == np.arange(codes.max() + 1)[:, None]
            blocks = is_level[:, :, None] * term.columns
            sds = 1 if tag and hom else q
            terms.append(_Term(blocks, correlations, sds, count(q), tuple(summary.times)))
        return cls(model.y, model.X, terms, reml)

    def with_residual(self, residual: str, data: pd.DataFrame) -> Dense:
        """Return the likelihood with a residual structure, written as `pymackay.lmer` takes it."""
        tag = residual.partition("(")[0]
        by_row = tag == "varident"
        codes, labels = pd.factorize(data["h" if by_row else "t"], sort=True)
        groups = np.arange(len(data)) if by_row else pd.factorize(data["g"])[0]
        is_level = groups[None, :] == np.arange(groups.max() + 1)[:, None]
        q = len(labels)
        correlations, count = _CORRELATIONS[tag]
        is_hom = "TRUE" in residual or (tag in ("ar1", "ou") and "FALSE" not in residual)
        times = tuple(np.asarray(labels, dtype=float)) if tag == "ou" else ()
        blocks = is_level[:, :, None] * np.eye(q)[codes]
        term = _Term(blocks, correlations, 1 if is_hom else q, count(q), times)
        return replace(self, terms=[*self.terms, term], nugget=False)

    def starts(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Return random parameters, shape (count, k); the last is log sigma if there is one."""
        spread = np.log(np.std(self.y) + 1e-300)
        columns = []
        for term in self.terms:
            columns += [spread + rng.uniform(-4.0, 1.5, (count, term.sds))]
            columns += [rng.normal(0.0, 1.5, (count, term.angles))]
        columns += [spread + rng.uniform(-3.0, 0.5, (count, 1))] if self.nugget else []
        return np.concatenate(columns, axis=1)

    def descend(self, start: np.ndarray) -> float:
        """Return the criterion at which L-BFGS ends; infinity if it cannot go on."""
        bounds = np.stack([start - FARTHEST, start + FARTHEST], axis=1)
        try:
            end = so.minimize(
                self.value,
                start,
                jac=True,
                method="L-BFGS-B",
                bounds=bounds,
                options={"maxiter": 500, "ftol": 1e-13, "gtol": 1e-8},
            )
        except (np.linalg.LinAlgError, ValueError):
            return np.inf
        return float(end.fun)

    def value(self, parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the criterion and its gradient, tr(M dV), with M from P and P y."""
        n, p = self.X.shape
        V = np.exp(2.0 * parameters[-1]) * np.eye(n) if self.nugget else np.zeros((n, n))
        at = 0
        for term in self.terms:
            G = term.covariance(parameters[at : at + term.size])
            V += np.einsum("jna,ab,jmb->nm", term.blocks, G, term.blocks, optimize=True)
            at += term.size
        factor = sl.cho_factor(V, lower=True)
        inverse = sl.cho_solve(factor, np.eye(n))
        VX = inverse @ self.X
        A = self.X.T @ VX
        P = inverse - VX @ np.linalg.solve(A, VX.T)
        Py = P @ self.y
        criterion = 2.0 * np.log(np.diag(factor[0])).sum() + self.y @ Py
        criterion += (n - p * self.reml) * np.log(2.0 * np.pi)
        criterion += np.linalg.slogdet(A)[1] if self.reml else 0.0
        M = (P if self.reml else inverse) - np.outer(Py, Py)
        gradient, at = [], 0
        for term in self.terms:
            H = np.einsum("jna,nm,jmb->ab", term.blocks, M, term.blocks, optimize=True)
            gradient += list(_slopes(term, parameters[at : at + term.size], H))
            at += term.size
        if self.nugget:
            gradient.append(2.0 * np.exp(2.0 * parameters[-1]) * np.trace(M))
        return float(criterion), np.array(gradient)


def _slopes(term: _Term, parameters: np.ndarray, H: np.ndarray) -> np.ndarray:
    """Return tr(H dG) for each parameter, dG by central differences."""
    step, slopes = 1e-5, np.empty(len(parameters))
    for k in range(len(parameters)):
        up, down = parameters.copy(), parameters.copy()
        up[k] += step
        down[k] -= step
        slopes[k] = np.sum(H * (term.covariance(up) - term.covariance(down))) / (2.0 * step)
    return slopes


if __name__ == "__main__":
    main()
