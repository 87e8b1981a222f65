"""`Marginal`: the criterion of a model with a residual structure, and `Point`, its value at ψ.

With P = V⁻¹ − V⁻¹Q(Q'V⁻¹Q)⁻¹Q'V⁻¹ (REML) and e = r − Qβ, the criterion profiled over σ² has

- gradient ``tr(P V̇ᵢ) − e'V⁻¹V̇ᵢV⁻¹e/σ²``,
- curvature ``tr(P V̈ᵢⱼ) − e'V⁻¹V̈ᵢⱼV⁻¹e/σ² − tr(P V̇ᵢP V̇ⱼ) + 2 y'PV̇ᵢPV̇ⱼPy/σ² − sᵢsⱼ/(ν σ⁴)``,

sᵢ = e'V⁻¹V̇ᵢV⁻¹e; under ML the traces have V⁻¹ for P (Gilmour, Thompson & Cullis 1995, Biometrics
51, eqs. 4 to 8). A cluster's matrices are multiplied by the inverse of its Cholesky factor on both
sides, so that V⁻¹ is the identity there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pymackay.covariance.layout import TermLayout, layouts_of
from pymackay.model.bases.scaling import Basis, Response, fixed_basis, residual_response, term_basis
from pymackay.model.model import Model
from pymackay.model.residual_rows import ResidualRows
from pymackay.solve.marginal.clusters import Clusters, find_clusters
from pymackay.solve.marginal.random_part import TermPart
from pymackay.solve.pirls.criteria.curvature import Curvature
from pymackay.solve.solver import NoDigits, least_residual

_MOST = 1e150  # of the sum of squares at unit length: its square is a number


@dataclass(frozen=True, eq=False)
class Marginal:
    """The criterion of a model.

    Attributes
    ----------
    model : Model
    residual : ResidualRows
    reml : bool
    clusters : tuple of Clusters
    basis : Basis
        Of X, rows weighted.
    response : Response
    layouts : tuple of TermLayout
    transforms : tuple of numpy.ndarray, each (q, q)
        Term by term, effects in the user's units are these times those computed.
    columns : tuple of numpy.ndarray, each (n, q)
        Whitened, weighted columns of each random term.
    """

    model: Model
    residual: ResidualRows
    reml: bool
    clusters: tuple[Clusters, ...]
    basis: Basis
    response: Response
    layouts: tuple[TermLayout, ...]
    transforms: tuple[np.ndarray, ...]
    columns: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, model: Model, residual: ResidualRows, *, reml: bool) -> Marginal:
        """Return the criterion of a model.

        Raises
        ------
        ArgumentError
            If too many rows correlate.
        DataError
            If X explains the response without residual.
        """
        root = None if model.weights is None else np.sqrt(model.weights)
        X = model.X if root is None else model.X * root[:, None]
        basis = fixed_basis(X)
        y = model.y.copy() if model.offset is None else model.y - model.offset
        raw = [t.columns if root is None else t.columns * root[:, None] for t in model.terms]
        transforms = tuple(
            term_basis(columns, term.structure)
            for columns, term in zip(raw, model.terms, strict=True)
        )
        return cls(
            model=model,
            residual=residual,
            reml=reml,
            clusters=find_clusters(model, residual),
            basis=basis,
            response=residual_response(y, model.X, root, basis, model.response),
            layouts=layouts_of(model.terms),
            transforms=transforms,
            columns=tuple(c @ T for c, T in zip(raw, transforms, strict=True)),
        )

    @property
    def n_theta(self) -> int:
        """Number of parameters of the random terms."""
        return self.layouts[-1].stop if self.layouts else 0

    @property
    def nu(self) -> int:
        """What σ² is divided by: n − p under REML, n under ML."""
        return len(self.model.y) - self.model.X.shape[1] * self.reml

    def parts(self, psi: np.ndarray) -> list[TermPart]:
        """Return the random terms at ψ."""
        return [TermPart(layout, psi[layout.start : layout.stop]) for layout in self.layouts]

    def at(self, psi: np.ndarray, u: np.ndarray | None = None) -> Point:
        """Evaluate at ψ, (P,).

        Raises
        ------
        numpy.linalg.LinAlgError
            If V is not positive definite there.
        """
        return Point.of(self, psi)

    def with_mode(self, psi: np.ndarray, u: np.ndarray) -> Point:
        """Evaluate at ψ, as `at`: there is no mode to search for."""
        return Point.of(self, psi)


@dataclass(frozen=True, eq=False)
class Whitened:
    """One batch of clusters at ψ.

    Attributes
    ----------
    clusters : Clusters
    inverse : numpy.ndarray, shape (u, m, m)
        Of the lower Cholesky factors of V.
    columns : numpy.ndarray, shape (c, m, p + 1)
        Q, its coefficients scaled so that Q'V⁻¹Q is the identity, and e, times the inverse.
    """

    clusters: Clusters
    inverse: np.ndarray
    columns: np.ndarray


@dataclass(frozen=True, eq=False)
class Point:
    """The criterion at ψ.

    Attributes
    ----------
    marginal : Marginal
    psi : numpy.ndarray, shape (P,)
    criterion : float
        All constants included, user's units.
    sigma2 : float
        Of the response at unit length.
    beta : numpy.ndarray, shape (p,)
        Coefficients of Q.
    root : numpy.ndarray, shape (p, p)
        B with ``B B' = (Q'V⁻¹Q)⁻¹``.
    batches : tuple of Whitened
    """

    marginal: Marginal
    psi: np.ndarray
    criterion: float
    sigma2: float
    beta: np.ndarray
    root: np.ndarray
    batches: tuple[Whitened, ...]
    noise = 0.0
    start = np.zeros(0)

    @classmethod
    def of(cls, marginal: Marginal, psi: np.ndarray) -> Point:
        """Evaluate; see `Marginal.at`."""
        D = np.column_stack([marginal.basis.Q, marginal.response.residual])
        p, n, nu = D.shape[1] - 1, len(D), marginal.nu
        sums, logdet, whitened = np.zeros((p + 1, p + 1)), -_log_weights(marginal), []
        for clusters in marginal.clusters:
            factor = np.linalg.cholesky(covariances(marginal, clusters, psi))
            inverse = np.tril(np.linalg.inv(factor))
            columns = inverse[clusters.pattern] @ D[clusters.rows]
            logs = np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
            logdet += 2.0 * float(clusters.counts @ logs)
            flat = columns.reshape(-1, p + 1)
            sums += flat.T @ flat
            whitened.append((clusters, inverse, columns))
        upper = np.linalg.cholesky(sums[:p, :p]).T
        root = np.linalg.inv(upper)
        beta = root @ (root.T @ sums[:p, p])
        turn = np.zeros((p + 1, p + 1))
        turn[:p, :p], turn[:p, p], turn[p, p] = root, -beta, 1.0
        batches = tuple(Whitened(c, inverse, columns @ turn) for c, inverse, columns in whitened)
        r2 = float(sum(np.sum(batch.columns[:, :, p] ** 2) for batch in batches))
        if not least_residual(n) < r2 < _MOST:
            raise NoDigits("hardly a residual is left at these parameters")
        value = logdet + nu * (
            1.0 + np.log(2.0 * np.pi * r2 / nu) + 2.0 * np.log(marginal.response.scale)
        )
        if marginal.reml:
            value += 2.0 * np.log(np.diag(upper)).sum() + marginal.basis.log_determinant
        return cls(marginal, psi, float(value), r2 / nu, beta, root, batches)

    @property
    def r2(self) -> float:
        """Sum of squares e'V⁻¹e."""
        return self.sigma2 * self.marginal.nu

    @cached_property
    def sums(self) -> Sums:
        """The sums that derivatives are made of."""
        made = Sums.zeros(len(self.psi), len(self.beta) + 1)
        for batch in self.batches:
            _add_batch(made, self, batch)
        fixed, mixed = made.slopes[:, :-1, :-1], made.slopes[:, :-1, -1]
        if self.marginal.reml:
            made.products[...] += np.einsum("iab,jab->ij", fixed, fixed)
        made.quadratics[...] -= mixed @ mixed.T
        return made

    @cached_property
    def gradient(self) -> np.ndarray:
        """First derivatives of the criterion by ψ, (P,)."""
        return self.sums.traces - self.sums.squares / self.sigma2

    @cached_property
    def curvature(self) -> Curvature:
        """Second derivatives of the criterion by ψ, exact."""
        s = self.sums.squares
        profile = np.outer(s, s) / (self.marginal.nu * self.sigma2**2)
        return Curvature(self.observed - profile, np.zeros((0, len(s))))

    def second_derivatives(self) -> np.ndarray:
        """Return them, (P, P): those of `curvature` are exact."""
        return self.curvature.hessian

    def fixed_products(self) -> np.ndarray:
        """Return ``Q'V⁻¹V̇ᵢV⁻¹V̇ⱼV⁻¹Q``, (P, P, p, p), coefficients of Q scaled (`Whitened`)."""
        P, p = len(self.psi), len(self.beta)
        made = np.zeros((P * p, P * p))
        for batch in self.batches:
            G = moved(self, batch)[1][..., :p]
            flat = np.moveaxis(G, 1, 2).reshape(-1, P * p)
            made += flat.T @ flat
        return made.reshape(P, p, P, p).swapaxes(1, 2)

    @property
    def observed(self) -> np.ndarray:
        """Second derivatives by ψ at fixed σ², (P, P)."""
        return self.sums.bends - self.sums.products + 2.0 * self.sums.quadratics / self.sigma2


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over clusters; P stands for V⁻¹ in traces under ML.

    Attributes
    ----------
    traces : numpy.ndarray, shape (P,)
        ``tr(P V̇ᵢ)``.
    slopes : numpy.ndarray, shape (P, p + 1, p + 1)
        ``[Q, e]'V⁻¹V̇ᵢV⁻¹[Q, e]``, coefficients of Q scaled (`Whitened`).
    products : numpy.ndarray, shape (P, P)
        ``tr(P V̇ᵢP V̇ⱼ)``.
    quadratics : numpy.ndarray, shape (P, P)
        ``y'PV̇ᵢPV̇ⱼPy``.
    bends : numpy.ndarray, shape (P, P)
        ``tr(S V̈ᵢⱼ)`` with S = P − Pyy'P/σ².
    """

    traces: np.ndarray
    slopes: np.ndarray
    products: np.ndarray
    quadratics: np.ndarray
    bends: np.ndarray

    @classmethod
    def zeros(cls, P: int, width: int) -> Sums:
        """Return sums over nothing."""
        square = (np.zeros((P, P)) for _ in range(3))
        return cls(np.zeros(P), np.zeros((P, width, width)), *square)

    @property
    def squares(self) -> np.ndarray:
        """``e'V⁻¹V̇ᵢV⁻¹e``, (P,)."""
        return self.slopes[:, -1, -1]


def _log_weights(marginal: Marginal) -> float:
    weights = marginal.model.weights
    return 0.0 if weights is None else float(np.log(weights).sum())


def covariances(marginal: Marginal, clusters: Clusters, psi: np.ndarray) -> np.ndarray:
    """Return V of each pattern, (u, m, m)."""
    own = psi[marginal.n_theta :]
    V = marginal.residual.structure.blocks(own, clusters.strata, clusters.times) * clusters.same
    for k, part in enumerate(marginal.parts(psi)):
        half = marginal.columns[k][clusters.rows] @ part.factor
        V = V + (half @ half.swapaxes(1, 2)) * clusters.levels[k]
    return V


def _slopes(marginal: Marginal, clusters: Clusters, psi: np.ndarray) -> np.ndarray:
    """Return dV/dψ of each pattern, (u, P, m, m)."""
    own = psi[marginal.n_theta :]
    made = []
    for k, part in enumerate(marginal.parts(psi)):
        Z = marginal.columns[k][clusters.rows]
        inner = np.einsum("cma,kab,cnb->ckmn", Z, part.tangents(), Z, optimize=True)
        made.append(inner * clusters.levels[k][:, None])
    R = marginal.residual.structure.slopes(own, clusters.strata, clusters.times)
    return np.concatenate([*made, R * clusters.same[:, None]], axis=1)


def moved(point: Point, batch: Whitened) -> tuple[np.ndarray, np.ndarray]:
    """Return dV/dψ times the inverse factors of V on both sides, (u, P, m, m), and that times D.

    D are the columns of the batch; the product has shape (c, P, m, p + 1).
    """
    L = batch.inverse[:, None]
    M = L @ _slopes(point.marginal, batch.clusters, point.psi) @ L.swapaxes(2, 3)
    return M, M[batch.clusters.pattern] @ batch.columns[:, None]


def _add_batch(sums: Sums, point: Point, batch: Whitened) -> None:
    """Add the clusters of a batch, in place."""
    marginal, clusters, D = point.marginal, batch.clusters, batch.columns
    P, p = len(point.psi), D.shape[2] - 1
    M, G = moved(point, batch)
    by_pattern = M.reshape(len(M), P, -1)
    weighted = by_pattern * clusters.counts[:, None, None]
    products = np.tensordot(weighted, by_pattern, axes=([0, 2], [0, 2]))
    traces = clusters.counts @ np.trace(M, axis1=2, axis2=3)
    slopes = np.einsum("cma,ckmb->kab", D, G, optimize=True)
    flat = np.moveaxis(G, 1, 0)
    fixed, last = flat[..., :p].reshape(P, -1), flat[..., p].reshape(P, -1)
    sums.slopes[...] += slopes
    sums.quadratics[...] += last @ last.T
    sums.bends[...] += _bends(point, batch)
    if marginal.reml:
        products -= 2.0 * fixed @ fixed.T
        traces -= np.trace(slopes[:, :p, :p], axis1=1, axis2=2)
    sums.products[...] += products
    sums.traces[...] += traces


def _bends(point: Point, batch: Whitened) -> np.ndarray:
    """Return ``tr(S V̈ᵢⱼ)`` of a batch, (P, P), with S = P − Pyy'P/σ²."""
    marginal, clusters, D = point.marginal, batch.clusters, batch.columns
    scale = np.full(D.shape[2], 1.0 if marginal.reml else 0.0)
    scale[-1] = 1.0 / point.sigma2
    taken = np.zeros_like(batch.inverse)
    np.add.at(taken, clusters.pattern, (D * scale) @ D.swapaxes(1, 2))
    inner = clusters.counts[:, None, None] * np.eye(D.shape[1]) - taken
    S = batch.inverse.swapaxes(1, 2) @ inner @ batch.inverse
    bends, start = np.zeros((len(point.psi), len(point.psi))), marginal.n_theta
    structure = marginal.residual.structure
    bends[start:, start:] = structure.bending(
        point.psi[start:], clusters.strata, clusters.times, S * clusters.same
    )
    for k, (layout, part) in enumerate(
        zip(marginal.layouts, marginal.parts(point.psi), strict=True)
    ):
        Z = marginal.columns[k][clusters.rows]
        score = np.einsum("cma,cmn,cnb->ab", Z, S * clusters.levels[k], Z, optimize=True)
        span = slice(layout.start, layout.stop)
        bends[span, span] = part.bending(score)
    return bends
