"""Why engines differ: the reasons of the register, and the rule that gives each finding its own."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from benchmarks.divergence_findings import ABOVE, Finding

__all__ = ["REASONS", "UNEXPLAINED", "reasons"]

UNEXPLAINED = "unexplained"

REASONS = MappingProxyType(
    {
        "stops early": "Its optimiser stops before the optimum: by our arithmetic the criterion at "
        "its theta is higher than at ours. Every number that follows from theta differs with it.",
        "not the optimum": "Its optimiser ends well above the optimum.",
        "not determined": "The criteria are equal and these numbers are not: the data do not tell "
        "them.",
        "boundary": "The criteria are equal and a covariance matrix is singular: a variance is "
        "zero in one answer and nearly zero in the other, so that what is divided by it differs.",
        "cannot": "It has no way to state this model.",
        "fails": "It stops with an error, or gives no number.",
        "other constants": "Its log likelihood leaves out the weights' own part, the sum of "
        "their logarithms; the optimum is the same.",
        "other weights": "Its weights multiply the log likelihood, as if a row had been seen so "
        "often; lme4's and ours divide the residual variance.",
        "other flag": "The same covariance matrix is called singular by another threshold.",
        "joint information": "Its standard errors come from the observed information of beta and "
        "the variance parameters together; lme4's and ours from X'V⁻¹X at theta.",
        "one degree of freedom": "refit() hands REML = TRUE, which counts as 1, to the constructor "
        "that lmer() tells the number of fixed effects. With more than one it is another "
        "criterion, with another optimum: refit() to the same response moves away from the fit.",
        "reads another model": "It reads the formula, or its arguments, as another model.",
    }
)

_FAR = 0.1  # criterion units
_NOT_STATED = (
    "cannot:",
    "not supported",
    "not implemented",
    "syntax error",
    "Expected",
    "Unexpected",
    "is not a numeric fixed term",
    "must be numeric",
)
_OBSERVED = ("glmmTMB", "statsmodels")
_BY_LIKELIHOOD = ("glmmTMB",)
_OF_BETA = ("std_error", "vcov")
_OF_THETA = ("sigma", "variance", "covariance", "b", "condvar", "pev", "fitted", "beta")


def reasons(found: Iterable[Finding]) -> dict[Finding, str]:
    """Return the reason of every finding of one engine on one model.

    What is left over is `UNEXPLAINED`, which the register does not take.
    """
    found = list(found)
    sizes = {f.quantity: f.size for f in found if f.size is not None}
    above = sizes.get("criterion", 0.0)
    if any(f.engine == "lme4 refit" and f.quantity == "criterion value" for f in found):
        return dict.fromkeys(found, "one degree of freedom")
    return {finding: _reason(finding, above) for finding in found}


def _reason(finding: Finding, above: float) -> str:
    quantity = finding.quantity.removesuffix(" at one theta")
    if quantity == "fit":
        stated = not any(words in finding.said for words in _NOT_STATED)
        return "fails" if stated else "cannot"
    if finding.engine in _BY_LIKELIHOOD and "weights" in finding.case:
        return "other weights"
    if finding.engine == "lme-python" and quantity == "criterion value":
        return "other constants" if "weights" in finding.case else UNEXPLAINED
    if finding.engine in _OBSERVED and quantity in _OF_BETA:
        return "joint information"
    if quantity not in ("criterion", "criterion value", "singular", *_OF_BETA, *_OF_THETA):
        return "reads another model"
    if above > ABOVE:
        return "not the optimum" if above > _FAR else "stops early"
    if quantity == "singular":
        return "other flag"
    if quantity in _OF_THETA and finding.quantity == quantity:
        return "boundary" if finding.singular else "not determined"
    return UNEXPLAINED
