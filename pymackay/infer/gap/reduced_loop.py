"""MacKay's literal loop for one grouping factor, run on per-level summaries of a fit.

With b = R u as in `pymackay.infer.gap.effect_roots`, a fit's Ψ_j = Var(u_j | y, beta) = (1 + P_j)⁻¹
gives the information P_j that the data of level j hold about its effects, in units of σ², and
``a_j = Ψ_j⁻¹ û_j`` is P_j times the level's least-squares effects. At another covariance W of u,
and with σ² multiplied by ρ, the level's prediction is ``W (P_j W + ρ)⁻¹ a_j``. Beta is held fixed:
it does not change with the variances where the design is balanced, and the change is neglected
elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pymackay.infer.gap.effect_roots import GroupView
from pymackay.results import Fit
from pymackay.solve.loop.rules.rule import Empirical

_ROUNDS = 20_000
_DONE = 1e-12  # change of a covariance or of ρ in one round
_BALANCED = 1e-7  # difference of the levels' Ψ that counts as rounding


def is_balanced(view: GroupView) -> bool:
    """Say whether all levels have the same information."""
    spread = np.abs(view.hidden - view.hidden.mean(axis=0)).max(initial=0.0)
    return bool(spread <= _BALANCED)


def averaged(view: GroupView) -> GroupView:
    """Return the view with the mean of the levels' Ψ at every level and the same predictions."""
    return replace(view, hidden=np.broadcast_to(view.hidden.mean(axis=0), view.hidden.shape))


class _Levels:
    """Information P_j, (J, r, r), its inverse, and a_j, (J, r), of the levels (see the module)."""

    def __init__(self, view: GroupView) -> None:
        identity = np.eye(view.hidden.shape[1])
        inverse = np.linalg.inv(view.hidden)
        self.information = inverse - identity
        self.sampling = np.linalg.pinv(self.information, hermitian=True)
        self.a = np.einsum("jab,jb->ja", inverse, view.predictions)
        free = view.n_levels * np.trace(identity - view.hidden_mean)
        beta_known = np.trace(view.n_levels * identity - view.hidden.sum(axis=0))
        # effective number of effects under REML, as a share of that with beta known
        self.reml_share = free / beta_known if beta_known > 0.0 else 1.0

    def predict(self, W: np.ndarray, ratio: float) -> tuple[np.ndarray, float, float]:
        """Return û, the residual sum of squares between levels over σ², and γ."""
        inverse = np.linalg.inv(self.information @ W + ratio * np.eye(len(W)))
        z = np.einsum("jab,jb->ja", inverse, self.a)
        sse = ratio**2 * np.einsum("ja,jab,jb->", z, self.sampling, z, optimize=True)
        gamma = self.reml_share * np.einsum(
            "ab,jbc,jca->", W, inverse, self.information, optimize=True
        )
        return z @ W, float(sse), float(gamma)


def run_reduced(fit: Fit, view: GroupView, rule: Empirical, scale: Sequence[float]) -> np.ndarray:
    """Run the literal loop from the fit's own variances to its end.

    Parameters
    ----------
    fit : Fit
        By REML, all random terms on one grouping factor.
    view : GroupView
    rule : Empirical
    scale : sequence of float
        Term by term, what the rule's variances are multiplied by.

    Returns
    -------
    numpy.ndarray, shape (r, r)
        W, of the standardised effects: the identity is the covariance of the fit.
    """
    levels = _Levels(view)
    W, ratio = np.eye(view.hidden.shape[1]), 1.0
    _, between, _ = levels.predict(W, ratio)
    df = fit.n_obs - len(fit.beta)
    # SSE + u'u = σ² (n - p) at any theta; all in units of σ²
    within = df - float(np.sum(view.predictions**2)) - between
    for _ in range(_ROUNDS):
        effects, between, gamma = levels.predict(W, ratio)
        following = np.zeros_like(W)
        for term, factor in zip(view.terms, scale, strict=True):
            covariance = rule.covariance(effects[:, term.live], term.root, term.inverse)
            following[term.live, term.live] = factor * covariance
        noise = (within + between) / (df - gamma)
        change = max(float(np.abs(following - W).max(initial=0.0)), abs(noise - ratio))
        W, ratio = following, noise
        if change < _DONE:
            break
    return W
