"""Parts of the variance of models with residual structures, as `icc` and `r2` need them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pymackay.errors import PymackayError
from pymackay.infer.residual.new_rows import residual_variances
from pymackay.infer.residual.problem import residual_problem
from pymackay.infer.tables.explained import (
    VarianceParts,
    fixed_variance,
    random_variances,
    refuse_method,
)
from pymackay.results import Fit


def variance_parts(fit: Fit, what: str, method: str | None) -> VarianceParts:
    """Return the parts of the variance; the residual one is the mean over the rows."""
    refuse_method(method)
    model = residual_problem(fit, what).model
    return VarianceParts(
        fixed=fixed_variance(fit, model),
        random=random_variances(fit, model),
        residual=float(np.mean(residual_variances(fit, None, None))),
    )


def grouped_parts(fit: Fit, method: str | None) -> VarianceParts:
    """Return the parts of the variance for `icc`.

    The correlation rho of `cs` is that of rows which share an effect: rho times the residual
    variance counts as random, under the name of the group, and the rest as residual.

    Raises
    ------
    PymackayError
        If nothing in the model makes all rows of a group correlate alike.
    """
    parts, part = variance_parts(fit, "icc", method), fit.residual_covariance
    if part is not None and part.tag == "cs":
        shared = float(part.par["cs.rho"]) * parts.residual
        random = parts.random.copy()
        random[part.group] = random.get(part.group, 0.0) + shared
        return replace(parts, random=random, residual=parts.residual - shared)
    if part is not None and parts.random.empty:
        raise PymackayError(
            f"icc is the correlation of any two rows of a group, but residual={part.text!r} has no "
            f"such number. Look at fit.residual_covariance.correlation and .par, or fit "
            f"residual='cs(visit | group)' or a random term such as (1 | group)."
        )
    return parts
