"""The engine for R's merMod objects in rpy2, which `pymackay.lme4.from_r` reads."""

from __future__ import annotations

import dataclasses
from typing import Any

from pymackay.adapters.engine import Context, Engine, defined_in
from pymackay.reference import lme4
from pymackay.results import Fit


def _read(obj: Any, context: Context) -> Fit:
    """Return the fit, with the row labels of the context's data if they have its response."""
    fit = lme4.from_r(obj)
    if context.model is None or not context.has_response((fit.fitted + fit.residuals).to_numpy()):
        return fit
    rows = context.model.rows
    return fit.replace(
        model=dataclasses.replace(fit.model, rows=rows),
        fitted=fit.fitted.set_axis(rows),
        residuals=fit.residuals.set_axis(rows),
    )


ENGINE = Engine("rpy2", defined_in("rpy2"), _read)
