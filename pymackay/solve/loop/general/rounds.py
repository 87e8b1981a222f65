"""`GeneralRound`: the quantities of one round of the loop on a generalised model.

With g = Z'D'/φ the mode is ``u = −Λ'g``. MacKay's evidence framework (1992) holds the weights W at
the mode: with τ = Σ_j T_j, the condition for Λ is ``(τ − s)Λ = 0`` with ``s = Σ_j g_j g_j'``. The
total derivative of Laplace's criterion (`pymackay.solve.pirls.criteria.laplace`) is twice the same
expression, with t the movement of the weights, ρ = Z't, ``r = Λ'ρ`` and

    s = Σ_j (g_j g_j' + ½ (ρ_j g_j' + g_j ρ_j')),   Λ'sΛ = Σ_j (u_j u_j' − ½ (r_j u_j' + u_j r_j')),

which has posterior means u − r/2 in the place of the modes, to second order in r. All rules of
`pymackay.solve.loop.rules` use τ and s only, so that they are the same in both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.model.model import Model
from pymackay.solve.loop.rounds import Round, State
from pymackay.solve.loop.terms import TermRound
from pymackay.solve.pirls.criteria.laplace import Point
from pymackay.solve.pirls.rows import Rows

_LEAST = 0.1  # of the means' squares: less of s in a direction is far from any fixed point


@dataclass(frozen=True, eq=False, kw_only=True)
class GeneralRound(Round):
    """One round of a loop on a generalised model.

    Attributes
    ----------
    point : Point
        Laplace's criterion at the state, with β of the round.
    """

    point: Point

    def trace_row(self) -> dict[str, float]:
        """Return the columns of the trace; ``sigma_var`` is the dispersion, 1 where there is none.

        A negative binomial family's estimated shape has a column of its own.
        """
        row = super().trace_row() | {"sigma_var": self.point.given.phi}
        if self.point.laplace.extra == "shape":
            row["shape"] = float(np.exp(self.point.psi[-1]))
        return row


def mode_terms(point: Point, state: State) -> tuple[TermRound, ...]:
    """Return the terms of a round in which the weights are held at the mode (MacKay 1992)."""
    rows, phi = point.laplace.rows, point.given.phi
    g = rows.parts(point.mode.slopes / phi)
    squares = [np.einsum("aj,bj->ab", each, each) for each in g]
    effects = rows.parts(point.given.scaled(point.mode.u))
    return _terms(point, state, squares, effects)


def mean_terms(point: Point, state: State) -> tuple[TermRound, ...]:
    """Return the terms of a round with posterior means in the place of modes.

    Far from the fixed point s may have directions that are not positive; there the squares of the
    means stand for it.
    """
    rows, phi = point.laplace.rows, point.given.phi
    movement = point.movement
    squares = []
    for g, rho in zip(
        rows.parts(point.mode.slopes / phi), rows.parts(movement.by_effects), strict=True
    ):
        means = g + 0.5 * rho
        whole = np.einsum("aj,bj->ab", means, means)
        exact = whole - 0.25 * np.einsum("aj,bj->ab", rho, rho)
        squares.append(exact if _dominates(exact, _LEAST * whole) else whole)
    effects = rows.parts(point.given.scaled(point.mode.u - 0.5 * movement.r))
    return _terms(point, state, squares, effects)


def _dominates(larger: np.ndarray, smaller: np.ndarray) -> bool:
    """Say whether a symmetric matrix, (q, q), is not below another in any direction."""
    return bool(np.linalg.eigvalsh(larger - smaller)[0] >= 0.0)


def _terms(
    point: Point,
    state: State,
    squares: list[np.ndarray],
    effects: list[np.ndarray],
) -> tuple[TermRound, ...]:
    """Return the terms of a round; roots are relative to the state's σ², 1 or the dispersion.

    `squares`, each (q, q), and `effects`, each (q, J), are those of the blocks.
    """
    rows: Rows = point.laplace.rows
    model: Model = rows.model
    made: dict[int, TermRound] = {}
    blocks = zip(rows.blocks, point.determinant.traces(), squares, effects, strict=True)
    for block, traces, s, b in blocks:
        tau = traces.sum(axis=2)
        for k, columns in rows.term_slices(block):
            term = model.terms[k]
            made[k] = TermRound(
                name=term.name,
                group=term.group,
                labels=term.effects,
                root=state.roots[k],
                traces=state.noise_var * tau[columns, columns],
                squares=state.noise_var * s[columns, columns],
                learned=False,
                effects=b[columns].T,
                transform=rows.transforms[k],
                noise_var=state.noise_var,
                y_scale=1.0,
                structure=term.structure,
            )
    return tuple(made[k] for k in range(len(model.terms)))
