"""`further_starts`: where else to look, when what one search has found may be a local optimum."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pymackay.covariance.layout import lower_factor
from pymackay.model.sums.gram import Bases
from pymackay.solve.search.start import noise_level
from pymackay.solve.solver import criterion_value

__all__ = ["further_starts"]

_SPREADS = (10.0, 1.0)  # sd of every effect in units of its noise level
_NEAR_ZERO = 0.1
_HIDDEN = 1e-2  # share of a column that the fixed effects leave, below which it tells little
_NOTHING = 1e-10  # below: nothing is left but rounding


def further_starts(
    gram: Bases, reml: bool, factors: list[np.ndarray], criterion: float, *, sure: bool
) -> Iterator[list[np.ndarray]]:
    """Yield relative factors to start from.

    Parameters
    ----------
    gram : Gram
    reml : bool
    factors : list of numpy.ndarray
        What one search has found.
    criterion : float
        There.
    sure : bool
        Whether it is certified and inside the cone of covariance matrices.
    """
    noise = [np.sqrt(noise_level(gram, k)) for k in range(len(gram.layouts))]
    alone = [size * np.eye(u.q) for size, u in zip(noise, gram.layouts, strict=True)]
    told_twice = [*_hidden(gram), *_entangled(gram)]
    if told_twice or not sure:
        for spread in _SPREADS:
            yield [spread * start for start in alone]
    if criterion > criterion_value(gram, reml=reml, logdet_v=0.0, logdet_x=0.0, r2=1.0):
        yield [_NEAR_ZERO * start for start in alone]  # no random effects at all were better
    for found in told_twice:
        for others in (factors, alone):
            yield [noise[k] * found[k] if k in found else f for k, f in enumerate(others)]


def _hidden(gram: Bases) -> Iterator[dict[int, np.ndarray]]:
    """Yield, alone, the terms with an effect that the fixed ones nearly carry, and a factor for it.

    The levels' common part of such an effect tells of another variance than their differences do,
    with so much less weight that the criterion can have an optimum for either. The factor is
    larger than the noise by as much as the weight is less.
    """
    if not gram.p:
        return
    for k, block in enumerate(gram.blocks):
        A, C = gram.level_moments(k)
        whole, carried = A.sum(axis=0), C[:, :, : gram.p].sum(axis=0)
        for term, columns in gram.block_slices(block):
            values, vectors = np.linalg.eigh(whole[columns, columns])
            floor = _NOTHING * values[-1]
            unit = vectors / np.sqrt(np.where(values > floor, values, np.inf))
            lost = unit.T @ carried[columns]
            left, axes = np.linalg.eigh(np.eye(len(unit)) - lost @ lost.T)
            nearly = (left > _NOTHING) & (left < _HIDDEN)
            if nearly.any():
                size = np.where(nearly, 1.0 / np.sqrt(np.maximum(left, _NOTHING)), 1.0)
                yield {term: lower_factor(vectors @ axes * size)}


def _entangled(gram: Bases) -> Iterator[dict[int, np.ndarray]]:
    """Yield the terms of a factor together whose columns are nearly one, with factors for them.

    ``(x || g)`` with x far off zero: what such effects do by themselves tells of small variances,
    and what is left where they cancel of others, larger by as much as less is left.
    """
    for k, block in enumerate(gram.blocks):
        if len(block.terms) < 2:
            continue
        whole = gram.level_moments(k)[0].sum(axis=0)
        scale = np.sqrt(np.maximum(np.diag(whole), np.finfo(np.float64).tiny))
        left = float(np.linalg.eigvalsh(whole / np.outer(scale, scale))[0])
        if _NOTHING < left < _HIDDEN:
            size = 1.0 / np.sqrt(left)
            yield {term: size * np.eye(gram.layouts[term].q) for term in block.terms}
