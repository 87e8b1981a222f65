"""`Checkpoint`: the point that a search has reached, in a file from which the search can resume."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pymackay._files import sums_path, write_arrays
from pymackay.covariance.layout import TermLayout
from pymackay.errors import ArgumentError
from pymackay.model.sums.sparse_gram import SparseGram


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A file that is replaced after every step and removed when the search has ended.

    Attributes
    ----------
    path : pathlib.Path or None
        None: no file is written.
    fingerprint : str
        Hash of formula, criterion and cross-products.
    layouts : tuple of TermLayout
    """

    path: Path | None
    fingerprint: str
    layouts: tuple[TermLayout, ...]

    def load(self) -> tuple[list[np.ndarray], int] | None:
        """Return the relative factors and the number of probes; None if there is no file.

        Raises
        ------
        ArgumentError
            If the file belongs to another model or has another format.
        """
        if self.path is None or not self.path.exists():
            return None
        try:
            with np.load(self.path, allow_pickle=False) as file:
                fingerprint, theta = str(file["fingerprint"]), file["theta"]
                probes = int(file["probes"])
        except (OSError, ValueError, KeyError) as error:
            raise ArgumentError(
                f"checkpoint '{self.path}' cannot be read ({error}); delete it, or name another."
            ) from error
        if fingerprint != self.fingerprint:
            raise ArgumentError(
                f"checkpoint '{self.path}' is of another model or other data; delete it, or name "
                f"another."
            )
        return [layout.factor(theta) for layout in self.layouts], probes

    def save(self, factors: list[np.ndarray], probes: int) -> None:
        """Replace the file by the current relative factors and number of probes, in one step."""
        if self.path is None:
            return
        theta = [u.elements(factor) for u, factor in zip(self.layouts, factors, strict=True)]
        point = {"theta": np.concatenate(theta), "probes": np.array(probes)}
        write_arrays(self.path, {"fingerprint": np.array(self.fingerprint), **point})

    def remove(self) -> None:
        """Remove the file, and the file with the sums of a source, at the end of a fit."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
            sums_path(self.path).unlink(missing_ok=True)


def open_checkpoint(
    path: str | os.PathLike[str] | None, formula: str, gram: SparseGram, *, reml: bool
) -> Checkpoint:
    """Return the checkpoint of a model at `path`."""
    if path is None:
        return Checkpoint(None, "", gram.layouts)
    digest = hashlib.sha256(f"{formula} {reml} {gram.n}".encode())
    for array in (*gram.diagonals, *gram.dense, *gram.transforms):
        digest.update(np.ascontiguousarray(array.round(6)).tobytes())
    return Checkpoint(Path(path), digest.hexdigest(), gram.layouts)
