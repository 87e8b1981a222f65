"""EM's and MacKay's rules for a term whose covariance has a structure.

With ``G = G(x)`` in the chart of the structure and E the expected cross-product of the effects by
level, EM minimises ``log |G| + tr(G⁻¹E)`` over x (Dempster, Laird, Rubin 1977, section 4.4).
MacKay's divisor γ sets a variance that all effects share, or those of effects that do not
correlate; correlations follow by EM's minimum.
"""

from __future__ import annotations

import numpy as np

from pymackay.covariance.chart import Chart
from pymackay.covariance.structure import Correlated
from pymackay.solve.loop.terms import TermRound

_STEPS = 50  # Newton's, at most
_SPENT = 1e-15  # decrement at which the minimum is reached
_HALVINGS = 30
_LEAST = 1e-8  # of the largest curvature: what a flat direction counts with


def structured_em(term: TermRound) -> np.ndarray:
    """Return EM's next root of a term with a structure, (q, q)."""
    chart = _chart(term)
    return _minimised(chart, _expected(term), np.arange(chart.x.shape[-1])).factor()


def structured_gamma(term: TermRound) -> np.ndarray:
    """Return MacKay's next root of a term with a structure, (q, q).

    ``v ← v tr(F'sF) / (σ² tr(F'τF))`` for a variance that all share; ``v_i ← Σ_j b̂_ji² / γ_i`` for
    effects that do not correlate. Of correlated effects with a variance each, γ belongs to none by
    itself (such a rule goes in circles): EM's step is taken.
    """
    chart = _chart(term)
    structure, q = chart.structure, chart.q
    shown, known = np.diag(term.shown), np.diag(term.information)
    if structure.hom:
        ratio = np.array([shown.sum() / known.sum()]) if known.sum() > 0.0 else np.ones(1)
    elif structure.n_rho(q) == 0:
        ratio = np.divide(shown, known, out=np.ones(q), where=known > 0.0)
    else:
        return structured_em(term)
    m = structure.n_sd(q)
    x = chart.x.copy()
    x[:m] *= np.sqrt(ratio)
    angles = np.arange(m, len(x))
    return _minimised(Chart(structure, q, x), _expected(term), angles).factor()


def _chart(term: TermRound) -> Chart:
    assert isinstance(term.structure, Correlated)  # others are refused before the loop starts
    return Chart.of(term.structure, term.root)


def _expected(term: TermRound) -> np.ndarray:
    """Return ``E = (B̂'B̂ + Σ C)/(J σ²)``, (q, q), of which G would be EM's update."""
    q = len(term.root)
    inner = np.eye(q) + (term.shown - term.information) / term.n_levels
    return term.root @ inner @ term.root.T


def _minimised(chart: Chart, expected: np.ndarray, free: np.ndarray) -> Chart:
    """Return where ``log |G| + tr(G⁻¹E)`` is least over some coordinates, by damped Newton."""
    if not len(free):
        return chart
    value = _value(chart, expected)
    for _ in range(_STEPS):
        gradient, curvature = _slopes(chart, expected)
        m = chart.structure.n_sd(chart.q)
        unit = np.where(np.arange(len(chart.x)) < m, np.abs(chart.x), 1.0)[free]
        values, vectors = np.linalg.eigh(curvature[np.ix_(free, free)] * np.outer(unit, unit))
        values = np.maximum(np.abs(values), _LEAST * np.abs(values).max())
        along = vectors.T @ (gradient[free] * unit)
        step = np.zeros_like(chart.x)
        step[free] = -unit * (vectors @ (along / values))
        if 0.5 * float(along @ (along / values)) < _SPENT:
            break
        for _ in range(_HALVINGS):
            there = chart.moved(step)
            lower = _value(there, expected)
            if lower < value:
                break
            step = 0.5 * step
        else:
            break
        chart, value = there, lower
    return chart


def _value(chart: Chart, expected: np.ndarray) -> float:
    factor = chart.factor()
    diagonal = np.diag(factor)
    if not (diagonal > 0.0).all():
        return np.inf
    half = np.linalg.solve(factor, expected)
    trace = np.trace(np.linalg.solve(factor, half.T))
    return float(2.0 * np.log(diagonal).sum() + trace)


def _slopes(chart: Chart, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return gradient, (k,), and curvature, (k, k), by the chart."""
    factor = chart.factor()
    root = np.linalg.inv(factor)
    inverse = root.T @ root
    tangents = chart.tangents()
    score = inverse - inverse @ expected @ inverse
    turned = inverse @ tangents
    second = turned @ (inverse @ expected)
    curvature = 2.0 * np.einsum("iab,jba->ij", turned, second, optimize=True)
    curvature = 0.5 * (curvature + curvature.T) - np.einsum("iab,jba->ij", turned, turned)
    return np.einsum("kab,ab->k", tangents, score), curvature + chart.bending(score)
