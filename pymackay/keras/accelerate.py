"""`Acceleration`: larger steps of polishing, where the log evidence can check each of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pymackay.keras.evidence import Evidence, Update
from pymackay.keras.step import FLOOR
from pymackay.solve.loop.acceleration import Anderson

_DEPTH = 8  # earlier rounds that a proposal combines
_LOSS = 1e-9  # relative fall of the log evidence that is rounding
_FAR = 2.0  # change of log σ² above which a proposal is not tried


@dataclass(eq=False)
class Acceleration:
    """Anderson's proposals for the priors and the noise of a network that is linear in its weights.

    A round at a proposal is kept unless its log evidence is lower than that of the round before;
    otherwise the loop goes on from what the rule itself had returned.

    Attributes
    ----------
    evidence : Evidence
        Its roots and noise are set to the proposals.
    """

    evidence: Evidence
    anderson: Anderson = field(default_factory=lambda: Anderson(_DEPTH))
    before: tuple[list[np.ndarray], float] | None = None
    image: tuple[list[np.ndarray], float] | None = None
    reached: float = -np.inf
    proposed: bool = False

    def note(self) -> None:
        """Remember where the next update starts."""
        if self.evidence.noise is not None:
            self.before = list(self.evidence.roots), self.evidence.noise

    def rejected(self, update: Update) -> bool:
        """Whether the update was made at a proposal that lowered the log evidence; undo it then."""
        fallen = self.reached - update.log_evidence
        if not (self.proposed and fallen > _LOSS * (1.0 + abs(self.reached))):
            self.reached = update.log_evidence
            return False
        assert self.image is not None
        self.anderson.reset()
        self.evidence.updates.pop()
        self._move(*self.image)
        self.proposed = False
        return True

    def propose(self) -> None:
        """Move on from the rule's step to the proposal."""
        evidence, before = self.evidence, self.before
        assert evidence.noise is not None
        self.image, self.proposed = (list(evidence.roots), evidence.noise), False
        if before is None:
            return
        point, image = _pack(*before), _pack(*self.image)
        sizes = [np.full(root.size, 1.0 / np.linalg.norm(root)) for root in before[0]]
        moved = self.anderson.propose(point, image, np.concatenate([*sizes, [1.0]]))
        if not self.anderson.ready or abs(moved[-1] - point[-1]) > _FAR:
            return
        roots, noise = _unpack(moved, evidence.roots)
        if min(np.linalg.svd(root, compute_uv=False)[-1] for root in roots) < FLOOR:
            return
        self._move(roots, noise)
        self.proposed = True

    def _move(self, roots: list[np.ndarray], noise: float) -> None:
        self.evidence.roots, self.evidence.noise = roots, noise
        self.evidence.push()


def can_accelerate(evidence: Evidence) -> bool:
    """Whether rounds are exact: a rule of the likelihood, a gaussian mixed model, exact γ."""
    exact = evidence.plan is not None and evidence.plan.kind == "exact"
    return exact and evidence.linear and evidence.family.dispersed and evidence.rule.likelihood


def _pack(roots: list[np.ndarray], noise: float) -> np.ndarray:
    """Return the elements of all roots, and log σ², (m,)."""
    return np.concatenate([*(root.ravel() for root in roots), [np.log(noise)]])


def _unpack(point: np.ndarray, like: list[np.ndarray]) -> tuple[list[np.ndarray], float]:
    sizes = np.cumsum([root.size for root in like])
    parts = np.split(point[:-1], sizes[:-1])
    roots = [part.reshape(root.shape) for part, root in zip(parts, like, strict=True)]
    return roots, float(np.exp(point[-1]))
