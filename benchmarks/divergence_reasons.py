"""The reasons why engines differ, and the rules that assign one to each finding."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from benchmarks.divergence_findings import ABOVE, Finding

__all__ = ["REASONS", "UNEXPLAINED", "reasons"]

UNEXPLAINED = "unexplained"

REASONS = MappingProxyType(
    {
        "stops early": "The optimiser stops shortly before the optimum: the criterion of pymackay "
        "is higher at the engine's theta than at its own. All numbers that depend on theta differ.",
        "not the optimum": "The optimiser stops far above the optimum.",
        "not determined": "The criteria are equal, but these numbers differ: the data do not "
        "identify them.",
        "boundary": "The criteria are equal and a covariance matrix is singular. A variance is "
        "zero in one answer and nearly zero in the other, so quantities that are divided by it "
        "differ.",
        "cannot": "The engine has no way to specify this model.",
        "fails": "The engine stops with an error or returns missing values.",
        "other constants": "The log likelihood omits the sum of the logarithms of the weights. "
        "The optimum is the same.",
        "other weights": "The weights multiply the log likelihood of a row (frequency weights). In "
        "lme4 and pymackay they divide the residual variance.",
        "other flag": "The engine uses another threshold to call a covariance matrix singular.",
        "joint information": "The standard errors are computed from the observed information of "
        "beta and the variance parameters together. lme4 and pymackay use X'V⁻¹X at theta.",
        "one degree of freedom": "refit() passes REML = TRUE, which counts as 1, where lmer() "
        "passes the number of fixed effects. With more than one fixed effect this is another "
        "criterion with another optimum, so refit() to the same response changes the estimates.",
        "reads another model": "The engine reads the formula or the arguments as another model.",
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


def reasons(findings: Iterable[Finding]) -> dict[Finding, str]:
    """Return the reason of every finding of one engine on one model.

    A finding without a reason is `UNEXPLAINED`, which the register does not accept.
    """
    findings = list(findings)
    sizes = {f.quantity: f.size for f in findings if f.size is not None}
    above = sizes.get("criterion", 0.0)
    if any(f.engine == "lme4 refit" and f.quantity == "criterion value" for f in findings):
        return dict.fromkeys(findings, "one degree of freedom")
    return {finding: _reason(finding, above) for finding in findings}


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
