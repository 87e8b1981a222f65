"""Quantities computed by solves without probes: beta, random effects, average information."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.solve.iterative.equations import Equations, block_times, is_regular


@dataclass(frozen=True, eq=False)
class Means:
    """Solutions of the mixed-model equations for the columns of Q, the basis of X, and y.

    Attributes
    ----------
    u : numpy.ndarray, shape (size, p + 1)
        ``S⁻¹ Λ₂' Z₂'V₁⁻¹ [Q, y]``, from which the solves at the next theta start.
    beta : numpy.ndarray, shape (p,)
    precision_inverse : numpy.ndarray, shape (p, p)
        ``(Q'V⁻¹Q)⁻¹``.
    logdet_x : float
        ``log |Q'V⁻¹Q|``.
    r2 : float
        ``y'Py``.
    columns : list of numpy.ndarray, each (J q, p + 1)
        ``G Z'V⁻¹ [Q, y]``, block by block: predicted random effects, each column as the response.
    images : list of numpy.ndarray, each (J q, p + 1)
        ``Z'V⁻¹ [Q, y]``, block by block.
    iterations : int
        Of conjugate gradients.
    """

    u: np.ndarray
    beta: np.ndarray
    precision_inverse: np.ndarray
    logdet_x: float
    r2: float
    columns: list[np.ndarray]
    images: list[np.ndarray]
    iterations: int

    @property
    def remainder(self) -> np.ndarray:
        """Coefficients of ``y − Q beta`` as a combination of [Q, y], shape (p + 1,)."""
        return np.append(-self.beta, 1.0)

    def effects(self, block: int, q: int) -> np.ndarray:
        """Return the predicted random effects of a block, shape (J, q)."""
        return (self.columns[block] @ self.remainder).reshape(-1, q)

    def projected(self, block: int, q: int) -> np.ndarray:
        """Return ``Z'Py`` of a block, shape (J, q)."""
        return (self.images[block] @ self.remainder).reshape(-1, q)


def solve_means(
    equations: Equations, start: np.ndarray | None, tolerance: float, most: int
) -> Means:
    """Solve for every column of [Q, y].

    With ``K = Z₂'V₁⁻¹[Q, y]``, the effects of the other blocks are ``Λ₂S⁻¹Λ₂'K``, and
    ``[Q, y]'V⁻¹[Q, y] = [Q, y]'V₁⁻¹[Q, y] − K'Λ₂S⁻¹Λ₂'K``.

    Parameters
    ----------
    equations : Equations
    start : numpy.ndarray, shape (size, p + 1), or None
        `Means.u` of an earlier theta.
    tolerance, most
        As in `conjugate_gradients`.
    """
    gram, couplings = equations.gram, equations.couplings
    lead, rest = gram.dense[0], np.concatenate(gram.dense[1:])
    eliminated = equations.eliminate(lead)
    K = rest - couplings.from_lead(eliminated)
    solution = equations.solve(equations.scale(K, transposed=True), start, tolerance, most)
    b_rest = equations.scale(solution.x)
    remainder = lead - couplings.to_lead(b_rest)
    b_lead = equations.eliminate(remainder)
    products = gram.dense_gram - lead.T @ eliminated - K.T @ b_rest
    products = 0.5 * (products + products.T)
    p = gram.p
    inverse = np.linalg.inv(products[:p, :p])
    beta = inverse @ products[:p, p]
    images = _images(equations, solution.x, remainder, b_lead, b_rest)
    return Means(
        u=solution.x,
        beta=beta,
        precision_inverse=inverse,
        logdet_x=float(np.linalg.slogdet(products[:p, :p])[1]),
        r2=float(products[p, p] - products[p, :p] @ beta),
        columns=[b_lead, *(b_rest[span] for span in couplings.slices)],
        images=images,
        iterations=solution.iterations,
    )


def _images(
    equations: Equations, u: np.ndarray, remainder: np.ndarray, lead: np.ndarray, rest: np.ndarray
) -> list[np.ndarray]:
    """Return ``Z'V⁻¹ [Q, y]`` by block: ``Λ⁻ᵀ u`` where Λ is regular, else ``Z'[Q, y] − Z'Z b``.

    Parameters
    ----------
    u : numpy.ndarray, shape (size, p + 1)
    remainder : numpy.ndarray, shape (J q, p + 1)
        ``Z₁'([Q, y] − Z₂ b₂)``.
    lead, rest : numpy.ndarray, shapes (J q, p + 1) and (size, p + 1)
        b₁ and b₂, the effects of the leading block and of the others, of each column.
    """
    couplings = equations.couplings
    images = [block_times(equations.N, remainder)]
    direct = None
    for factor, span in zip(equations.factors[1:], couplings.slices, strict=True):
        if is_regular(factor):
            q = len(factor)
            inverse = np.linalg.inv(factor).T
            images.append(
                np.matmul(inverse, u[span].reshape(-1, q, u.shape[1])).reshape(-1, u.shape[1])
            )
            continue
        if direct is None:
            dense = np.concatenate(equations.gram.dense[1:])
            direct = dense - couplings.among(rest) - couplings.from_lead(lead)
        images.append(direct[span])
    return images


def quadratic_products(
    equations: Equations,
    means: Means,
    working: list[np.ndarray],
    start: np.ndarray | None,
    tolerance: float,
    most: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return ``(Z f_i)'P(Z f_j)``, (m, m), of all pairs of working effects, and S⁻¹Λ₂'Z₂'V₁⁻¹Zf.

    P is applied as ``V₁⁻¹ − V₁⁻¹Z₂Λ₂S⁻¹Λ₂'Z₂'V₁⁻¹`` less the part of the fixed effects.

    Parameters
    ----------
    working : list of numpy.ndarray, each (J q, m_k)
        Effects on one block, which are zero on all others, block by block.
    start : numpy.ndarray, shape (size, m), or None
        The second value returned at an earlier theta.
    tolerance, most
        As in `conjugate_gradients`.
    """
    gram, couplings, p = equations.gram, equations.couplings, equations.gram.p
    counts = [part.shape[1] for part in working]
    stops = np.cumsum(counts)
    total = int(stops[-1])
    f_rest = np.zeros((couplings.size, total))
    for part, span, stop in zip(working[1:], couplings.slices, stops[1:], strict=True):
        f_rest[span, stop - part.shape[1] : stop] = part
    f_lead = np.zeros((len(working[0]), total))
    f_lead[:, : counts[0]] = working[0]
    lead = couplings.to_lead(f_rest)
    lead[:, : counts[0]] += block_times(gram.diagonals[0], working[0])
    rest = couplings.among(f_rest)
    rest[:, : counts[0]] += couplings.from_lead(working[0])
    information = f_lead.T @ lead + f_rest.T @ rest
    fixed = f_lead.T @ gram.dense[0][:, :p] + f_rest.T @ np.concatenate(gram.dense[1:])[:, :p]
    eliminated = equations.eliminate(lead)
    K = rest - couplings.from_lead(eliminated)
    x = equations.solve(equations.scale(K, transposed=True), start, tolerance, most).x
    information = information - lead.T @ eliminated - K.T @ equations.scale(x)
    b_fixed = np.concatenate([part[:, :p] for part in means.columns[1:]])
    fixed = fixed - eliminated.T @ gram.dense[0][:, :p] - K.T @ b_fixed
    information = information - fixed @ means.precision_inverse @ fixed.T
    return 0.5 * (information + information.T), x
