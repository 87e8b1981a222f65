"""`variance_test`: is a variance zero? The likelihood ratio at the boundary."""

from __future__ import annotations

from scipy import stats

from pymackay.errors import ArgumentError
from pymackay.infer.kinds import SAME, by_kind
from pymackay.infer.problem import check_fit, model_of
from pymackay.infer.refit import refit_by
from pymackay.infer.significance.comparable import (
    check_nested,
    check_same_criterion,
    check_same_data,
)
from pymackay.infer.significance.without_effects import optimum_without
from pymackay.infer.tables.headed_table import HeadedTable
from pymackay.results import Fit, TermSummary

_SMALLER = "Fit the smaller model to the same data and pass that: fit.variance_test(smaller)."
_ROUNDING = 1e-10  # of the criterion: a ratio below it is zero


@by_kind(SAME)
def variance_test(fit: Fit, reduced: Fit | str | tuple[str, str]) -> HeadedTable:
    """Test whether the variance of one random effect is zero.

    Under the hypothesis the variance lies on the boundary of what is possible, where the
    likelihood ratio does not follow a chi-square: for one effect beside q others that it may
    correlate with, its distribution is the equal mixture ½ χ²(q) + ½ χ²(q + 1). The usual
    χ²(q + 1) is too cautious.

    Parameters
    ----------
    fit : Fit
        Of the model with the effect.
    reduced : Fit, str, or tuple of (str, str)
        The fit without it; or the random term to leave out, by its name in ``fit.varcorr``, which
        must hold one effect; or (term, effect) to leave one effect out of a term.

    Returns
    -------
    HeadedTable
        One row: ``Chisq``, the difference of the criteria (REML's where `fit` is by REML);
        ``Df``, q + 1; ``Mixture``, the distribution's name; ``Pr(>Mixture)``; and
        ``Pr(>Chisq)``, the p-value that ignores the boundary.

    Raises
    ------
    PymackayError
        If the models differ in their fixed parts or data, or in anything but one random effect.

    References
    ----------
    Self, Liang 1987, J. Am. Stat. Assoc. 82, case 5.
    Stram, Lee 1994, Biometrics 50, cases 1 to 3.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Reaction ~ Days + (Days | Subject)", pm.load_data("sleepstudy"))
    >>> test = pm.variance_test(fit, ("Subject", "Days"))
    >>> test["Mixture"].tolist(), test["Chisq"].round(4).tolist()
    (['0.5 chi2(1) + 0.5 chi2(2)'], [42.8368])
    """
    check_fit(fit, "variance_test")
    if isinstance(reduced, Fit):
        term, criterion_without = _without_by_fit(fit, reduced)
    else:
        term, criterion_without = _without_by_name(fit, reduced)
    if term.structure and len(term.effects) > 1:
        raise ArgumentError(
            f"reduced: the term {term.name!r} has the structure {term.structure}, whose variances "
            f"are tested by no known mixture of chi-squares. Compare the fits with and without it "
            f"by fit.aic, or draw the distribution with fit.simulate and fit.refit."
        )
    ratio = criterion_without - fit.criterion
    ratio = 0.0 if abs(ratio) < _ROUNDING * max(abs(fit.criterion), fit.n_obs) else ratio
    if ratio < 0.0:
        raise ArgumentError(
            f"reduced: its criterion is {-ratio:.3g} below that of the model that contains it, so "
            f"that one of the two is not at its optimum. Look at fit.convergence of both."
        )
    q = len(term.effects) - 1
    below = stats.chi2.sf(ratio, q) if q else float(ratio <= 0.0)
    above = float(stats.chi2.sf(ratio, q + 1))
    row = {
        "Chisq": [ratio],
        "Df": [q + 1],
        "Mixture": [f"0.5 chi2({q}) + 0.5 chi2({q + 1})"],
        "Pr(>Mixture)": [0.5 * float(below) + 0.5 * above],
        "Pr(>Chisq)": [above],
    }
    criterion = "REML" if fit.reml else "maximum likelihood"
    heading = f"Test of a variance on the boundary, by {criterion}: {term.name}"
    return HeadedTable(row, index=[term.name], heading=heading)


def _without_by_fit(fit: Fit, reduced: Fit) -> tuple[TermSummary, float]:
    """Return the term that a smaller fit lacks, whole or in part, and the criterion of that fit.

    A reduced fit by the other criterion (REML or ML) is refitted by that of `fit`.
    """
    check_same_data(fit, reduced)
    check_same_criterion(fit, reduced)
    if fit.model.fixed != reduced.model.fixed:
        raise ArgumentError(
            f"reduced: the fixed parts differ ({', '.join(fit.model.fixed)} and "
            f"{', '.join(reduced.model.fixed)}); variances are tested with equal fixed parts, and "
            f"coefficients with anova or contrast."
        )
    smaller = [_key(term) for term in reduced.model.terms]
    unmatched = list(fit.model.terms)
    for key in smaller:
        match = next((term for term in unmatched if _key(term) == key), None)
        if match is not None:
            unmatched.remove(match)
    known = [_key(term) for term in fit.model.terms]
    added = [key for key in smaller if key not in known]
    if len(unmatched) != 1 or len(added) > 1 or not _one_less(unmatched[0], added):
        raise ArgumentError(
            "reduced: the models must differ in one random effect: a term of one effect that is "
            "left out, or one effect of a term. The random terms are "
            f"{_terms_text(fit)} and {_terms_text(reduced)}. Test one effect after the other."
        )
    check_nested(reduced, fit)
    if fit.reml != reduced.reml:
        reduced = refit_by(reduced, reml=fit.reml)
    return unmatched[0], reduced.criterion


def _key(term: TermSummary) -> tuple[str, frozenset[str]]:
    return term.group, frozenset(term.effects)


def _one_less(term: TermSummary, added: list[tuple[str, frozenset[str]]]) -> bool:
    """Whether the terms `added` in its place lack exactly one effect of `term`."""
    if not added:
        return len(term.effects) == 1
    group, effects = added[0]
    return (
        group == term.group
        and effects < set(term.effects)
        and len(term.effects) == len(effects) + 1
    )


def _terms_text(fit: Fit) -> str:
    return " + ".join(f"({', '.join(t.effects)} | {t.group})" for t in fit.model.terms)


def _without_by_name(fit: Fit, what: object) -> tuple[TermSummary, float]:
    """Return the term that `what` names, and the criterion of the model without that effect."""
    model = model_of(fit, "variance_test with a term's name", _SMALLER)
    name, effect = what if isinstance(what, tuple) and len(what) == 2 else (what, None)
    terms = {term.name: term for term in model.terms}
    if name not in terms:
        raise ArgumentError(
            f"reduced: expected a fit, a random term ({', '.join(terms)}) or (term, effect), but "
            f"it is {what!r}."
        )
    term = terms[str(name)]
    if effect is None and len(term.effects) > 1:
        raise ArgumentError(
            f"reduced: the term {name!r} has the effects {', '.join(term.effects)}; name the "
            f"one to test, as in ({name!r}, {term.effects[-1]!r})."
        )
    effect = term.effects[0] if effect is None else effect
    if effect not in term.effects:
        raise ArgumentError(
            f"reduced: the term {name!r} has no effect {effect!r}; it has "
            f"{', '.join(term.effects)}."
        )
    place, column = list(terms).index(term.name), term.effects.index(effect)
    return term.summary(), optimum_without(fit, place, [column]).criterion
