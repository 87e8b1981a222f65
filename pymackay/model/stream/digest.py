"""Fingerprints: of a partition's columns, and of the response of rows that are not kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import pandas as pd


def digest_frame(frame: pd.DataFrame, names: Iterable[str]) -> str:
    """Return a fingerprint of some columns of a partition; those it lacks are passed over."""
    digest = hashlib.blake2b(str(len(frame)).encode(), digest_size=16)
    for name in sorted(set(names) & set(frame.columns)):
        column = frame[name]
        digest.update(f" {name} {column.dtype} ".encode())
        if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iufb":
            digest.update(np.ascontiguousarray(column.to_numpy()).data)
        else:
            digest.update(pd.util.hash_pandas_object(column, index=False).to_numpy().data)
    return digest.hexdigest()


def digest_response(y: np.ndarray, places: np.ndarray | None = None, rows: int = 0) -> np.ndarray:
    """Return fingerprints of a response that can be added up over partitions.

    Parameters
    ----------
    y : numpy.ndarray, shape (n,)
        The response of the rows that are used.
    places : numpy.ndarray of int, shape (n,), optional
        Where they stand in their partition.
    rows : int
        Number of rows of the partition, used or not.

    Returns
    -------
    numpy.ndarray of uint64, shape (3,)
        Sums over rows: of the response's bits, scrambled; of the same with the rows' places, zero
        where these are not given; and one number for the partition's size.
    """
    scrambled = _scrambled((np.asarray(y, dtype=np.float64) + 0.0).view(np.uint64))
    digest = np.zeros(3, dtype=np.uint64)
    digest[0] = scrambled.sum(dtype=np.uint64)
    if places is not None:
        placed = _scrambled(scrambled ^ _scrambled(places.astype(np.uint64)))
        digest[1] = placed.sum(dtype=np.uint64)
        digest[2] = _scrambled(np.array([rows], dtype=np.uint64))[0]
    return digest


def digest_text(digest: np.ndarray) -> tuple[str, ...]:
    """Write fingerprints as `Model.digest` has them."""
    return tuple(f"{part:016x}" for part in digest.tolist())


def same_response(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    """Say whether two fingerprints, written as text, can be of the same rows.

    The rows' places are compared where both were read in partitions of the same sizes.
    """
    if not first or not second:
        return True
    same_places = first[2] != second[2] or first[1] == second[1]
    return first[0] == second[0] and same_places


def _scrambled(values: np.ndarray) -> np.ndarray:
    """Return 64 well-mixed bits for each value, by the finaliser of splitmix64.

    Steele, Lea, Flood 2014, OOPSLA, doi:10.1145/2660193.2660195.
    """
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))
