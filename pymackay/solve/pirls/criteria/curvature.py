"""`Curvature`: an approximate second derivative of Laplace's criterion, and how the mode moves.

Exact is that of the penalised deviance at the mode, ``2 (h_ψψ − h_ψu H⁻¹ h_uψ)`` with
``h_uψ = A'WJ + dΛ'Z'D'/φ`` and J = [X, Z dΛ u]. That of log|H| is taken at fixed weights and
level by level; what is missing is left to the secant correction of the search.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy.linalg import block_diag

from pymackay.solve.linalg.batch import product
from pymackay.solve.search.limits import LOG_STEP


class Point(Protocol):
    """A criterion's point that has a mode (`pymackay.solve.pirls.criteria.laplace.Point`)."""

    @property
    def laplace(self) -> Any:
        """Criterion and rows."""
        ...

    @property
    def given(self) -> Any:
        """What is held while the mode is searched."""
        ...

    @property
    def mode(self) -> Any:
        """The mode."""
        ...

    @property
    def determinant(self) -> Any:
        """H at the weights of the determinant."""
        ...

    @property
    def deviance(self) -> float:
        """2ΣD at the mode."""
        ...

    def total(self, of: Callable[[Any], Any]) -> Any:
        """Return the sum over the partitions of what `of` computes from their rows."""
        ...

    @property
    def psi(self) -> np.ndarray:
        """The parameters, (P,)."""
        ...

    @property
    def curvature(self) -> Curvature:
        """The derivatives themselves."""
        ...

    @property
    def factor_slopes(self) -> list[np.ndarray]:
        """Derivative of the criterion by each block's Λ, (q, q)."""
        ...


@dataclass(frozen=True, eq=False)
class Curvature:
    """Second derivatives at one point.

    Attributes
    ----------
    hessian : numpy.ndarray, shape (P, P)
        Approximate, of the criterion by ψ.
    mode_slopes : numpy.ndarray, shape (N, P)
        Derivative of the mode u by ψ.
    """

    hessian: np.ndarray
    mode_slopes: np.ndarray

    @classmethod
    def of(cls, point: Point) -> Curvature:
        """Return those of a point."""
        rows, p, k = point.laplace.rows, point.laplace.rows.p, len(point.laplace.rows.places)
        given = point.given
        products, inner, extra = point.total(lambda here: _sums(point, here))
        cross = given.scaled_back(products)
        _add_moved_factors(point, cross)
        if point.laplace.extra:
            column, edge, corner = _extra_parts(point, extra)
            cross = np.column_stack([cross, column])
            inner = np.block([[inner, edge[:, None]], [edge[None, :], np.array([[corner]])]])
        slopes = -point.mode.system.solve(cross)
        hessian = 2.0 * (inner + cross.T @ slopes)
        hessian[p : p + k, p : p + k] += _determinant_part(point)
        made = cls(0.5 * (hessian + hessian.T), slopes)
        return _by_parameters(made, point) if rows.structured else made


def predictor_slopes(point: Point, here: Any) -> np.ndarray:
    """Return the derivatives of η at the mode by ψ of some rows, (n, P)."""
    rows, given, p = here.given.rows, point.given, point.laplace.rows.p
    J = _design(point, rows)
    if rows.structured:
        jacobian = rows.jacobian(point.psi[p : p + rows.n_theta])
        J = np.column_stack([J[:, :p], J[:, p:] @ jacobian])
    moved = given.scaled(point.curvature.mode_slopes)
    made = np.zeros((rows.n, len(point.psi)), order="F")
    made[:, : J.shape[1]] = J
    for i, column in enumerate(moved.T):
        made[:, i] += rows.predictor(column)
    return made


def _by_parameters(by_elements: Curvature, point: Point) -> Curvature:
    """Return the derivatives by ψ of those by the factors' elements: ``J'MJ + Σ_e g_e d²Λ_e``."""
    rows, p = point.laplace.rows, point.laplace.rows.p
    parameters = point.psi[p : p + rows.n_theta]
    extra = len(point.psi) - p - rows.n_theta
    J = block_diag(np.eye(p), rows.jacobian(parameters), np.eye(extra))
    hessian = J.T @ by_elements.hessian @ J
    slopes = rows.in_elements(point.factor_slopes)
    for term in rows.terms:
        own = slice(p + term.own.start, p + term.own.stop)
        hessian[own, own] += term.bending(parameters, slopes)
    return Curvature(hessian, by_elements.mode_slopes @ J)


def _sums(point: Point, here: Any) -> tuple[np.ndarray, np.ndarray, tuple[Any, ...]]:
    """Return ``Z'WJ``, (N, p + k), ``J'WJ``, (p + k, p + k), and what log φ or log shape need.

    That is J' times the derivatives of D' by it, for the shape also Z' times these, and its slopes
    above and below.
    """
    rows, given, at = here.given.rows, here.given, here.at
    J = _design(point, rows)
    weighted = (at.d2 / given.phi)[:, None] * J
    made = rows.spread_columns(weighted), J.T @ weighted
    family, observed = given.family, rows.observed
    if not point.laplace.extra:
        return *made, ()
    if point.laplace.extra == "dispersion":
        ends = (
            family.constant(observed, given.phi * np.exp(d)).slope for d in (LOG_STEP, -LOG_STEP)
        )
        return *made, (-J.T @ (at.d1 / given.phi), *ends)
    slopes = family.shape_slopes(observed, here.eta)
    ends = (
        family.with_shape(family.shape * np.exp(d)).shape_slopes(observed, here.eta).criterion
        for d in (LOG_STEP, -LOG_STEP)
    )
    return *made, (J.T @ slopes.d1, *ends, rows.spread(slopes.d1))


def _design(point: Point, rows: Any) -> np.ndarray:
    """Return J = [X, Z dΛ u], shape (n, p + k), of some rows."""
    J = np.empty((rows.n, rows.p + len(rows.places)), order="F")
    J[:, : rows.p] = rows.basis.Q
    J[:, rows.p :] = factor_columns(rows, point.mode.u)
    return J


def factor_columns(rows: Any, u: np.ndarray) -> np.ndarray:
    """Return ``Z dΛ u``, (n, k), for effects u, (N,), of some rows."""
    parts = rows.parts(u)
    made = np.empty((rows.n, len(rows.places)), order="F")
    for i, (k, a, b) in enumerate(rows.places):
        block = rows.blocks[k]
        made[:, i] = block.weighed(a, parts[k][b][block.codes])
    return made


def _add_moved_factors(point: Point, cross: np.ndarray) -> None:
    """Add ``dΛ'Z'D'/φ`` to the columns of the factors' elements, (N, p + k), in place."""
    rows = point.laplace.rows
    slopes = rows.parts(point.mode.slopes / point.given.phi)
    for i, (k, a, b) in enumerate(rows.places):
        start, J = rows.spans[k].start, rows.blocks[k].n_levels
        cross[start + b * J : start + (b + 1) * J, rows.p + i] += slopes[k][a]


def _extra_parts(point: Point, sums: tuple[Any, ...]) -> tuple[np.ndarray, np.ndarray, float]:
    """Return h_u, (N,), h_ψ, (p + k,), and h itself differentiated by log φ or log shape."""
    edge, above, below = sums[:3]
    corner = 0.25 * (above - below) / LOG_STEP
    if point.laplace.extra == "dispersion":
        return point.mode.u, edge, 0.5 * point.deviance / point.given.phi + corner
    return point.given.scaled_back(sums[3]), edge, corner


def _determinant_part(point: Point) -> np.ndarray:
    """Return the second derivatives of log|H| by the factors' elements, (k, k), level by level.

    Of elements (a, b) and (c, d): ``2 T_ac δ_bd − 2 (TΛ)_cb (TΛ)_ad − 2 (Λ'TΛ)_bd T_ac``, summed
    over the levels.
    """
    rows = point.laplace.rows
    pairs = zip(point.determinant.traces(), point.given.factors, strict=True)
    parts = [_of_block(traces, factor) for traces, factor in pairs]
    made = np.zeros((len(rows.places), len(rows.places)))
    for i, (k, a, b) in enumerate(rows.places):
        for j, (other, c, d) in enumerate(rows.places):
            if k == other:
                made[i, j] = parts[k][a, b, c, d]
    return made


def _of_block(T: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Return `_determinant_part` of one block, (q, q, q, q), for T of shape (q, q, J)."""
    q, J = len(T), T.shape[2]
    wide = factor[:, :, None]
    TL = product(T, wide)
    LTL = product(wide.swapaxes(0, 1), TL)
    flat = TL.reshape(q * q, J)
    value = -(flat @ flat.T).reshape(q, q, q, q).transpose(2, 1, 0, 3)
    value -= (LTL.reshape(q * q, J) @ T.reshape(q * q, J).T).reshape((q,) * 4).transpose(2, 0, 3, 1)
    value += T.sum(axis=2)[:, None, :, None] * np.eye(q)[:, None, :]
    return np.asarray(2.0 * value)
