"""`Anderson`: acceleration of a fixed-point iteration from its last few rounds."""

from __future__ import annotations

import numpy as np

__all__ = ["Anderson"]

_DEPENDENT = 1e-8  # relative singular value under which earlier rounds tell nothing new


class Anderson:
    """Propose the next point of ``x ← g(x)`` from the residuals g(x) − x of the last rounds.

    The combination of earlier rounds whose residuals, to first order, cancel: a secant method in
    several unknowns.

    Parameters
    ----------
    depth : int
        Differences of rounds that are kept.

    References
    ----------
    Anderson, D. G. (1965). Iterative procedures for nonlinear integral equations. J. ACM 12.
    Walker, H. F., Ni, P. (2011). Anderson acceleration for fixed-point iterations. SIAM J. Numer.
    Anal. 49.
    """

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self._images: list[np.ndarray] = []
        self._residuals: list[np.ndarray] = []

    def reset(self) -> None:
        """Forget the earlier rounds."""
        self._images.clear()
        self._residuals.clear()

    @property
    def ready(self) -> bool:
        """Whether there are earlier rounds to combine."""
        return len(self._images) > 1

    def propose(self, point: np.ndarray, image: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Return the next point, shape (m,).

        Parameters
        ----------
        point, image : numpy.ndarray, shape (m,)
            x and g(x).
        weight : numpy.ndarray, shape (m,)
            How much a residual in each coordinate counts.
        """
        self._images.append(image)
        self._residuals.append(image - point)
        del self._images[: -self.depth - 1], self._residuals[: -self.depth - 1]
        if len(self._images) == 1:
            return image
        residuals, images = np.array(self._residuals), np.array(self._images)
        steps = np.diff(residuals, axis=0).T * weight[:, None]
        size = np.linalg.norm(steps, axis=0)
        size[size == 0.0] = 1.0
        share = np.linalg.lstsq(steps / size, residuals[-1] * weight, rcond=_DEPENDENT)[0] / size
        return image - np.diff(images, axis=0).T @ share
