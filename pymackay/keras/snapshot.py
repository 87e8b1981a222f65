"""`take`: one pass over the training rows, at the present weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pymackay.keras.curvature.columns import Columns
from pymackay.keras.curvature.determined import Sums
from pymackay.keras.network.likelihoods import Likelihood, mean, responses
from pymackay.keras.network.linearise import Linearisation
from pymackay.keras.network.rows import TrainingRows
from pymackay.keras.network.taps import DenseTap, FullRows, Piece, TableTap


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What the rows say of the network at its present weights.

    Attributes
    ----------
    deviance : float
        −2 log p(y | f), gaussian: weighted sum of squares.
    gradient : numpy.ndarray, shape (P,)
        Half the deviance's gradient in the weights.
    n_obs : float
        Sum of the sample weights, times the outputs of a gaussian likelihood.
    n_rows : int
        Training rows.
    outputs : int
        K.
    sums : Sums
        What was collected of the Jacobian.
    """

    deviance: float
    gradient: np.ndarray
    n_obs: float
    n_rows: int
    outputs: int
    sums: Sums


def take(
    rows: TrainingRows,
    linearisation: Linearisation,
    likelihood: Likelihood,
    columns: Columns,
    sums: Sums,
) -> Snapshot:
    """Return a snapshot; `sums` is filled with the Jacobian rows."""
    deviance, total, count, outputs = 0.0, 0.0, 0, 0
    gradient = np.zeros(columns.size)
    for chunk in rows.chunks():
        n = len(chunk.y)
        f, pieces = linearisation.pieces(chunk.x, n)
        y = responses(likelihood, chunk.y, f.shape[1])
        deviance += float(chunk.weight @ likelihood.deviance(f, y))
        score = (mean(likelihood, f, y) - y) * chunk.weight[:, None]
        _add_gradient(gradient, columns, pieces, score)
        root = likelihood.root(f)
        sums.add(pieces, root * np.sqrt(chunk.weight).reshape(-1, *[1] * (root.ndim - 1)))
        total, count, outputs = total + float(chunk.weight.sum()), count + n, f.shape[1]
    n_obs = total * (outputs if likelihood.dispersed else 1)
    return Snapshot(deviance, gradient, n_obs, count, outputs, sums)


def deviance_of(rows: TrainingRows, linearisation: Linearisation, likelihood: Likelihood) -> float:
    """Return the deviance at the present weights, without the Jacobian."""
    total = 0.0
    for chunk in rows.chunks():
        f = linearisation.outputs(chunk.x)[: len(chunk.y)]
        y = responses(likelihood, chunk.y, f.shape[1])
        total += float(chunk.weight @ likelihood.deviance(f, y))
    return total


def _add_gradient(
    gradient: np.ndarray, columns: Columns, pieces: Sequence[Piece], score: np.ndarray
) -> None:
    """Add Σ_k J_k's_k, s being (n, K), to a vector of all weights."""
    spans = columns.spans
    for piece in pieces:
        if isinstance(piece, FullRows):
            part = np.einsum("nk,nkp->p", score, piece.rows)
            gradient[spans[piece.variable].slice] += part
            continue
        slopes = np.einsum("nk,nktc->ntc", score, piece.slopes)
        if isinstance(piece, TableTap):
            if piece.table >= 0:
                span = spans[piece.table]
                own = gradient[span.slice].reshape(span.shape)
                np.add.at(own, piece.codes.reshape(-1), slopes.reshape(-1, span.width))
            continue
        if piece.kernel >= 0:
            part = np.einsum("nti,nto->io", piece.inputs, slopes, optimize=True)
            gradient[spans[piece.kernel].slice] += part.reshape(-1)
        if isinstance(piece, DenseTap) and piece.bias >= 0:
            gradient[spans[piece.bias].slice] += slopes.sum(axis=(0, 1))
