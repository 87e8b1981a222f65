"""Draw docs/figures/structures.png, what structures mean: ``python docs/structures_picture.py``."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import pymackay as pm  # noqa: E402

_STRUCTURES = {
    "diag(0 + Day | Subject)": "a variance for each day, no correlation",
    "cs(0 + Day | Subject, hom = TRUE)": "one variance, one correlation",
    "cs(0 + Day | Subject)": "a variance for each day, one correlation",
    "ar1(0 + Day | Subject)": "correlation falls with distance",
    "toep(0 + Day | Subject, hom = TRUE)": "a correlation for each distance",
    "rr(0 + Day | Subject, d = 2)": "two factors",
    "fa(0 + Day | Subject)": "one factor, and a variance for each day",
}
_ANYTHING = "us(Day | Subject)"


def main() -> None:
    """Draw the standard deviations and correlations of the ten days under each structure."""
    sleep = pm.load_data("sleepstudy")
    sleep["Day"] = pd.Categorical(sleep["Days"].astype(int))
    figure, axes = plt.subplots(2, 4, figsize=(13.0, 7.4), constrained_layout=True)
    for axis, (term, meaning) in zip(axes.flat, _STRUCTURES.items(), strict=False):
        with warnings.catch_warnings():
            # sigma is not determined beside some of them: only the sum that is drawn is
            warnings.simplefilter("ignore", pm.PymackayWarning)
            fit = pm.lmer(f"Reaction ~ Days + {term}", sleep)
        matrix = fit.varcorr["Subject"].to_numpy() + fit.sigma**2 * np.eye(10)
        _draw(axis, fit, matrix, f"{term}\n{meaning}")
    fit = pm.lmer("Reaction ~ Days", sleep, residual=_ANYTHING)
    matrix = fit.residual_covariance.covariance.to_numpy()
    image = _draw(axes.flat[-1], fit, matrix, f"residual = {_ANYTHING}\nanything")
    figure.colorbar(image, ax=axes, label="covariance of two days, residual included", shrink=0.7)
    path = ROOT / "docs" / "figures" / "structures.png"
    figure.savefig(path, dpi=110)
    print(path.relative_to(ROOT))


def _draw(axis: plt.Axes, fit: pm.Fit, matrix: np.ndarray, title: str) -> mpl.image.AxesImage:
    """Draw a covariance matrix, (q, q), of a fit."""
    axis.set_title(title, fontsize=9)
    axis.set_xlabel(f"{fit.df - len(fit.beta)} parameters, AIC {fit.aic:.0f}")
    image = axis.imshow(matrix, vmin=0.0, vmax=4000.0, cmap="Blues")
    axis.set_xticks(range(0, 10, 3))
    axis.set_yticks(range(0, 10, 3))
    return image


if __name__ == "__main__":
    main()
