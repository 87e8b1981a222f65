"""`Aliases`: which functions of the fixed effects the data determine where X lost columns."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pymackay.errors import PymackayWarning, listed
from pymackay.model.bases.scaling import fixed_basis
from pymackay.model.design.side import Blueprint
from pymackay.model.model import Model

_ZERO = 1e-9  # of a dropped column's norm: smaller parts of it are rounding
_DEPARTURE = 1e-6  # of the sizes that enter: a larger difference is not rounding


@dataclass(frozen=True, eq=False)
class Aliases:
    """How the dropped columns of the fixed design depend on those kept: ``X_d = X_k A``.

    The coefficients of all columns are determined up to the null space of the full design, which
    the columns ``[−A; I]`` span. A linear function ``l_k'β_k + l_d'β_d`` is the same for all
    solutions, that is estimable, exactly where ``l_d = A'l_k`` (Searle 1971, Linear Models,
    section 5.4). Its value is then ``l_k'β_k``, with the coefficients of the kept columns.

    Attributes
    ----------
    kept, dropped : numpy.ndarray of int, shapes (p,) and (d,)
        Positions in the full design.
    names : tuple of str, length d
        R's names of the dropped columns.
    A : numpy.ndarray, shape (p, d)
    """

    kept: np.ndarray
    dropped: np.ndarray
    names: tuple[str, ...]
    A: np.ndarray

    @classmethod
    def of(cls, model: Model) -> Aliases | None:
        """Return them, or None where no column was dropped.

        Of rows that were summed up, the sums have told. A model without the formula in parts can
        make no rows to predict for, and is not checked.
        """
        blueprint = model.blueprint
        if not model.dropped or not isinstance(blueprint, Blueprint):
            return None
        if blueprint.aliases is not None:
            width = len(blueprint.kept) + len(model.dropped)
            others = np.setdiff1d(np.arange(width), blueprint.kept)
            return cls(blueprint.kept, others, model.dropped, blueprint.aliases)
        if not model.columns:
            return None
        full = blueprint.fixed.matrix(model.columns, len(model.y)).values
        dropped = np.setdiff1d(np.arange(full.shape[1]), blueprint.kept)
        X, X_dropped = full[:, blueprint.kept], full[:, dropped]
        basis = fixed_basis(X)
        A = basis.from_basis(basis.Q.T @ X_dropped)
        part = np.abs(A) * np.linalg.norm(X, axis=0)[:, None]
        A[part <= _ZERO * np.linalg.norm(X_dropped, axis=0)] = 0.0
        return cls(blueprint.kept, dropped, model.dropped, A)

    def undetermined(self, kept: np.ndarray, dropped: np.ndarray | None = None) -> np.ndarray:
        """Say which dropped columns make which functions inestimable, shape (k, d).

        Parameters
        ----------
        kept : numpy.ndarray, shape (k, p)
            l_k of each function; nan is never called inestimable.
        dropped : numpy.ndarray, shape (k, d), optional
            l_d of each; zeros by default.
        """
        expected = kept @ self.A
        actual = np.zeros_like(expected) if dropped is None else dropped
        sizes = np.abs(kept) @ np.abs(self.A) + np.abs(actual)
        return np.asarray(np.abs(actual - expected) > _DEPARTURE * sizes)

    def warn(self, what: str, names: Sequence[object], flags: np.ndarray, stacklevel: int) -> None:
        """Warn that functions are not estimable.

        Parameters
        ----------
        what : str
            What they are: ``"rows of newdata"``.
        names : sequence, length k
        flags : numpy.ndarray of bool, shape (k, d)
            As of `undetermined`.
        stacklevel : int
            As in `warnings.warn`, counted from the caller.
        """
        warnings.warn(self.message(what, names, flags), PymackayWarning, stacklevel + 1)

    def message(self, what: str, names: Sequence[object], flags: np.ndarray) -> str:
        """Return the text of the warning; arguments as of `warn`."""
        bad = np.flatnonzero(flags.any(axis=1))
        columns = ", ".join(np.array(self.names)[flags.any(axis=0)])
        return (
            f"the data do not determine {what} {listed([names[int(k)] for k in bad], 5)}: "
            f"the answer depends on the coefficients of columns that were dropped because they "
            f"depend on others ({columns}). It is nan. Leave such combinations out, or take terms "
            f"out of the formula until no column is dropped."
        )
