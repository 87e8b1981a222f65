"""`JointCovariance`: of beta-hat and of the errors of the predicted effects, together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from pymackay.infer.predict.rows import Rows
from pymackay.infer.problem import dense_gram, problem_of
from pymackay.model.bases.scaling import chunks
from pymackay.model.sums.gram import Block, Gram, sparse_design
from pymackay.results import Fit
from pymackay.solve.assemble import factors_from_theta, living_transforms
from pymackay.solve.exact.eliminated import Eliminated

_CELLS = 4_000_000  # of a dense intermediate: rows are taken in chunks of this size


@dataclass(frozen=True, eq=False)
class JointCovariance:
    """Covariance of (b̂ − b, β̂), relative to sigma², as quadratic forms of rows need it.

    It is the inverse of the mixed-model equations' matrix (Henderson 1975, Biometrics 31), with
    theta taken as known. It is never written out: the leading block is eliminated level by level,
    and only the inverse of what remains is held.

    Attributes
    ----------
    gram : Gram
    F : numpy.ndarray, shape (J, q, q)
        Of the leading block: ``Λ (I + Λ'Z_j'Z_jΛ)⁻¹ Λ'``.
    C : scipy.sparse.csr_matrix, shape (J q, m)
        The leading block's cross-products with all other columns but the response.
    Q : numpy.ndarray, shape (m, m)
        Covariance of the other blocks' errors and of beta-hat.
    transforms : tuple of numpy.ndarray, each (q, q)
        Term by term, columns in the user's units to those of `gram`; zero for effects that do
        not vary.
    """

    gram: Gram
    F: np.ndarray
    C: sp.csr_matrix
    Q: np.ndarray
    transforms: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, fit: Fit) -> JointCovariance:
        """Compute it at the theta of `fit`."""
        what = "a standard error of prediction, or a leverage,"
        gram = dense_gram(problem_of(fit, what), what)
        factors = factors_from_theta(gram, fit.theta.to_numpy())
        equations = Eliminated.at(gram, factors)
        C = sp.csr_matrix(gram.C.reshape(gram.blocks[0].size, -1))
        return cls(
            gram=gram,
            F=equations.F,
            C=C[:, :-1],
            Q=equations.Q,
            transforms=tuple(living_transforms(gram, factors)),
        )

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
        gram = self.gram
        X = rows.X[part]
        designs = [self._block_design(block, rows, part) for block in gram.blocks]
        lead = designs[0]
        carried = lead @ sp.bsr_matrix(
            (self.F, np.arange(len(self.F)), np.arange(len(self.F) + 1)), shape=(lead.shape[1],) * 2
        )
        fixed = scipy.linalg.solve_triangular(gram.basis.R, X.T, trans="T").T if gram.p else X
        rest = np.hstack([*(Z.toarray() for Z in designs[1:]), fixed])
        rest = rest - (carried @ self.C).toarray()
        own = np.asarray(carried.multiply(lead).sum(axis=1)).ravel()
        return own + np.einsum("nm,nm->n", rest @ self.Q, rest)

    def _block_design(self, block: Block, rows: Rows, part: slice) -> sp.csr_matrix:
        """Return Z of one block in the bases of `gram`, shape (rows, J q)."""
        columns = np.zeros((len(rows.X[part]), block.q))
        level = np.full(len(columns), -1)
        slices = dict(self.gram.block_slices(block))
        for term, own, codes in rows.parts():
            if term in slices:
                columns[:, slices[term]] = own[part] @ self.transforms[term]
                level = codes[part]
        columns[level < 0] = 0.0
        return sparse_design(columns, np.maximum(level, 0), block.n_levels)
