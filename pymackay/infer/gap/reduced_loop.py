"""MacKay's literal loop for one grouping factor, run on per-level summaries of a fit.

With b = R u as in `pymackay.infer.gap.effect_roots`, a fit's Ψ_j = Var(u_j | y, beta) = (1 + P_j)⁻¹
tells the information P_j that level j has of its own effects, in units of σ², and
``a_j = Ψ_j⁻¹ û_j`` is P_j times the level's least-squares effects. At another covariance W of u,
and another σ² by the factor ρ, the level's prediction is ``W (P_j W + ρ)⁻¹ a_j``. What is left
out: that beta moves with the variances, which it does not do where the design is balanced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pymackay.infer.gap.effect_roots import GroupView
from pymackay.results import Fit
from pymackay.solve.loop.rules.rule import Empirical

_ROUNDS = 20_000
_DONE = 1e-12
_BALANCED = 1e-7  # relative: information of two levels that counts as the same


@dataclass(frozen=True, eq=False)
class ReducedEnd:
    """Where the reduced loop ends.

    Attributes
    ----------
    covariance : numpy.ndarray, shape (r, r)
        W: of the standardised effects, so that 1 is the fit's own.
    noise_ratio : float
        ρ: the loop's σ² over the fit's.
    """

    covariance: np.ndarray
    noise_ratio: float


def is_balanced(view: GroupView) -> bool:
    """Say whether all levels have the same information."""
    spread = np.abs(view.hidden - view.hidden.mean(axis=0)).max(initial=0.0)
    return bool(spread <= _BALANCED)


def averaged(view: GroupView) -> GroupView:
    """Return the view in which all levels have the same information, the predictions kept."""
    return replace(view, hidden=np.broadcast_to(view.hidden.mean(axis=0), view.hidden.shape))


class _Levels:
    """The summaries of the levels."""

    def __init__(self, view: GroupView) -> None:
        identity = np.eye(view.hidden.shape[1])
        inverse = np.linalg.inv(view.hidden)
        self.information = inverse - identity
        self.sampling = np.linalg.pinv(self.information, hermitian=True)
        self.a = np.einsum("jab,jb->ja", inverse, view.predictions)
        free = view.n_levels * np.trace(identity - view.hidden_mean)
        given = np.trace(view.n_levels * identity - view.hidden.sum(axis=0))
        # effective number under REML over that with beta known
        self.lost = free / given if given > 0.0 else 1.0

    def predict(self, W: np.ndarray, ratio: float) -> tuple[np.ndarray, float, float]:
        """Return û, the residual sum of squares between levels over σ², and γ."""
        inverse = np.linalg.inv(self.information @ W + ratio * np.eye(len(W)))
        z = np.einsum("jab,jb->ja", inverse, self.a)
        sse = ratio**2 * np.einsum("ja,jab,jb->", z, self.sampling, z, optimize=True)
        gamma = self.lost * np.einsum("ab,jbc,jca->", W, inverse, self.information, optimize=True)
        return z @ W, float(sse), float(gamma)


def run_reduced(fit: Fit, view: GroupView, rule: Empirical, scale: Sequence[float]) -> ReducedEnd:
    """Run the literal loop from the fit's own variances to its end.

    Parameters
    ----------
    fit : Fit
        By REML, all random terms on one grouping factor.
    view : GroupView
    rule : Empirical
    scale : sequence of float
        Term by term, what the rule's variances are multiplied by.
    """
    levels = _Levels(view)
    W, ratio = np.eye(view.hidden.shape[1]), 1.0
    _, between, _ = levels.predict(W, ratio)
    df = fit.n_obs - len(fit.beta)
    # at any theta σ² (n - p) = SSE + u'u, in units of σ²
    within = df - float(np.sum(view.predictions**2)) - between
    for _ in range(_ROUNDS):
        effects, between, gamma = levels.predict(W, ratio)
        following = np.zeros_like(W)
        for term, factor in zip(view.terms, scale, strict=True):
            own = rule.covariance(effects[:, term.live], term.root, term.inverse)
            following[term.live, term.live] = factor * own
        noise = (within + between) / (df - gamma)
        moved = max(float(np.abs(following - W).max(initial=0.0)), abs(noise - ratio))
        W, ratio = following, noise
        if moved < _DONE:
            break
    return ReducedEnd(W, ratio)
