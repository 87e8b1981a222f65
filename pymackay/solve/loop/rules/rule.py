"""Update rules of MacKay's loop: from what a round shows to each term's next covariance matrix.

Every term's covariance matrix is held as ``V = σ² F F'`` with F of shape (q, q), any root: no
rule can leave the covariance matrices. T and S stand for `Evaluation.traces` and
`Evaluation.squares`: with G = F F', the effective number of effects is tr(G T), the
predictions' sum of squares B̂'B̂ = G S G, and the criterion is stationary where
(T − S/σ²) G = 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pymackay.arguments import covariance_matrix
from pymackay.covariance.roots import metric_roots, root_of, symmetric_power
from pymackay.errors import ArgumentError
from pymackay.solve.loop.rounds import TermMoments, TermRound

__all__ = [
    "RULES",
    "Custom",
    "Rule",
    "em_root",
    "find_rule",
    "gamma_root",
    "majorised_root",
]


@dataclass(frozen=True)
class Rule:
    """An update rule.

    Attributes
    ----------
    name : str
    next_root : callable
        `TermRound` to F, the next V being σ² F F' with the round's σ².
    likelihood : bool
        Whether its fixed points are those of the likelihood: it then ends at the optimum.
    """

    name: str
    next_root: Callable[[TermRound], np.ndarray]
    likelihood: bool


def find_rule(update: object) -> Rule:
    """Return the rule that `update` names, or wraps.

    Raises
    ------
    ArgumentError
        If it is neither one of the names nor callable.
    """
    if isinstance(update, str) and update in RULES:
        return RULES[update]
    if callable(update):
        return Rule(getattr(update, "__name__", "custom"), Custom(update), likelihood=False)
    names = ", ".join(repr(name) for name in RULES)
    raise ArgumentError(
        f"update is {update!r}; it must be one of {names}, or a function that takes the moments "
        f"of a term (pymackay.solve.loop.rounds.TermMoments) and returns its covariance matrix."
    )


def _raw(term: TermRound) -> np.ndarray:
    """V ← cov(B̂): sample covariance about the mean, divisor J − 1 (Hinton's lecture, literally)."""
    centred = (term.effects - term.effects.mean(axis=0)) / np.sqrt(term.n_levels - 1)
    triangle = np.asarray(np.linalg.qr(centred, mode="r"))
    root = np.zeros_like(term.root)
    root[:, : len(triangle)] = triangle.T
    return root / np.sqrt(term.noise_var)


def _diagonal(term: TermRound) -> np.ndarray:
    """V ← diag(cov(B̂)), diagonal in the user's effects (the article)."""
    sd = np.std(term.effects @ term.transform.T, axis=0, ddof=1)
    return np.linalg.solve(term.transform, np.diag(sd)) / np.sqrt(term.noise_var)


def _gamma(term: TermRound) -> np.ndarray:
    if term.learned:  # learned predictions tell of S within the range of V only
        return _within_range(term.root, term.information, term.shown)
    return gamma_root(term.root, term.traces, term.squares)


def _em(term: TermRound) -> np.ndarray:
    return em_root(term.root, term.information, term.shown, term.n_levels)


def gamma_root(root: np.ndarray, traces: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Return MacKay's update V ← Σ b̂²/γ for a matrix: the next root, A F.

    ``A = T^(-1/2) R^(1/2) T^(1/2)`` with ``R = T^(-1/2) (S/σ²) T^(-1/2)``, so that
    ``M = T^(1/2) G T^(1/2)`` becomes ``R^(1/2) M R^(1/2)``. For one effect this is
    ``g ← g S / (σ² T)``, which is Σ b̂²/γ. V stays positive semidefinite whatever the numbers,
    and does not depend on the basis of the effects. A fixed point has R F = F: if
    K = R^(1/2) and K M K = M, then K F = F O with O orthogonal, F'K F = F'F O is symmetric and
    positive, so that O = 1 by the uniqueness of the polar decomposition. That is
    ``(T − S/σ²) G = 0``, also where V is singular. (The MM update of Zhou et al. 2019,
    `majorised_root`, moves half as far, and once V is singular it cannot turn V's range.)

    Parameters
    ----------
    root : numpy.ndarray, shape (q, q)
        F.
    traces, squares : numpy.ndarray, shape (q, q)
        T, and S/σ².

    References
    ----------
    MacKay, D. J. C. (1992). Bayesian interpolation. Neural Computation 4(3): for one variance.
    """
    if len(root) == 1:
        known = traces[0, 0] > 0.0
        return root * np.sqrt(squares[0, 0] / traces[0, 0]) if known else root
    half, inverse, unknown = metric_roots(traces)
    R = inverse @ squares @ inverse
    return inverse @ (symmetric_power(R, 0.5) @ (half @ root)) + unknown @ root


def majorised_root(root: np.ndarray, traces: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Return the next root of the MM update, which never raises the criterion.

    ``G⁺ T G⁺ = G (S/σ²) G``: in the metric of T, ``M⁺ = (M R M)^(1/2)``.

    References
    ----------
    Zhou, H., Hu, L., Zhou, J., Lange, K. (2019). MM algorithms for variance components models.
    J. Comput. Graph. Stat. 28(2).
    """
    if len(root) == 1:
        known = traces[0, 0] > 0.0
        return root * (squares[0, 0] / traces[0, 0]) ** 0.25 if known else root
    half, inverse, unknown = metric_roots(traces)
    M = half @ root @ root.T @ half
    MRM = M @ inverse @ squares @ inverse @ M
    return inverse @ symmetric_power(MRM, 0.25) + unknown @ root


def em_root(
    root: np.ndarray, information: np.ndarray, shown: np.ndarray, n_levels: int
) -> np.ndarray:
    """Return EM's update V ← (B̂'B̂ + Σ C)/J as the next root, F K.

    ``K² = 1 + (Û'Û/σ² − F'T F)/J`` with b̂ = F û; K is the positive root.

    Parameters
    ----------
    root : numpy.ndarray, shape (q, q)
        F.
    information : numpy.ndarray, shape (q, q)
        F'T F.
    shown : numpy.ndarray, shape (q, q)
        Û'Û/σ².
    n_levels : int
        J.

    References
    ----------
    Dempster, A. P., Laird, N. M., Rubin, D. B. (1977). Maximum likelihood from incomplete data
    via the EM algorithm. J. R. Statist. Soc. B 39, section 4.4.
    """
    return root @ symmetric_power(np.eye(len(root)) + (shown - information) / n_levels, 0.5)


def _within_range(root: np.ndarray, information: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Return MacKay's update from predictions alone: V ← F Γ^(-1/2) (Û'Û/σ²) Γ^(-1/2) F'."""
    _, inverse, unknown = metric_roots(information)
    return root @ (symmetric_power(inverse @ shown @ inverse, 0.5) + unknown)


@dataclass(frozen=True)
class Custom:
    """A rule of the user's own: a function of `TermMoments` that returns the next V."""

    function: Callable[[TermMoments], object]

    def __call__(self, term: TermRound) -> np.ndarray:
        """Return the next root; the function's matrix is checked."""
        moments = term.moments()
        value = np.asarray(self.function(moments), dtype=np.float64)
        value = value.reshape(1, 1) if value.size == 1 else value
        name = f"update's matrix for the term '{moments.name}'"
        covariance = covariance_matrix(name, value, moments.effects)
        return np.linalg.solve(term.transform, root_of(covariance)) / np.sqrt(moments.noise_var)


RULES = {
    "raw": Rule("raw", _raw, likelihood=False),
    "diagonal": Rule("diagonal", _diagonal, likelihood=False),
    "gamma": Rule("gamma", _gamma, likelihood=True),
    "em": Rule("em", _em, likelihood=True),
}
