"""`ResidualProblem`: a model with a residual structure at its estimates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from pymackay.model.model import Model
from pymackay.solve.assemble import alive, user_factors
from pymackay.solve.marginal.criterion import Marginal, Point

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class ResidualProblem:
    """A model with its criterion and its estimates.

    Attributes
    ----------
    marginal : Marginal
    psi : numpy.ndarray, shape (P,)
        Estimates in the bases computed in.
    """

    marginal: Marginal
    psi: np.ndarray

    @property
    def model(self) -> Model:
        """The model with its rows."""
        return self.marginal.model

    @cached_property
    def point(self) -> Point:
        """The criterion and its derivatives at the estimates."""
        return self.marginal.at(self.psi)

    @cached_property
    def curvature(self) -> np.ndarray:
        """Second derivatives of the deviance, not profiled, by ψ and log σ², (P + 1, P + 1)."""
        point, P = self.point, len(self.psi)
        curvature = np.empty((P + 1, P + 1))
        curvature[:P, :P] = point.observed
        curvature[:P, P] = curvature[P, :P] = point.sums.squares / point.sigma2
        curvature[P, P] = self.marginal.nu
        return curvature

    @cached_property
    def factors(self) -> list[np.ndarray]:
        """Lower factors of G, each (q, q), whitened columns."""
        return [part.factor for part in self.marginal.parts(self.psi)]

    @cached_property
    def users(self) -> list[np.ndarray]:
        """Lower factors of G, each (q, q), the user's columns."""
        return user_factors(self.marginal, self.factors)

    @cached_property
    def weighted(self) -> np.ndarray:
        """V⁻¹[Q B, e], (n, p + 1), coefficients of Q scaled as in `Whitened`."""
        made = np.empty((len(self.model.y), len(self.point.beta) + 1))
        for batch in self.point.batches:
            inverse = batch.inverse[batch.clusters.pattern]
            made[batch.clusters.rows] = inverse.swapaxes(1, 2) @ batch.columns
        return made

    def inverse_factor(self) -> sp.csr_matrix:
        """Return the inverse of the lower factor of V, cluster by cluster, (n, n) sparse."""
        n, data, at, columns = len(self.model.y), [], [], []
        for batch in self.point.batches:
            inverse, rows = batch.inverse[batch.clusters.pattern], batch.clusters.rows
            data.append(inverse.ravel())
            at.append(np.repeat(rows, rows.shape[1], axis=1).ravel())
            columns.append(np.repeat(rows, rows.shape[1], axis=0).ravel())
        places = (np.concatenate(at), np.concatenate(columns))
        return sp.csr_matrix((np.concatenate(data), places), shape=(n, n))

    def effects(self) -> list[np.ndarray]:
        """Return the predicted effects of each term, (J, q), user's units: ``G Z'V⁻¹e``."""
        made = []
        for k, term in enumerate(self.model.terms):
            factor = self.model.factors[term.group]
            moved = self.marginal.columns[k] * self.weighted[:, -1:]
            sums = np.zeros((len(factor.levels), len(term.effects)))
            np.add.at(sums, factor.codes, moved)
            G = self.factors[k] @ self.factors[k].T
            b = sums @ G @ self.marginal.transforms[k].T
            made.append(b * self.marginal.response.scale * alive(self.users[k]))
        return made

    def variances(self, sigma: float, *, with_beta: bool) -> Arrays:
        """Return Var(b̂ − b) by grouping factor, (J, q, q), absolute; `with_beta`: pev.

        It is ``σ² (G − G Z'PZ G)``, with V⁻¹ for P where beta is taken as known.
        """
        made = {}
        for name, factor in self.model.factors.items():
            terms = [k for k, term in enumerate(self.model.terms) if term.group == name]
            Z = np.column_stack([self.marginal.columns[k] for k in terms])
            G = _joined([self.factors[k] @ self.factors[k].T for k in terms])
            pairs = [alive(self.users[k])[:, None] * self.marginal.transforms[k] for k in terms]
            T, J = _joined(pairs), len(factor.levels)
            inner = self._squares(Z, factor.codes, J)
            if with_beta:
                along = np.zeros((J, Z.shape[1], len(self.point.beta)))
                np.add.at(along, factor.codes, Z[:, :, None] * self.weighted[:, None, :-1])
                inner -= along @ along.swapaxes(1, 2)
            made[name] = sigma**2 * (T @ (G - G @ inner @ G) @ T.T)
        return made

    def _squares(self, Z: np.ndarray, codes: np.ndarray, J: int) -> np.ndarray:
        """Return ``Z_j'V⁻¹Z_j`` of each level, (J, q, q)."""
        sums = np.zeros((J, Z.shape[1], Z.shape[1]))
        for batch in self.point.batches:
            inverse, rows = batch.inverse[batch.clusters.pattern], batch.clusters.rows
            here = codes[rows]
            same = here[:, :, None] == here[:, None, :]
            moved = ((inverse.swapaxes(1, 2) @ inverse) * same) @ Z[rows]
            np.add.at(sums, here, Z[rows][..., :, None] * moved[..., None, :])
        return sums

    def blocks(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return rows, (c, m), and lower factors of R, (c, m, m), relative to sigma²."""
        own, structure = self.psi[self.marginal.n_theta :], self.marginal.residual.structure
        made = []
        for clusters in self.marginal.clusters:
            R = structure.blocks(own, clusters.strata, clusters.times) * clusters.same
            made.append((clusters.rows, np.linalg.cholesky(R)[clusters.pattern]))
        return made


def _joined(matrices: list[np.ndarray]) -> np.ndarray:
    """Put square matrices on the diagonal of one."""
    size = sum(len(matrix) for matrix in matrices)
    whole, start = np.zeros((size, size)), 0
    for matrix in matrices:
        stop = start + len(matrix)
        whole[start:stop, start:stop] = matrix
        start = stop
    return whole
