"""`second_derivatives`: those of Laplace's criterion, where the family has no parameter of its own.

The criterion is ``2ΣD + |u|² + log|H|`` at the mode. Along parameters i and j, each of which moves
η by ``E_i = J_i + ZΛU_i`` (J as in `pymackay.solve.pirls.criteria.curvature`, U the mode's slopes),
with leverages s, weights w of the determinant, ``r = H⁻¹Λ'Z's w'``, ``m = ZΛr``, ``M_i = Z dΛ_i r``
and ``t = s w' − D''m``, they are

``Σ (2D'' + s w'' − D''' m) E_i E_j + 2 U_i'U_j − Σ D'' (M_i E_j + E_i M_j)``
``+ Σ (2D' + t)(Z (dΛ_i U_j + dΛ_j U_i)) + R_ij``,

R being the second derivatives of log|H| by the weights and the factors alone, along ``w' E_i`` and
``dΛ_i``. The mode's own second derivatives are not needed: m takes their place (the adjoint of
Skaug & Fournier 2006, Comput. Stat. Data Anal. 51, differentiated once more).
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from pymackay.solve.linalg.batch import product
from pymackay.solve.pirls.criteria.curvature import Point, factor_columns, predictor_slopes
from pymackay.solve.pirls.system import system_of

_STEP = 1e-4  # of a predictor of a usual size: what a difference leaves out is its square
_SMALL = 1e-5  # the same for the derivatives of R, in units of a parameter's curvature


class MovedPoint(Point, Protocol):
    """A point that also knows its first derivatives' parts."""

    @property
    def leverages(self) -> np.ndarray:
        """Conditional variance of each row's η given β, (n,)."""
        ...

    @property
    def movement(self) -> Any:
        """What the weights' movement adds to the gradient."""
        ...

    def weights(self, here: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the determinant's weights, and their derivatives by η, each (n,)."""
        ...


def second_derivatives(point: MovedPoint) -> np.ndarray:
    """Return the second derivatives of Laplace's criterion at a mode by ψ = (β, Λ), (P, P).

    For rows that are kept, families without a free parameter, and factors without structure.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the criterion has no value next to the point.
    """
    rows, at, p = point.laplace.rows, point.mode.at, point.laplace.rows.p
    E, U, r = (
        predictor_slopes(point, point.mode.rows),
        point.curvature.mode_slopes,
        point.movement.r,
    )
    s, (_, by_eta) = point.leverages, point.weights(point.mode.rows)
    m = rows.predictor(point.given.scaled(r))
    curved = 2.0 * at.d2 + s * _bent_weights(point) - at.d3 * m
    made = E.T @ (curved[:, None] * E) + 2.0 * U.T @ U
    half = _moved_factors(point, 2.0 * point.mode.slopes + point.movement.by_effects, U)
    half -= factor_columns(rows, r).T @ (at.d2[:, None] * E)
    made[p:] += half
    made[:, p:] += half.T
    made += _of_determinant(point, by_eta[:, None] * E)
    return 0.5 * (made + made.T)


def _bent_weights(point: Point) -> np.ndarray:
    """Return the second derivatives by η of the determinant's weights, (n,).

    A difference of their first ones: no family has to know its fourth derivatives.
    """
    given, here = point.given, point.mode.rows
    step = np.full(len(here.eta), _STEP)
    if given.family.is_bounded:
        step *= np.minimum(np.abs(here.eta), 1.0)
    ends = []
    for moved in (here.eta + step, here.eta - step):
        at = given.expand(moved)
        if at is None:
            raise np.linalg.LinAlgError("a mean next to the mode is one the family cannot have")
        ends.append(at.d3 if point.laplace.determinant == "observed" else at.expected_d1)
    return (ends[0] - ends[1]) / (2.0 * step)


def _moved_factors(point: Point, values: np.ndarray, U: np.ndarray) -> np.ndarray:
    """Return ``v'dΛ_i U_j``, (k, P), for v = `values`, (N,), and U of shape (N, P)."""
    rows = point.laplace.rows
    first, second = rows.parts(values), rows.parts(U)
    return np.stack([first[k][a] @ second[k][b] for k, a, b in rows.places])


def _of_determinant(point: MovedPoint, moved: np.ndarray) -> np.ndarray:
    """Return R, (P, P), for ``w'E`` = `moved`, (n, P)."""
    if len(point.laplace.rows.blocks) == 1:
        return _of_one_factor(point, moved)
    return _of_crossed_factors(point, moved)


def _of_one_factor(point: Point, moved: np.ndarray) -> np.ndarray:
    """Return R where H is one block for each level, arguments as of `_of_determinant`.

    With ``dH_i = Λ'S_iΛ + dΛ_i'AΛ + Λ'A dΛ_i``, S_i = Z' diag(w'E_i) Z, it is the sum over the
    levels of ``tr H⁻¹ d²H_ij − tr H⁻¹ dH_i H⁻¹ dH_j``.
    """
    rows, system, p = point.laplace.rows, point.determinant, point.laplace.rows.p
    block, A, root, half = rows.blocks[0], system.sums.A, system.root, system.half
    q, J, P = block.q, block.n_levels, moved.shape[1]
    by_column = [rows.transposed @ (column[:, None] * moved) for column in block.columns]
    S = np.stack([each.reshape(q, J, P) for each in by_column], axis=1)
    X = product(product(half[..., None], S), half.transpose(1, 0, 2)[..., None])
    AH = product(A, half.transpose(1, 0, 2))
    back = product(half.transpose(1, 0, 2), root)
    inverse = product(root.transpose(1, 0, 2), root)
    made = np.zeros((P, P))
    for i, (_, a, c) in enumerate(rows.places):
        turned = root[:, c, None] * AH[None, a]
        X[..., p + i] += turned + turned.transpose(1, 0, 2)
        once = 2.0 * np.einsum("bjP,bj->P", S[a], back[:, c])
        made[p + i] += once
        made[:, p + i] += once
        for k, (_, b, d) in enumerate(rows.places):
            made[p + i, p + k] += 2.0 * A[a, b] @ inverse[c, d]
    X = X.reshape(q * q * J, P)
    return made - X.T @ X


def _of_crossed_factors(point: MovedPoint, moved: np.ndarray) -> np.ndarray:
    """Return R of several grouping factors, by differences; arguments as of `_of_determinant`.

    Of the leverages and of the slopes by the factors, which are the first derivatives of log|H| by
    the weights and by the factors.
    """
    rows, given, p = point.laplace.rows, point.given, point.laplace.rows.p
    weights, _ = point.weights(point.mode.rows)
    diagonal = np.abs(point.curvature.hessian.diagonal())
    steps = _SMALL / np.sqrt(np.maximum(diagonal, 1e-8 * diagonal.max()))
    made = np.empty((moved.shape[1],) * 2)
    for i, step in enumerate(steps):
        ends = []
        for size in (step, -step):
            factors = given.factors
            if i >= p:
                k, a, b = rows.places[i - p]
                factors = [factor.copy() for factor in factors]
                factors[k][a, b] += size
            system = system_of(rows, rows.products(weights + size * moved[:, i]), factors)
            slopes = moved.T @ system.leverages(rows)
            slopes[p:] += 2.0 * rows.in_elements(system.factor_slopes())
            ends.append(slopes)
        made[:, i] = (ends[0] - ends[1]) / (2.0 * step)
    return made
