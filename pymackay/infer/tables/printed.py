"""`printed`: what ``print(fit)`` shows."""

from __future__ import annotations

import pandas as pd

from pymackay._text import table_lines
from pymackay.covariance.varcorr import VarCorr, printed_correlations
from pymackay.infer.kinds import any_kind
from pymackay.results import Fit


@any_kind
def printed(fit: Fit) -> str:
    """Return what ``print(fit)`` shows."""
    kind = "REML" if fit.reml else "ML"
    heading = f"Linear mixed model fit by {kind}"
    if fit.general is not None:
        heading = f"Generalized linear mixed model fit by {fit.general.method}"
    lines = [
        f"{heading}: {fit.engine}",
        *([] if fit.general is None else [f"Family: {fit.general.family_text}"]),
        f"Formula: {fit.formula}",
        f"{'REML criterion' if fit.reml else '-2 log likelihood'}: {fit.criterion:.4f}"
        f"   rows: {fit.n_obs}"
        + "".join(
            f"   {group}: {len(levels)} levels" for group, levels in fit.model.levels.items()
        ),
        "Random effects:",
        *_random_effects_lines(fit),
        *([] if fit.residual_covariance is None else fit.residual_covariance.lines()),
        "Fixed effects:",
        *_estimate_lines(estimates(fit)),
    ]
    return "\n".join([*lines, *fit._remarks, *fit.messages])


def estimates(fit: Fit) -> pd.DataFrame:
    """Return R's table of the fixed effects: estimate, standard error, t or z value."""
    beta, error = fit.beta, fit.std_error
    ratio = "t value" if fit.general is None else "z value"
    return pd.DataFrame({"Estimate": beta, "Std. Error": error, ratio: beta / error})


def _estimate_lines(table: pd.DataFrame) -> list[str]:
    """Lay the table of fixed effects out in lines."""
    numbers = [[f"{value:.6g}" for value in table[name]] for name in table]
    return table_lines(["", *table.columns], [list(map(str, table.index)), *numbers])


def _random_effects_lines(fit: Fit) -> list[str]:
    """Lay variances out as lme4's ``print(VarCorr(fit))`` does, residual last."""
    rows = []
    terms = {term.name: term for term in fit.model.terms}
    for term, table in fit.varcorr.items():
        parts = VarCorr.of(table)
        for i, cells in printed_correlations(terms.get(term), parts):
            corr = [f"{cell:.2f}" if isinstance(cell, float) else cell for cell in cells]
            corr = ["" if text == "nan" else text for text in corr]
            rows.append([term if i == 0 else "", parts.effects[i], f"{parts.sd[i]:.6g}", *corr])
    if fit.has_residual:
        rows.append(["Residual", "", f"{fit.sigma:.6g}"])
    width = max((len(row) for row in rows), default=3)
    header = ["Groups", "Name", "Std.Dev.", "Corr", *[""] * width][:width]
    columns = [[row[k] if k < len(row) else "" for row in rows] for k in range(width)]
    return table_lines(header, columns, names=2)
