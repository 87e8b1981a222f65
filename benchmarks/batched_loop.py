"""MacKay's loop on many simulated responses of one design at once, in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["Batch", "BatchEnd", "Design", "Moments", "information_share", "run_batch", "simulate"]

_DONE = 1e-10


@dataclass(frozen=True, eq=False)
class Design:
    """Levels with the same columns fixed and random: ``y_j = Z_j (beta + b_j) + e_j``.

    Levels of one kind share their Z_j: what a round needs of them are sums over the kind.

    Attributes
    ----------
    kinds : tuple of numpy.ndarray, each (n_k, q)
        Z of each kind.
    counts : tuple of int
        Levels of each kind.
    """

    kinds: tuple[np.ndarray, ...]
    counts: tuple[int, ...]

    @property
    def information(self) -> np.ndarray:
        """``Z' Z`` of each kind, shape (kinds, q, q)."""
        return np.array([Z.T @ Z for Z in self.kinds])

    @property
    def levels(self) -> int:
        """Number of levels J."""
        return sum(self.counts)

    @property
    def n(self) -> int:
        """Number of rows."""
        return sum(count * len(Z) for Z, count in zip(self.kinds, self.counts, strict=True))

    @property
    def noise(self) -> np.ndarray:
        """Sampling covariance of an average level's effects, in units of σ², shape (q, q)."""
        weights = np.array(self.counts) / self.levels
        return np.einsum("k,kab->ab", weights, np.linalg.inv(self.information))


@dataclass(frozen=True, eq=False)
class Batch:
    """Sums of D responses of one design, which the loop needs; c_j = Z_j' y_j.

    Attributes
    ----------
    design : Design
    first : numpy.ndarray, shape (D, kinds, q)
        Σ c_j over the levels of a kind.
    second : numpy.ndarray, shape (D, kinds, q, q)
        Σ c_j c_j'.
    squares : numpy.ndarray, shape (D,)
        y'y.
    """

    design: Design
    first: np.ndarray
    second: np.ndarray
    squares: np.ndarray

    def __getitem__(self, index: np.ndarray) -> Batch:
        """Return the responses at `index`."""
        return Batch(self.design, self.first[index], self.second[index], self.squares[index])


@dataclass(frozen=True, eq=False)
class Moments:
    """The moments of one round for D responses, relative to the round's σ².

    Attributes
    ----------
    G : numpy.ndarray, shape (D, q, q)
        V / σ².
    traces, squares : numpy.ndarray, shape (D, q, q)
        T and S/σ² of `pymackay.solve.loop.rules.rule`: B̂'B̂ = σ² G S G.
    levels : int
    """

    G: np.ndarray
    traces: np.ndarray
    squares: np.ndarray
    levels: int


@dataclass(frozen=True, eq=False)
class BatchEnd:
    """The final state of the loops.

    Attributes
    ----------
    V : numpy.ndarray, shape (D, q, q)
    noise_var : numpy.ndarray, shape (D,)
    rounds : numpy.ndarray of int, shape (D,)
        Rounds until each settled; the limit where it did not.
    """

    V: np.ndarray
    noise_var: np.ndarray
    rounds: np.ndarray


def simulate(design: Design, V: np.ndarray, count: int, rng: np.random.Generator) -> Batch:
    """Draw `count` responses with σ² = 1, beta = 0 and random effects of covariance `V`."""
    q, root = len(V), np.linalg.cholesky(V)
    first, second, squares = [], [], np.zeros(count)
    for Z, levels in zip(design.kinds, design.counts, strict=True):
        effects = rng.normal(size=(count, levels, q)) @ root.T
        y = effects @ Z.T + rng.normal(size=(count, levels, len(Z)))
        c = y @ Z
        first.append(c.sum(axis=1))
        second.append(np.einsum("dja,djb->dab", c, c))
        squares += np.einsum("djn,djn->d", y, y)
    return Batch(design, np.stack(first, axis=1), np.stack(second, axis=1), squares)


Rule = Callable[[Moments], np.ndarray]


def run_batch(
    batch: Batch, V: np.ndarray, noise_var: np.ndarray, rule: Rule, rounds: int = 3000
) -> BatchEnd:
    """Run the loop with REML error variances on every response until it converges.

    Parameters
    ----------
    batch : Batch
    V : numpy.ndarray, shape (D, q, q)
        Start.
    noise_var : numpy.ndarray, shape (D,)
    rule : callable
        From `Moments` to the next V, relative to the round's σ².
    rounds : int
        At most.
    """
    V, noise_var = V.copy(), noise_var.copy()
    taken = np.zeros(len(V), dtype=np.int64)
    running = np.arange(len(V))
    for _ in range(rounds):
        unit = noise_var[running, None, None]
        moments, noise = _round(batch[running], V[running], noise_var[running])
        following = _symmetric(unit * rule(moments))
        size = np.einsum("dii->d", V[running]) + 1e-6 * noise_var[running]
        moved = np.abs(following - V[running]).max(axis=(1, 2)) / size
        moved = np.maximum(moved, np.abs(noise / noise_var[running] - 1.0))
        V[running], noise_var[running] = following, noise
        taken[running] += 1
        running = running[moved > _DONE]
        if not running.size:
            break
    return BatchEnd(V, noise_var, taken)


def _round(batch: Batch, V: np.ndarray, noise_var: np.ndarray) -> tuple[Moments, np.ndarray]:
    """Return the moments of the round, and the next σ², shape (D,)."""
    A, count = batch.design.information, np.array(batch.design.counts, dtype=np.float64)
    J, n, q = batch.design.levels, batch.design.n, V.shape[1]
    G = V / noise_var[:, None, None]
    N = np.linalg.inv(np.eye(q) + A @ G[:, None])  # Z'V⁻¹ = N Z'
    H = N @ A
    total = np.einsum("k,dkab->dab", count, H)
    inverse = np.linalg.inv(total)
    beta = np.einsum("dab,dkbc,dkc->da", inverse, N, batch.first, optimize=True)
    Ab = np.einsum("kab,db->dka", A, beta)
    cross = batch.first[..., :, None] * Ab[..., None, :]
    centred = batch.second - cross - cross.swapaxes(-1, -2)
    centred = centred + count[:, None, None] * Ab[..., :, None] * Ab[..., None, :]
    squares = (N @ centred @ N.swapaxes(-1, -2)).sum(axis=1)
    traces = total - np.einsum("k,dkab,dbc,dkce->dae", count, H, inverse, H, optimize=True)
    explained = np.einsum("da,dkab,dkb->d", beta, N, batch.first, optimize=True)
    F = G[:, None] @ N
    explained = explained + np.einsum("dkab,dkba->d", F, batch.second)
    penalty = np.einsum("dab,dba->d", G, squares)
    gamma = np.einsum("dab,dba->d", G, traces)
    sse = batch.squares - explained - penalty
    shown = squares / noise_var[:, None, None]
    return Moments(G, traces, shown, J), sse / (n - q - gamma)


def _symmetric(matrices: np.ndarray) -> np.ndarray:
    """Return symmetric matrices; the literal loop would amplify asymmetry from rounding."""
    return 0.5 * (matrices + matrices.swapaxes(-1, -2))


def information_share(design: Design, V: np.ndarray, noise_var: np.ndarray) -> np.ndarray:
    """Return the mean over the levels of Z_j' V_j⁻¹ Z_j (times σ²), shape (D, q, q).

    With V/σ² = L L', the mean conditional covariance of u in b = L u is 1 − L' (this) L.
    """
    A = design.information
    G = V / noise_var[:, None, None]
    H = np.linalg.inv(np.eye(V.shape[1]) + A @ G[:, None]) @ A
    return np.einsum("k,dkab->dab", np.array(design.counts) / design.levels, H)
