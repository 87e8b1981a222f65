"""The ML deviance with its derivatives: by G, log sigma, and the value of one function of beta."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.model.sums.gram import Gram
from pymackay.solve.exact.derivatives import Derivatives, differentiate


@dataclass(frozen=True, eq=False)
class LocalDeviance:
    """Value and derivatives at one point, by (G's elements in theta's order, log sigma, c).

    Attributes
    ----------
    value : float
        −2 log likelihood, all constants included, user's units.
    gradient : numpy.ndarray, shape (m + 2,)
    hessian : numpy.ndarray, shape (m + 2, m + 2)
    beta : numpy.ndarray, shape (p,)
        The best coefficients in the orthonormal basis, where ``l'beta = c``.
    """

    value: float
    gradient: np.ndarray
    hessian: np.ndarray
    beta: np.ndarray


class Deviance:
    """−2 log likelihood, maximised over beta, or over beta with ``l'beta = c``.

    Parameters
    ----------
    gram : Gram
    row : numpy.ndarray of shape (p,) or None
        l in the orthonormal basis of X; None where beta is free.
    """

    def __init__(self, gram: Gram, row: np.ndarray | None = None) -> None:
        self.gram = gram
        self.row = row

    def at(self, factors: list[np.ndarray], log_sigma: float, c: float = 0.0) -> LocalDeviance:
        """Evaluate at relative factors of the whitened columns and log sigma, y at unit length."""
        gram, m = self.gram, self.gram.n_theta
        local = differentiate(gram, factors, reml=False)
        precision = np.exp(-2.0 * log_sigma)
        r2, slope, bend, beta = self._residual(local, c)
        gradient = np.append(np.append(local.traces, 2.0 * gram.n), 0.0)
        hessian = np.zeros((m + 2, m + 2))
        hessian[:m, :m] = -local.trace_products
        inner = [*range(m), m + 1]
        gradient[inner] += precision * slope
        hessian[np.ix_(inner, inner)] += precision * bend
        gradient[m] -= 2.0 * precision * r2
        hessian[m, m] = 4.0 * precision * r2
        hessian[m, inner] = hessian[inner, m] = -2.0 * precision * slope
        constant = np.log(2.0 * np.pi) + 2.0 * log_sigma + 2.0 * np.log(gram.y_scale)
        value = local.logdet + gram.n * constant + precision * r2 - gram.log_weights
        return LocalDeviance(float(value), gradient, hessian, beta)

    def _residual(
        self, local: Derivatives, c: float
    ) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
        """Return the residual sum of squares, its derivatives by (G, c), and beta.

        With beta bound to ``l'beta = c`` it is ``y'Py + u²/v``, u = c − l'beta̲, v = l'Φl.
        """
        m = len(local.traces)
        slope, bend = np.zeros(m + 1), np.zeros((m + 1, m + 1))
        both = local.products + local.products.transpose(1, 0, 2, 3)
        slope[:m] = -local.slopes[:, -1, -1]
        bend[:m, :m] = both[:, :, -1, -1]
        if self.row is None:
            return local.r2, slope, bend, local.beta
        row, Phi_l = self.row, local.precision_inverse @ self.row
        u, v = c - float(row @ local.beta), float(row @ Phi_l)
        du = np.append(local.slopes[:, :-1, -1] @ row, 1.0)
        dv = np.append(np.einsum("a,iab,b->i", row, local.slopes[:, :-1, :-1], row), 0.0)
        ddu, ddv = np.zeros((m + 1, m + 1)), np.zeros((m + 1, m + 1))
        ddu[:m, :m] = -both[:, :, :-1, -1] @ row
        ddv[:m, :m] = -np.einsum("a,ijab,b->ij", row, both[:, :, :-1, :-1], row, optimize=True)
        e = du - u / v * dv
        slope += u / v * (2.0 * du - u / v * dv)
        bend += 2.0 / v * np.outer(e, e) + 2.0 * u / v * ddu - (u / v) ** 2 * ddv
        return local.r2 + u * u / v, slope, bend, local.beta + Phi_l * (u / v)
