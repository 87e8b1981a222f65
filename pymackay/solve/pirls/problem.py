"""`GeneralProblem`: a generalised model at its estimates, and what else is known there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pymackay.model.model import Model
from pymackay.solve.assemble import alive, user_factors
from pymackay.solve.pirls.criteria.laplace import Laplace, Point


@dataclass(frozen=True, eq=False)
class GeneralProblem:
    """A generalised model with its criterion and its estimates.

    Attributes
    ----------
    laplace : Laplace
    psi : numpy.ndarray, shape (P,)
        Estimates in the bases computed in.
    nagq : int or str
    """

    laplace: Laplace
    psi: np.ndarray
    nagq: int | str = 1

    @classmethod
    def at(cls, point: Point, nagq: int | str) -> GeneralProblem:
        """Return the problem at a point whose modes are known.

        Its criterion does not keep the effects that the search began at: it may be given other
        rows, which have other effects.
        """
        point = point.closed()
        made = cls(point.laplace.without_effects(), point.psi, nagq)
        made.__dict__["point"] = point
        return made

    @property
    def model(self) -> Model:
        """The model with its rows."""
        return self.laplace.rows.model

    @cached_property
    def point(self) -> Point:
        """Modes and derivatives at the estimates."""
        return self.laplace.at(self.psi)

    def condvar(self, scale: float = 1.0) -> dict[str, np.ndarray]:
        """Return Var(b | y, β) by Laplace's approximation, by grouping factor, (J, q, q).

        `scale` is lme4's sigma² where it multiplies variances by it.
        """
        return self._by_group(self.point.determinant.level_covariances(), scale)

    def pev(self, vcov: np.ndarray) -> dict[str, np.ndarray]:
        """Return `condvar` with the uncertainty of β, vcov of shape (p, p), user's units.

        Nan where the standard errors are not known.
        """
        rows = self.laplace.rows
        moves = self.point.given.scaled(self.point.curvature.mode_slopes[:, : rows.p])
        known = np.isfinite(vcov).all()
        root = rows.basis.R @ (np.linalg.cholesky(vcov) if known and rows.p else vcov)
        moved = rows.parts(moves @ root)
        pairs = zip(self.point.determinant.level_covariances(), moved, strict=True)
        return self._by_group([C + np.einsum("ajp,bjp->abj", m, m) for C, m in pairs], 1.0)

    def _by_group(self, blocks: list[np.ndarray], scale: float) -> dict[str, np.ndarray]:
        """Return covariances of whitened effects, (q, q, J) by block, in the user's units."""
        rows = self.laplace.rows
        elements = self.psi[rows.p : rows.p + rows.n_theta]
        users = user_factors(rows, rows.term_factors(elements))
        made = {}
        for block, covariance in zip(rows.blocks, blocks, strict=True):
            T = np.zeros((block.q, block.q))
            for term, columns in rows.term_slices(block):
                T[columns, columns] = alive(users[term])[:, None] * rows.transforms[term]
            made[block.name] = scale * np.einsum("ab,bcj,dc->jad", T, covariance, T)
        return {name: made[name] for name in self.model.factors}

    def effects(self) -> list[np.ndarray]:
        """Return the modes of each term's effects, (J, q), user's units."""
        return term_effects(self.point)


def term_effects(point: Any) -> list[np.ndarray]:
    """Return the effects of each term at a point's mode, (J, q), user's units."""
    return in_units(point, point.given.scaled(point.mode.u))


def in_units(point: Any, whitened: np.ndarray) -> list[np.ndarray]:
    """Return whitened effects, (N,), of each term in the user's units, (J, q)."""
    rows = point.laplace.rows
    elements = point.psi[rows.p : rows.p + rows.n_theta]
    users = user_factors(rows, rows.term_factors(elements))
    made: list[np.ndarray] = [np.zeros((0, 0))] * len(rows.layouts)
    for block, b in zip(rows.blocks, rows.parts(whitened), strict=True):
        for term, columns in rows.term_slices(block):
            mixed = b[columns].T @ rows.transforms[term].T
            made[term] = mixed * alive(users[term])
    return made
