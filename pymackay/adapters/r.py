"""R's own merMod objects, held by rpy2: `pymackay.lme4.from_r` reads them."""

from __future__ import annotations

import dataclasses
from typing import Any

from pymackay.adapters.engine import Context, Engine, defined_in
from pymackay.reference import lme4
from pymackay.results import Fit


def _read(obj: Any, context: Context) -> Fit:
    """Return the fit that R holds, its rows labelled as the data's where the response is theirs."""
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
