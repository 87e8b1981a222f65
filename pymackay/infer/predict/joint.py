"""`JointCovariance`: of beta-hat and of the errors of the predicted effects, together.

`error_variances` is what predictions take from it, for each kind of linear model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np
import scipy.linalg

from pymackay.infer.kinds import by_kind
from pymackay.infer.predict.rows import Rows
from pymackay.infer.problem import dense_gram, problem_of
from pymackay.model.bases.scaling import chunks
from pymackay.model.sums.gram import Block, Gram, sparse_design
from pymackay.results import Fit
from pymackay.solve.assemble import factors_from_theta, living_transforms
from pymackay.solve.exact.eliminated import Eliminated, eliminate_levels

_CELLS = 4_000_000  # of a dense intermediate: rows are taken in chunks of this size


@dataclass(frozen=True, eq=False)
class JointCovariance:
    """Covariance of (b̂ − b, β̂), relative to sigma², as quadratic forms of rows need it.

    It is the inverse of the matrix of the mixed-model equations (Henderson 1975, Biometrics 31),
    with theta taken as known. The whole inverse is never formed: the leading block is eliminated
    for the levels that the rows have, and only the inverse of the remaining equations is held.

    Attributes
    ----------
    gram : Gram
    factors : list of numpy.ndarray, each (q, q)
        Relative factors of the terms.
    Q : numpy.ndarray, shape (m, m)
        Covariance of the other blocks' errors and of beta-hat.
    transforms : tuple of numpy.ndarray, each (q, q)
        Term by term, columns in the user's units to those of `gram`; zero for effects that do
        not vary.
    """

    gram: Gram
    factors: list[np.ndarray]
    Q: np.ndarray
    transforms: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, fit: Fit) -> JointCovariance:
        """Compute it at the theta of `fit`, once for each fit."""
        if fit not in _COMPUTED:
            what = "a standard error of prediction, or a leverage,"
            gram = dense_gram(problem_of(fit, what), what)
            factors = factors_from_theta(gram, fit.theta.to_numpy())
            transforms = tuple(living_transforms(gram, factors))
            _COMPUTED[fit] = cls(gram, factors, Eliminated.at(gram, factors).Q, transforms)
        return _COMPUTED[fit]

    def variances(self, rows: Rows) -> np.ndarray:
        """Return the relative variance of ``x'β̂ + z'(b̂ − b)`` of each row, shape (m,).

        Effects of levels that the model does not have are left out. No value may be missing.
        """
        m = self.Q.shape[0]
        relative = np.empty(len(rows.X))
        for part in chunks(len(relative), max(_CELLS // max(m, 1), 1)):
            relative[part] = self._variances(rows, part)
        return relative

    def _variances(self, rows: Rows, part: slice) -> np.ndarray:
        """Return ``z₁'F_j z₁ + r'Qr``, shape (rows,), with ``r = [z₂ x] − C_j'F_j z₁``.

        F_j, (q, q), and C_j, (q, m), belong to the row's level j of the leading block.
        """
        gram = self.gram
        X = rows.X[part]
        lead, codes = self._block_columns(gram.blocks[0], rows, part)
        levels, place = np.unique(codes, return_inverse=True)
        _, F, _ = eliminate_levels(replace(gram, A=gram.A[levels]), self.factors)
        carried = np.einsum("nq,nqr->nr", lead, F[place])
        fixed = scipy.linalg.solve_triangular(gram.basis.R, X.T, trans="T").T if gram.p else X
        others = (self._block_columns(block, rows, part) for block in gram.blocks[1:])
        designs = [
            sparse_design(columns, code, block.n_levels).toarray()
            for block, (columns, code) in zip(gram.blocks[1:], others, strict=True)
        ]
        rest = np.hstack([*designs, fixed])
        rest = rest - sparse_design(carried, place, len(levels)) @ self._lead_products(levels)
        of_lead = np.einsum("nq,nq->n", carried, lead)
        return of_lead + np.einsum("nm,nm->n", rest @ self.Q, rest)

    def _lead_products(self, levels: np.ndarray) -> np.ndarray:
        """Return C of these levels of the leading block, shape (levels q, m)."""
        C, q = self.gram.C, self.gram.blocks[0].q
        if isinstance(C, np.ndarray):
            return C[levels].reshape(len(levels) * q, -1)[:, :-1]
        return C[(levels[:, None] * q + np.arange(q)).ravel(), :-1].toarray()

    def _block_columns(
        self, block: Block, rows: Rows, part: slice
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the columns of one block in the bases of `gram`, (rows, q), and codes, (rows,).

        A level that the model does not have gets zeros, and the code 0.
        """
        columns = np.zeros((len(rows.X[part]), block.q))
        level = np.full(len(columns), -1)
        slices = dict(self.gram.block_slices(block))
        for term, values, codes in rows.parts():
            if term in slices:
                columns[:, slices[term]] = values[part] @ self.transforms[term]
                level = codes[part]
        columns[level < 0] = 0.0
        return columns, np.maximum(level, 0)


_COMPUTED: WeakKeyDictionary[Fit, JointCovariance] = WeakKeyDictionary()


@by_kind(residual="pymackay.infer.residual.joint:error_variances")
def error_variances(fit: Fit, rows: Rows) -> np.ndarray:
    """Return the variance of ``x'β̂ + z'(b̂ − b)`` of each row, absolute, shape (m,)."""
    return fit.sigma**2 * JointCovariance.of(fit).variances(rows)
