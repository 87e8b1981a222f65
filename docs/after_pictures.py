"""Draw the pictures of docs/after-the-fit.md: ``python docs/after_pictures.py``.

Needs the extra ``plots``.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import matplotlib as mpl  # noqa: E402

mpl.use("Agg")

import pymackay as pm  # noqa: E402

_DPI = 110


def main() -> None:
    """Draw the panel of checks, means, coefficients, all random effects and profiles."""
    folder = ROOT / "docs" / "figures"
    slopes = pm.lmer("Reaction ~ Days + (Days | Subject)", pm.load_data("sleepstudy"))
    pm.check(slopes).plot().savefig(folder / "check.png", dpi=95)
    lines = pm.lmer("angle ~ recipe * temp + (1 | recipe:replicate)", pm.load_data("cake"))
    at = {"temp": [175, 185, 195, 205, 215, 225]}
    means = pm.emmeans(lines, ["temp", "recipe"], at=at)
    means.plot().figure.savefig(folder / "means.png", dpi=_DPI)
    pm.plots.caterpillars(slopes).savefig(folder / "caterpillars.png", dpi=_DPI)
    models = [pm.lmer(f"angle ~ recipe {sign} temperature + (1 | recipe:replicate)",
                      pm.load_data("cake")) for sign in "+*"]  # fmt: skip
    forest = pm.plots.coefficients(models, names=["main effects", "interaction"])
    forest.figure.savefig(folder / "coefficients.png", dpi=_DPI)
    slopes.profile().plot().savefig(folder / "profiles.png", dpi=_DPI)


if __name__ == "__main__":
    main()
