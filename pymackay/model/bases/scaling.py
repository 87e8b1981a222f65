"""Bases in which a model is computed, and which columns of X are independent enough to be kept.

X becomes orthonormal, random columns are whitened, a least-squares fit is taken off the response.

A mixed model does not change when X is replaced by a basis of its column space, when the
columns of an unstructured random term are mixed by an invertible matrix, or when a least-squares
fit on X is taken off the response. Rounding does: answers in these bases keep the digits that raw
units lose (response near 1e12, covariates of size 1e6, powers of a year).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pymackay.covariance.structure import Structure
from pymackay.errors import DataError

TOLERANCE = 1e-7
"""A column is dropped when less than this part of its norm is left; lme4's value."""

_ROWS = 1_048_576  # of a chunk: eight megabytes of numbers
_SMALL = 100_000  # elements under which Householder QR is quicker than two Cholesky passes
_SLANT = 1e-10  # departure of Q'Q from the identity that no answer can feel
_RECOMPUTE = 1e-6  # of a squared norm: what is left below it is computed again, not updated
_SURELY_INDEPENDENT = 1e-6  # squared Cholesky pivot, of scaled columns, that proves full rank


@dataclass(frozen=True, eq=False)
class Basis:
    """Orthonormal basis (to `_SLANT`) of the columns of a matrix, ``columns = Q @ R``.

    Attributes
    ----------
    Q : numpy.ndarray, shape (n, k)
    R : numpy.ndarray, shape (k, k)
        Upper triangular.
    """

    Q: np.ndarray
    R: np.ndarray

    @cached_property
    def log_determinant(self) -> float:
        """The log determinant of ``columns' columns``, log |R'R|."""
        return 2.0 * float(np.log(np.abs(self.R.diagonal())).sum())

    def from_basis(self, coefficients: np.ndarray) -> np.ndarray:
        """Turn coefficients of Q, shape (k, ...), into coefficients of the original columns."""
        return np.linalg.solve(self.R, coefficients)


def fixed_basis(X: np.ndarray) -> Basis:
    """Return a well-conditioned basis of the columns of `X`, shape (n, p), full column rank.

    Small matrices by Householder QR; tall ones by Cholesky QR, repeated where X is so
    ill-conditioned that one pass leaves more than `_SLANT` of slant between the columns of Q
    (Yamamoto et al. 2015, ETNA 44). A pass is one matrix product.
    """
    if X.shape[1] == 0:
        return Basis(X, np.zeros((0, 0)))
    if X.shape[1] == 1 and X.strides[0] == 0:  # one number that all rows share
        length = np.sqrt(len(X)) * np.abs(X[:1])
        return Basis(np.broadcast_to(X[:1] / length, X.shape), length)
    if X.size > _SMALL:
        basis = _cholesky_qr(X)
        if basis is not None:
            return basis
    Q, R = np.linalg.qr(X)
    return Basis(Q, R)


def _cholesky_qr(X: np.ndarray, passes: int = 4) -> Basis | None:
    R, Q = np.eye(X.shape[1]), X
    gram = Q.T @ Q
    for _ in range(passes):
        scale = np.sqrt(gram.diagonal())
        try:
            step = np.linalg.cholesky(gram / np.outer(scale, scale)).T * scale
        except np.linalg.LinAlgError:
            return None
        Q = Q @ np.linalg.inv(step)
        R = step @ R
        # what rounding of the Cholesky factor can leave of Q'Q - I: no need to form it
        pivots = np.abs(step.diagonal()) / scale
        if np.finfo(float).eps * len(gram) / pivots.min() ** 2 < _SLANT:
            return Basis(Q, R)
        gram = Q.T @ Q
    return None


@dataclass(frozen=True, eq=False)
class Response:
    """The response with its least-squares fit on X taken off.

    Attributes
    ----------
    residual : numpy.ndarray, shape (n,)
        Weighted, at unit length.
    scale : float
        Its length before; relative quantities do not depend on it.
    beta : numpy.ndarray, shape (p,)
        Coefficients of the fit that was subtracted, for the user's columns of X.
    """

    residual: np.ndarray
    scale: float
    beta: np.ndarray


def residual_response(
    residual: np.ndarray, X: np.ndarray, root: np.ndarray | None, basis: Basis, name: str
) -> Response:
    """Subtract the least-squares fit on X from a response.

    If the columns of X span a constant, the mean is subtracted first: products with Q would leave
    rounding errors in proportion to the size of the response in every row.

    Parameters
    ----------
    residual : numpy.ndarray, shape (n,)
        The response, offset taken off, user's units. It is overwritten.
    X : numpy.ndarray, shape (n, p)
    root : numpy.ndarray of shape (n,) or None
        Roots of the prior weights.
    basis : Basis
        Of X, rows weighted.
    name : str
        The response's, for the error message.

    Raises
    ------
    DataError
        If X explains the response without residual: no residual variance is left.
    """
    size = float(np.linalg.norm(residual if root is None else residual * root))
    one = np.broadcast_to(1.0, len(residual)) if root is None else root
    along = _along(basis.Q, one)
    center = float(np.mean(residual)) if _carries(basis, one, along) else 0.0
    residual -= center
    if root is not None:
        residual *= root
    first = _take_off(residual, basis.Q)
    second = _take_off(residual, basis.Q)
    length = float(np.sqrt(residual @ residual))
    if not length > 1e-14 * max(size, np.finfo(float).tiny):
        raise DataError(
            f"the response {name!r} is an exact linear function of the fixed effects: "
            f"the residual of the least-squares fit has length {length:.3g}. "
            f"A mixed model needs residual variation; check the response and the formula."
        )
    beta = basis.from_basis(first + second) + center * _constant(X, basis.from_basis(along))
    residual /= length
    return Response(residual, length, beta)


def _carries(basis: Basis, one: np.ndarray, along: np.ndarray) -> bool:
    """Say whether the basis holds the weighted constant, whose coefficients would be `along`."""
    away = max(np.abs(one[rows] - basis.Q[rows] @ along).max() for rows in chunks(len(one)))
    return bool(away < 1e-12 * np.abs(one).max())


def _take_off(values: np.ndarray, Q: np.ndarray) -> np.ndarray:
    """Subtract the projection on Q, ``Q Q' values``, in place; return ``Q' values``."""
    coefficients = _along(Q, values)
    for rows in chunks(len(values)):
        values[rows] -= Q[rows] @ coefficients
    return coefficients


def _along(Q: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return ``Q' values``, shape (k,), for `values` of shape (n,).

    Where Q is one number that all rows share, NumPy's pairwise sum keeps more digits.
    """
    return Q[0] * np.sum(values) if Q.strides[0] == 0 else np.asarray(Q.T @ values)


def _constant(X: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Return the coefficients of X that give the constant 1, exactly where they are integers."""
    rounded = np.round(coefficients)
    exact = all((X[rows] @ rounded == 1.0).all() for rows in chunks(len(X)))
    return rounded if exact else coefficients


def term_basis(columns: np.ndarray, structure: Structure | None = None) -> np.ndarray:
    """Return T, shape (q, q), upper triangular: ``columns @ T`` has unit mean squares, no overlap.

    Columns that depend on each other (allowed in a random term), and those whose effects have a
    covariance with a structure, are scaled only.
    """
    n, q = columns.shape
    rms = _not_zero(np.sqrt(np.einsum("nq,nq->q", columns, columns) / n))
    if structure is not None:
        return structure.scaling(rms)
    if q == 1:
        return np.diag(1.0 / rms)
    scaled = columns / rms
    return _whitening(scaled.T @ scaled / n, rms)


def basis_of_sums(gram: np.ndarray, n: int, structure: Structure | None = None) -> np.ndarray:
    """Return the T of `term_basis` for columns of which only ``columns' columns`` is known.

    Parameters
    ----------
    gram : numpy.ndarray, shape (q, q)
    n : int
        Number of rows.
    structure : Structure, optional
        Of the effects' covariance.
    """
    rms = _not_zero(np.sqrt(gram.diagonal() / n))
    if structure is not None:
        return structure.scaling(rms)
    return _whitening(gram / np.outer(rms, rms) / n, rms)


def _not_zero(rms: np.ndarray) -> np.ndarray:
    return np.where(rms > 0.0, rms, 1.0)


def _whitening(correlation: np.ndarray, rms: np.ndarray) -> np.ndarray:
    """Return T with ``T' diag(rms) correlation diag(rms) T = 1``; only scaled where near singular.

    `correlation` has shape (q, q), `rms` shape (q,).
    """
    try:
        R = np.linalg.cholesky(correlation).T
    except np.linalg.LinAlgError:
        return np.diag(1.0 / rms)
    if len(rms) == 1 or np.abs(R.diagonal()).min() < 1e-6:
        return np.diag(1.0 / rms)
    return np.asarray(np.linalg.inv(R * rms))


def independent_columns(X: np.ndarray, tolerance: float = TOLERANCE) -> np.ndarray:
    """Find the columns that R keeps when it checks the rank of a design.

    Columns are taken from left to right; one whose part orthogonal to those kept before it has
    less than `tolerance` of its norm is passed over.

    Parameters
    ----------
    X : numpy.ndarray, shape (n, p)
    tolerance : float

    Returns
    -------
    numpy.ndarray of int
        Positions of the columns kept, ascending.

    References
    ----------
    The rule is that of dqrdc2, R's variant of LINPACK's dqrdc (Dongarra et al. 1979, LINPACK
    Users' Guide, ch. 9). An orthogonal transformation changes neither norms nor projections, so
    for n > p the rule is applied to the triangular factor of X.

    Examples
    --------
    >>> independent_columns(np.array([[1.0, 2.0, 0.0], [1.0, 2.0, 1.0]])).tolist()
    [0, 2]
    """
    n, p = X.shape
    if p == 0 or (n >= p and surely_full_rank(X)):
        return np.arange(p)
    scaled = _scaled(X)
    reduced = np.array(np.linalg.qr(scaled, mode="r") if n > p else scaled, dtype=np.float64)
    return np.asarray(_keep_from_left(reduced, n, tolerance), dtype=np.intp)


def _scaled(X: np.ndarray) -> np.ndarray:
    """Bring each column near 1 by a power of two: the rule looks at shares of norms only."""
    _, exponents = np.frexp(np.abs(X).max(axis=0, initial=0.0))
    return np.ldexp(X, -exponents)


def surely_full_rank(X: np.ndarray) -> bool:
    """Whether the scaled cross-products alone prove that no column is near dependence.

    Their Cholesky pivots are the squared parts that the rule looks at; rounding moves them by
    far less than the bound, which lies eight orders of magnitude above the squared tolerance.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        products = X.T @ X
    norms = np.sqrt(products.diagonal())
    if not norms.min() > 0.0 or not np.isfinite(products).all():
        return False
    try:
        factor = np.linalg.cholesky(products / np.outer(norms, norms))
    except np.linalg.LinAlgError:
        return False
    return bool(factor.diagonal().min() ** 2 > _SURELY_INDEPENDENT)


def _keep_from_left(a: np.ndarray, n: int, tolerance: float) -> list[int]:
    """Apply the rule to `a`, which is overwritten; `n` is the number of rows of the design."""
    rows, p = a.shape
    norms = np.linalg.norm(a, axis=0)
    original = np.where(norms == 0.0, 1.0, norms)
    kept: list[int] = []
    for j in range(p):
        step = len(kept)
        if step == min(n, p):
            break
        if norms[j] < tolerance * original[j]:
            continue
        kept.append(j)
        if step < n - 1 and step < rows:
            _reflect(a[step:, j:], norms[j + 1 :])
    return kept


def _reflect(block: np.ndarray, norms: np.ndarray) -> None:
    """Reflect the first column of `block` onto its first axis; update the norms of the others.

    A norm is updated by Pythagoras while that is accurate, and recomputed where it is not.
    """
    pivot = block[:, 0]
    length = np.linalg.norm(pivot)
    if length == 0.0 or block.shape[1] == 1:
        return
    direction = pivot / np.copysign(length, pivot[0])
    direction[0] += 1.0
    rest = block[:, 1:]
    rest -= np.outer(direction, direction @ rest / direction[0])
    share = np.zeros_like(norms)
    positive = norms > 0.0
    np.divide(np.abs(rest[0]), norms, out=share, where=positive)
    remaining = np.maximum(1.0 - share**2, 0.0)
    norms *= np.where(positive, np.sqrt(remaining), 1.0)
    again = positive & (remaining < _RECOMPUTE)
    if again.any():
        norms[again] = np.linalg.norm(rest[1:, again], axis=0)


def chunks(n: int, size: int | None = None) -> Iterator[slice]:
    """Yield slices that together are the rows 0 to n, about a million rows each.

    What is computed on the way to a sum or a column stays as small as one of them.

    Examples
    --------
    >>> list(chunks(5, 2))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    step = _ROWS if size is None else size
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))
