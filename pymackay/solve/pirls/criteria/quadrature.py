"""`Quadrature`: adaptive quadrature of one grouping factor's effects, with its exact gradient.

With P_j = L_jL_j' the level's block of H at the mode ũ_j, the nodes are ``u_jk = ũ_j + L_j⁻ᵀz_k``
and (Liu & Pierce 1994, Biometrika 81; Pinheiro & Bates 1995, J. Comput. Graph. Stat. 4)

    C = constant(φ) + log|P| − 2 Σ_j log Σ_k w_k exp(|z_k|²/2 − h_jk),   h = ΣD/φ + |u|²/2.

With ω the shares of the nodes in their sum, ``g_jk`` the slope of h there, ``y = L⁻¹g`` and Y_j the
symmetric part, by halves, of ``Σ_k ω z y'``, nodes and scales move as

    dC = 2 Σ ω (dh at the nodes held) + tr(Q dP) + 2 ḡ'dũ,   Q_j = L⁻ᵀ(I − 2Y)L⁻¹,  ḡ = Σ_k ω g,

so that Laplace's formulas hold with Q in the place of H⁻¹, and ``r = H⁻¹(A'v + 2ḡ)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pymackay.family.negative_binomial import NegativeBinomial
from pymackay.solve.linalg.batch import product
from pymackay.solve.pirls.criteria.curvature import Curvature
from pymackay.solve.pirls.criteria.laplace import Laplace, Point
from pymackay.solve.pirls.criteria.nodes import AtNodes, Nodes
from pymackay.solve.pirls.mode import NoMode


@dataclass(frozen=True, eq=False)
class Quadrature:
    """Adaptive quadrature of a model with one grouping factor.

    Attributes
    ----------
    laplace : Laplace
    nodes : Nodes
    """

    laplace: Laplace
    nodes: Nodes

    def at(self, psi: np.ndarray, u: np.ndarray | None = None) -> QuadraturePoint:
        """Evaluate at ψ, (P,), the mode searched from u, (N,)."""
        return QuadraturePoint(self.laplace.at(psi, u), self.nodes)

    def with_mode(self, psi: np.ndarray, u: np.ndarray) -> QuadraturePoint:
        """Evaluate at ψ, (P,), with u, (N,), for the mode."""
        return QuadraturePoint(self.laplace.with_mode(psi, u), self.nodes)


@dataclass(frozen=True, eq=False)
class Centered:
    """A criterion by nodes at some parameters, around Laplace's approximation.

    Attributes
    ----------
    center : Point
        Laplace's approximation there.
    """

    center: Point

    @property
    def psi(self) -> np.ndarray:
        """The parameters, (P,)."""
        return self.center.psi

    @property
    def start(self) -> np.ndarray:
        """The mode, (N,)."""
        return self.center.start

    @property
    def noise(self) -> float:
        """Monte-Carlo standard error of the criterion."""
        return self.center.noise

    @property
    def curvature(self) -> Curvature:
        """Approximate second derivatives: Laplace's."""
        return self.center.curvature

    def second_derivatives(self) -> np.ndarray | None:
        """There are no formulas for them."""
        return None


@dataclass(frozen=True, eq=False)
class QuadraturePoint(Centered):
    """The criterion at some parameters.

    Attributes
    ----------
    nodes : Nodes
    """

    nodes: Nodes

    @cached_property
    def _root(self) -> np.ndarray:
        """L_j⁻¹, (q, q, J)."""
        return self.center.determinant.root

    @cached_property
    def _at(self) -> AtNodes:
        block = self.center.laplace.rows.blocks[0]
        mode = self.center.mode.u.reshape(block.q, block.n_levels)
        moved = np.einsum("baj,kb->kaj", self._root, self.nodes.z)
        return AtNodes.of(self.center.given, mode + moved)

    @cached_property
    def _logs(self) -> tuple[np.ndarray, np.ndarray]:
        """Logs of the sums over nodes, (J,), and the shares ω of the nodes in them, (K, J)."""
        terms = self.nodes.log_weights[:, None] - self._at.penalised
        largest = terms.max(axis=0)
        if not np.isfinite(largest).all():
            raise NoMode("every node of a level has a mean that the family cannot have")
        parts = np.exp(terms - largest)
        total = parts.sum(axis=0)
        return largest + np.log(total), parts / total

    @cached_property
    def criterion(self) -> float:
        """−2 log likelihood by the rule, all constants included."""
        given = self.center.given
        constant = given.family.constant(given.rows.observed, given.phi).value
        logs, _ = self._logs
        return constant + self.center.determinant.logdet - 2.0 * float(logs.sum())

    @cached_property
    def gradient(self) -> np.ndarray:
        """Derivative by ψ, (P,)."""
        center, held = self.center, self._held
        rows, given, at = center.laplace.rows, center.given, center.mode.at
        Q = self._spread
        s = rows.blocks[0].quadratic(_mixed(center.given.factors[0], Q))
        _, weight_slopes = center.weights(center.mode.rows)
        v = s * weight_slopes / given.phi
        right = given.scaled_back(rows.spread(v)) + 2.0 * self._mean_slope.ravel()
        r = center.mode.system.solve(right[:, None])[:, 0]
        t = v - at.d2 / given.phi * rows.predictor(given.scaled(r))
        (u,) = rows.parts(center.mode.u)
        A = center.determinant.sums.A
        by_factor = held.by_factor + rows.blocks[0].spread(t) @ u.T
        by_factor -= rows.blocks[0].spread(at.d1 / given.phi) @ rows.parts(r)[0].T
        by_factor += 2.0 * np.einsum("abj,bc,cdj->ad", A, given.factors[0], Q)
        parameters = self.psi[rows.p : rows.p + rows.n_theta]
        made = [rows.basis.Q.T @ (held.by_row + t), rows.slopes(parameters, [by_factor])]
        if center.laplace.extra:
            made.append(np.array([self._extra_slope(s, r)]))
        return np.concatenate(made)

    @cached_property
    def _held(self) -> Held:
        return Held.of(self.center, self._at, self._logs[1])

    @cached_property
    def _node_slopes(self) -> np.ndarray:
        """g, the derivative of h by u at the nodes, (K, q, J)."""
        given, block = self.center.given, self.center.laplace.rows.blocks[0]
        spread = np.stack([block.spread(row) for row in self._at.d1])
        factor = given.factors[0]
        return np.einsum("ba,kbj->kaj", factor, spread) / given.phi + self._at.u

    @cached_property
    def _mean_slope(self) -> np.ndarray:
        """ḡ, (q, J)."""
        return np.einsum("kj,kaj->aj", self._logs[1], self._node_slopes)

    @cached_property
    def _spread(self) -> np.ndarray:
        """Q, (q, q, J)."""
        root, q = self._root, len(self._root)
        y = np.einsum("abj,kbj->kaj", root, self._node_slopes)
        moments = np.einsum("kj,kb,kaj->baj", self._logs[1], self.nodes.z, y)
        lower = np.tril(np.ones((q, q)), -1)[:, :, None] * moments * 0.5
        Y = lower + lower.transpose(1, 0, 2)
        index = np.arange(q)
        Y[index, index] = 0.5 * moments[index, index]
        middle = np.eye(q)[:, :, None] - 2.0 * Y
        return product(product(root.transpose(1, 0, 2), middle), root)

    def _extra_slope(self, s: np.ndarray, r: np.ndarray) -> float:
        """Return the derivative by log φ or by the log of the shape."""
        center = self.center
        given, rows = center.given, center.laplace.rows
        weights, _ = center.weights(center.mode.rows)
        if center.laplace.extra == "dispersion":
            constant = given.family.constant(rows.observed, given.phi).slope
            return float(
                self._held.by_extra + constant - s @ weights / given.phi - r @ center.mode.u
            )
        if not isinstance(given.family, NegativeBinomial):
            return 0.0
        slopes = given.family.shape_slopes(rows.observed, center.mode.eta)
        moved = slopes.d2 if center.laplace.determinant == "observed" else slopes.expected
        carried = r @ given.scaled_back(rows.spread(slopes.d1))
        return float(self._held.by_extra + s @ moved - carried)


@dataclass(frozen=True, eq=False)
class Held:
    """Derivatives of ``2 Σ ω h`` with the nodes held.

    Attributes
    ----------
    by_row : numpy.ndarray, shape (n,)
        By η: ``2 Σ_k ω D'/φ``.
    by_factor : numpy.ndarray, shape (q, q)
        By Λ.
    by_extra : float
        By log φ, or by the log of the shape, in which the constant is included then.
    """

    by_row: np.ndarray
    by_factor: np.ndarray
    by_extra: float

    @classmethod
    def of(cls, center: Point, at: AtNodes, shares: np.ndarray) -> Held:
        """Sum over the nodes, whose shares have shape (K, J)."""
        given, block = center.given, center.laplace.rows.blocks[0]
        by_row = np.zeros(center.laplace.rows.n)
        by_factor = np.zeros((block.q, block.q))
        for k, share in enumerate(shares):
            weighted = 2.0 / given.phi * share[block.codes] * at.d1[k]
            by_row += weighted
            by_factor += block.spread(weighted) @ at.u[k].T
        return cls(by_row, by_factor, _by_extra(center, at, shares))


def _by_extra(center: Point, at: AtNodes, shares: np.ndarray) -> float:
    given, block = center.given, center.laplace.rows.blocks[0]
    if center.laplace.extra == "dispersion":
        finite = np.where(shares > 0.0, at.values, 0.0)
        return -2.0 * float((shares * finite).sum()) / given.phi
    if center.laplace.extra == "shape" and isinstance(given.family, NegativeBinomial):
        observed, total = given.rows.observed, 0.0
        for k, share in enumerate(shares):
            each = given.family.shape_criterion(observed, at.eta[k])
            total += float(share[block.codes] @ each)
        return total
    return 0.0


def _mixed(factor: np.ndarray, Q: np.ndarray) -> np.ndarray:
    """Return ``ΛQ_jΛ'``, (q, q, J)."""
    return np.einsum("ab,bcj,dc->adj", factor, Q, factor)
