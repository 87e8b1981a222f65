"""`Held`: −2 log likelihood with sigma, and one function of the coefficients, as coordinates."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg

from pymackay.solve.deviance import LocalDeviance
from pymackay.solve.marginal.criterion import Marginal, Point, moved


@dataclass(frozen=True, eq=False)
class Held:
    """The deviance of a model, minimised over beta, or over beta with ``l'beta = c``.

    With l the response is ``y − q c``, q = Ql/(l'l), and the columns are QN, N orthonormal to l.

    Attributes
    ----------
    marginal : Marginal
        By maximum likelihood.
    row : numpy.ndarray of shape (p,) or None
        l in the basis of X; None where beta is free.
    """

    marginal: Marginal
    row: np.ndarray | None = None

    def at(self, psi: np.ndarray, log_sigma: float, c: float) -> LocalDeviance:
        """Evaluate at ψ, (P,), at sigma for a response of unit length, and at c.

        It is ``log |V| + n log(2π σ²) + e'V⁻¹e/σ²``, plus constants of weights and scale.

        Raises
        ------
        numpy.linalg.LinAlgError
            If V is not positive definite there.
        """
        marginal, q, N = self._without_row(c)
        profiled, P, nu = marginal.at(psi), len(psi), marginal.nu
        r2, s2 = profiled.r2, float(np.exp(2.0 * log_sigma))
        point = replace(profiled, sigma2=s2)
        gradient, hessian = np.zeros(P + 2), np.zeros((P + 2, P + 2))
        squares = point.sums.squares
        gradient[:P] = point.gradient
        gradient[P] = 2.0 * nu - 2.0 * r2 / s2
        hessian[:P, :P] = point.observed
        hessian[:P, P] = hessian[P, :P] = 2.0 * squares / s2
        hessian[P, P] = 4.0 * r2 / s2
        beta = N @ point.beta
        if self.row is not None:
            value, square, mixed = _along(point, q)
            gradient[P + 1] = -2.0 * value / s2
            hessian[P + 1] = np.concatenate([2.0 * mixed, [4.0 * value, 2.0 * square]]) / s2
            hessian[:, P + 1] = hessian[P + 1]
            beta = beta + self.row * (c / (self.row @ self.row))
        deviance = profiled.criterion + nu * (2.0 * log_sigma - 1.0 - np.log(r2 / nu)) + r2 / s2
        return LocalDeviance(float(deviance), gradient, hessian, beta)

    def _without_row(self, c: float) -> tuple[Marginal, np.ndarray, np.ndarray]:
        """Return the model of the other coefficients, q, (n,), and N, (p, p − 1)."""
        marginal, Q = self.marginal, self.marginal.basis.Q
        if self.row is None:
            return marginal, np.zeros(0), np.eye(Q.shape[1])
        N = scipy.linalg.null_space(self.row[None])
        q = Q @ (self.row / (self.row @ self.row))
        basis = replace(marginal.basis, Q=Q @ N)
        response = replace(marginal.response, residual=marginal.response.residual - q * c)
        return replace(marginal, basis=basis, response=response), q, N


def _along(point: Point, q: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Return ``q'V⁻¹e``, ``q'Pq`` and ``q'PV̇ᵢV⁻¹e``, (P,), of a column q, (n,)."""
    value, square, p = 0.0, 0.0, len(point.beta)
    inner, mixed = np.zeros(p), np.zeros(len(point.psi))
    slopes = point.sums.slopes[:, :-1, -1]
    for batch in point.batches:
        clusters = batch.clusters
        turned = (batch.inverse[clusters.pattern] @ q[clusters.rows][:, :, None])[:, :, 0]
        inner += np.einsum("cm,cmb->b", turned, batch.columns[:, :, :p])
        value += float(np.sum(turned * batch.columns[:, :, p]))
        square += float(np.sum(turned**2))
        mixed += np.einsum("cm,ckm->k", turned, moved(point, batch)[1][..., p])
    return value, square - float(inner @ inner), mixed - slopes @ inner
