"""Fingerprints: of a partition's columns, and of the response of rows that are not kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import pandas as pd


def digest_frame(frame: pd.DataFrame, names: Iterable[str]) -> str:
    """Return a fingerprint of some columns of a partition; columns that it lacks are ignored."""
    digest = hashlib.blake2b(str(len(frame)).encode(), digest_size=16)
    for name in sorted(set(names) & set(frame.columns)):
        column = frame[name]
        digest.update(f" {name} {column.dtype} ".encode())
        if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iufb":
            digest.update(np.ascontiguousarray(column.to_numpy()).data)
        else:
            digest.update(pd.util.hash_pandas_object(column, index=False).to_numpy().data)
    return digest.hexdigest()


def digest_response(y: np.ndarray) -> np.ndarray:
    """Return a fingerprint of a response that can be added up over partitions.

    Parameters
    ----------
    y : numpy.ndarray, shape (n,)
        The response of the rows that are used.

    Returns
    -------
    numpy.ndarray of uint64, shape (1,)
        Sum over rows of the response's bits, each value hashed. The order of rows does not matter.
    """
    bits = (np.asarray(y, dtype=np.float64) + 0.0).view(np.uint64)
    return _hashed(bits).sum(dtype=np.uint64, keepdims=True)


def digest_text(digest: np.ndarray) -> str:
    """Return a fingerprint as text, as in `Model.digest`."""
    return f"{digest.item():016x}"


def _hashed(values: np.ndarray) -> np.ndarray:
    """Return a 64-bit hash of each value, by the finaliser of splitmix64.

    Steele, Lea, Flood 2014, OOPSLA, doi:10.1145/2660193.2660195.
    """
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))
