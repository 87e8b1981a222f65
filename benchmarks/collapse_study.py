"""Compares measured and predicted results of MacKay's literal loop: collapse and shares kept.

``python -m benchmarks.collapse_study --out FOLDER`` simulates data sets over a range of
signal-to-noise ratios, fits each by REML (MacKay's own divisor), runs the literal loop from there,
and writes one row per data set and direction to ``collapse_study.csv``, and measured against
predicted to ``collapse_summary.csv``.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.batched_loop import (
    Batch,
    BatchEnd,
    Design,
    Moments,
    information_share,
    run_batch,
    simulate,
)
from pymackay.infer.gap.forecast import fixed_point
from pymackay.solve.loop.collapse import SURVIVAL

__all__ = [
    "STUDIES",
    "Study",
    "gamma_rule",
    "raw_rule",
    "run_study",
    "summarise",
    "survival_chance",
    "threshold",
]

SNR = tuple(np.geomspace(0.25, 20.0, 15).round(4).tolist())
_DEAD = 1e-9  # relative: a smaller REML variance counts as zero
_GONE = 1e-3  # a direction that keeps a smaller share of its variance has collapsed


@dataclass(frozen=True, eq=False)
class Study:
    """A design, and how its random effects are drawn.

    Attributes
    ----------
    name : str
    design : Design
    weights : numpy.ndarray, shape (q,)
        SNR of each direction in units of the study's.
    """

    name: str
    design: Design
    weights: np.ndarray

    @property
    def balanced(self) -> bool:
        """Whether all levels have the same information."""
        return len(self.design.kinds) == 1

    def covariance(self, snr: float) -> np.ndarray:
        """Return V: the SNR of direction k is ``snr * weights[k]``."""
        root = np.linalg.cholesky(self.design.noise)
        return (root * (snr * self.weights)) @ root.T


def _one_way(sizes: list[int], each: int = 1) -> Design:
    return Design(tuple(np.ones((m, 1)) for m in sizes), (each,) * len(sizes))


def _slopes(lengths: list[int], each: int) -> Design:
    kinds = tuple(np.column_stack([np.ones(m), np.arange(float(m))]) for m in lengths)
    return Design(kinds, (each,) * len(lengths))


STUDIES = (
    Study("one effect, 6 levels of 8 rows", _one_way([8], 6), np.ones(1)),
    Study("one effect, 18 levels of 8 rows", _one_way([8], 18), np.ones(1)),
    Study("one effect, 60 levels of 8 rows", _one_way([8], 60), np.ones(1)),
    Study(
        "one effect, 24 levels of 2 to 20 rows", _one_way([2, 3, 4, 5, 7, 9, 14, 20], 3), np.ones(1)
    ),
    Study("intercept and slope, 18 levels of 10 rows", _slopes([10], 18), np.array([0.25, 1.0])),
    Study(
        "intercept and slope, 18 levels of 5 to 10 rows",
        _slopes([5, 6, 7, 8, 9, 10], 3),
        np.array([0.25, 1.0]),
    ),
)


def run_study(study: Study, count: int = 200, seed: int = 2024) -> pd.DataFrame:
    """Return one row per data set and direction.

    Parameters
    ----------
    study : Study
    count : int
        Data sets for each signal-to-noise ratio.
    seed : int

    Returns
    -------
    pandas.DataFrame
        ``study``, ``balanced``, ``snr`` (of the simulation), ``s`` (at the REML estimate),
        ``noise_ratio`` (the loop's σ² over REML's), ``kept`` (the loop's variance over REML's),
        ``survives``, ``rounds``.
    """
    rng = np.random.default_rng(seed)
    parts = [simulate(study.design, study.covariance(snr), count, rng) for snr in SNR]
    batch = Batch(
        study.design,
        np.concatenate([part.first for part in parts]),
        np.concatenate([part.second for part in parts]),
        np.concatenate([part.squares for part in parts]),
    )
    snr = np.repeat(SNR, count)
    start = np.array([study.covariance(value) for value in SNR]).repeat(count, axis=0)
    reml = run_batch(batch, start, np.ones(len(start)), gamma_rule)
    literal = run_batch(batch, reml.V, reml.noise_var, raw_rule)
    return _rows(study, snr, reml, literal)


def raw_rule(shown: Moments) -> np.ndarray:
    """V ← cov(B̂); the predictions' mean is zero, because X has the columns of Z."""
    return shown.G @ shown.squares @ shown.G / (shown.levels - 1)


def gamma_rule(shown: Moments) -> np.ndarray:
    """MacKay's divisor: V ← A V A' of `pymackay.solve.loop.rules.gamma.gamma_root`."""
    half, inverse = _powers(shown.traces, 0.5), _powers(shown.traces, -0.5)
    A = inverse @ _powers(inverse @ shown.squares @ inverse, 0.5) @ half
    return A @ shown.G @ A.swapaxes(-1, -2)


def _powers(matrices: np.ndarray, power: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrices)
    values = np.maximum(values, 1e-300)
    return (vectors * values[:, None, :] ** power) @ vectors.swapaxes(-1, -2)


def _rows(study: Study, snr: np.ndarray, reml: BatchEnd, literal: BatchEnd) -> pd.DataFrame:
    """Return one row per data set and direction; the directions are those of the REML fit."""
    values, vectors = np.linalg.eigh(reml.V / reml.noise_var[:, None, None])
    live = values > _DEAD * values[:, -1:]
    roots = np.sqrt(np.where(live, values, 1.0))
    L = vectors * np.where(live, roots, 0.0)[:, None, :]
    share = information_share(study.design, reml.V, reml.noise_var)
    gamma, axes = np.linalg.eigh(L.swapaxes(-1, -2) @ share @ L)
    inverse = (vectors * np.where(live, 1.0 / roots, 0.0)[:, None, :]).swapaxes(-1, -2)
    loop = inverse @ (literal.V / reml.noise_var[:, None, None]) @ inverse.swapaxes(-1, -2)
    kept = np.einsum("dik,dij,djk->dk", axes, loop, axes)
    q = values.shape[1]
    return pd.DataFrame(
        {
            "study": study.name,
            "balanced": study.balanced,
            "snr": np.repeat(snr, q),
            "s": (1.0 / (1.0 - gamma)).ravel(),
            "noise_ratio": np.repeat(literal.noise_var / reml.noise_var, q),
            "kept": kept.ravel(),
            "survives": kept.ravel() > _GONE,
            "rounds": np.repeat(literal.rounds, q),
        }
    )


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Return measured and predicted results for each study and signal-to-noise ratio.

    The prediction uses each data set's s, at the loop's σ². ``error`` is the largest difference of
    the share kept, and ``chance`` the probability of survival by the F distribution (for balanced
    designs with one effect).
    """
    ratio = table["s"] / table["noise_ratio"]
    signal = np.where(table["s"] > 1.0 + _DEAD, table["s"] - 1.0, 1.0)
    predicted = fixed_point(ratio) * table["noise_ratio"] / signal
    compared = table.assign(
        predicted=predicted,
        survival_predicted=ratio >= SURVIVAL,
        error=(table["kept"] - predicted).abs(),
    )
    groups = compared.groupby(["study", "snr"], sort=False)
    summary = groups.agg(
        directions=("s", "size"),
        survive=("survives", "mean"),
        survive_predicted=("survival_predicted", "mean"),
        kept=("kept", "mean"),
        kept_predicted=("predicted", "mean"),
        error=("error", "max"),
    ).reset_index()
    simple = {s.name: s for s in STUDIES if s.balanced and len(s.weights) == 1}
    summary["chance"] = [
        float(survival_chance(simple[name], snr)) if name in simple else np.nan
        for name, snr in zip(summary["study"], summary["snr"], strict=True)
    ]
    return summary


def threshold(study: Study) -> float:
    """Return the s (at REML's σ²) from which one effect survives in a balanced design.

    At the loop's own σ² the threshold is 4, where t* = 1. There the loop has handed half of the
    direction to the noise, so that its σ² is larger than REML's by d / (d − ν/2), with d residual
    degrees of freedom within levels and ν between them.
    """
    levels = study.design.levels
    within, between = study.design.n - levels, levels - 1
    return 4.0 * within / (within - 0.5 * between)


def survival_chance(study: Study, snr: np.ndarray | float) -> np.ndarray:
    """Return the chance that one effect survives in a balanced design: s/(1 + SNR) is F."""
    levels = study.design.levels
    within, between = study.design.n - levels, levels - 1
    return stats.f.sf(threshold(study) / (1.0 + np.asarray(snr)), between, within)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path())
    parser.add_argument("--count", type=int, default=200, help="data sets per point")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    table = pd.concat([run_study(study, options.count) for study in STUDIES])
    table.to_csv(options.out / "collapse_study.csv", index=False, float_format="%.8g")
    summary = summarise(table)
    summary.to_csv(options.out / "collapse_summary.csv", index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
