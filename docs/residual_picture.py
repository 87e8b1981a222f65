"""Draw docs/figures/residuals.png, what structures mean: ``python docs/residual_picture.py``."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import pymackay as pm  # noqa: E402

_FORMULA = "bdi ~ bdi_pre + treatment * factor(month)"
_STRUCTURES = {
    "diag(month | patient)": "a variance for each visit",
    "cs(1 | patient, hom = TRUE)": "one variance, one correlation",
    "ou(month | patient)": "correlation falls with time",
    "us(month | patient)": "anything (MMRM)",
}


def main() -> None:
    """Draw the covariance matrix of the four visits under each structure."""
    trial = pm.load_data("BtheB")
    figure, axes = plt.subplots(1, 4, figsize=(12.0, 3.7), constrained_layout=True)
    months = [str(month) for month in sorted(trial["month"].unique())]
    for axis, (residual, meaning) in zip(axes, _STRUCTURES.items(), strict=True):
        fit = pm.lmer(_FORMULA, trial, residual=residual)
        matrix = fit.residual_covariance.covariance
        image = _draw(axis, matrix, months)
        axis.set_title(f"{residual}\n{meaning}", fontsize=10)
        parameters = len(fit.residual_covariance.par) + 1
        axis.set_xlabel(f"month\n{parameters} parameters, AIC {fit.aic:.1f}")
    axes[0].set_ylabel("month")
    figure.colorbar(image, ax=axes, label="covariance", shrink=0.8)
    path = ROOT / "docs" / "figures" / "residuals.png"
    figure.savefig(path, dpi=110)
    print(path.relative_to(ROOT))


def _draw(axis: plt.Axes, matrix: pd.DataFrame, names: list[str]) -> mpl.image.AxesImage:
    """Draw a covariance matrix, (q, q), with its numbers."""
    values = matrix.to_numpy()
    image = axis.imshow(values, vmin=0.0, vmax=100.0, cmap="Blues")
    for i, j in np.ndindex(values.shape):
        color = "white" if values[i, j] > 60.0 else "black"
        axis.text(j, i, f"{values[i, j]:.0f}", ha="center", va="center", color=color)
    axis.set_xticks(range(len(names)), names)
    axis.set_yticks(range(len(names)), names)
    return image


if __name__ == "__main__":
    main()
