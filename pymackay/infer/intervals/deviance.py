"""`Deviance`: −2 log likelihood, minimised over beta, with its derivatives."""

from __future__ import annotations

import numpy as np

from pymackay.model.sums.gram import Gram
from pymackay.solve.deviance import LocalDeviance
from pymackay.solve.exact.derivatives import Derivatives, differentiate


class Deviance:
    """−2 log likelihood, minimised over beta, or over beta with ``l'beta = c``.

    Parameters
    ----------
    gram : Gram
        Without structures: they enter by the chain rule (`pymackay.infer.intervals.profile_path`).
    row : numpy.ndarray of shape (p,) or None
        l in the orthonormal basis of X; None where beta is free.
    """

    def __init__(self, gram: Gram, row: np.ndarray | None = None) -> None:
        self.gram = gram
        self.row = row

    def at(self, factors: list[np.ndarray], log_sigma: float, c: float = 0.0) -> LocalDeviance:
        """Evaluate the deviance and its derivatives.

        With V = I + ZGZ', the deviance is ``log |V| + n log(2π σ²) + r² / σ²``, plus constants of
        the weights and of the response's scale; r² is the residual sum of squares of `_residual`.

        Parameters
        ----------
        factors : list of numpy.ndarray, each (q, q)
            Relative factors of the whitened columns.
        log_sigma : float
            For a response of unit length.
        c : float
        """
        gram, m = self.gram, self.gram.n_theta
        local = differentiate(gram, factors, reml=False)
        precision = np.exp(-2.0 * log_sigma)
        r2, slope, bend, beta = self._residual(local, c)
        gradient = np.append(np.append(local.traces, 2.0 * gram.n), 0.0)
        hessian = np.zeros((m + 2, m + 2))
        hessian[:m, :m] = -local.trace_products
        not_sigma = [*range(m), m + 1]
        gradient[not_sigma] += precision * slope
        hessian[np.ix_(not_sigma, not_sigma)] += precision * bend
        gradient[m] -= 2.0 * precision * r2
        hessian[m, m] = 4.0 * precision * r2
        hessian[m, not_sigma] = hessian[not_sigma, m] = -2.0 * precision * slope
        constant = np.log(2.0 * np.pi) + 2.0 * log_sigma + 2.0 * np.log(gram.y_scale)
        value = local.logdet + gram.n * constant + precision * r2 - gram.log_weights
        return LocalDeviance(float(value), gradient, hessian, beta)

    def _residual(
        self, local: Derivatives, c: float
    ) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
        """Return r², its gradient, (m + 1,), its Hessian by (G, c), and beta, (p,).

        Without a constraint r² is y'Py. With ``l'beta = c`` it is ``y'Py + u²/v``, where
        u = c − l'beta̲ for the free estimate beta̲, v = l'Φl, and Φ = (X'V⁻¹X)⁻¹.
        """
        m = len(local.traces)
        slope, bend = np.zeros(m + 1), np.zeros((m + 1, m + 1))
        symmetric = local.products + local.products.transpose(1, 0, 2, 3)
        slope[:m] = -local.slopes[:, -1, -1]
        bend[:m, :m] = symmetric[:, :, -1, -1]
        if self.row is None:
            return local.r2, slope, bend, local.beta
        row, Phi_l = self.row, local.precision_inverse @ self.row
        u, v = c - float(row @ local.beta), float(row @ Phi_l)
        du = np.append(local.slopes[:, :-1, -1] @ row, 1.0)
        dv = np.append(np.einsum("a,iab,b->i", row, local.slopes[:, :-1, :-1], row), 0.0)
        ddu, ddv = np.zeros((m + 1, m + 1)), np.zeros((m + 1, m + 1))
        ddu[:m, :m] = -symmetric[:, :, :-1, -1] @ row
        ddv[:m, :m] = -np.einsum("a,ijab,b->ij", row, symmetric[:, :, :-1, :-1], row, optimize=True)
        e = du - u / v * dv
        slope += u / v * (2.0 * du - u / v * dv)
        bend += 2.0 / v * np.outer(e, e) + 2.0 * u / v * ddu - (u / v) ** 2 * ddv
        return local.r2 + u * u / v, slope, bend, local.beta + Phi_l * (u / v)
