"""`FitTables`: the results of `pymackay fit` as text, JSON, CSV and HTML."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd

import pymackay as pm
from pymackay.compare.show.document import document
from pymackay.infer.significance.ddf import quick_ddf
from pymackay.infer.tables.summary_layout import Summary


@dataclass(frozen=True)
class Wanted:
    """What is asked for besides the estimates.

    Attributes
    ----------
    ddf : str
        ``"auto"``, ``"Satterthwaite"``, ``"Kenward-Roger"`` or ``"none"``.
    anova : bool
    intervals : str or None
        Method of `pymackay.confint`, or ``"default"``.
    means : tuple of str
        Factors whose marginal means are asked for.
    seed : int or None
        Of bootstrap intervals.
    """

    ddf: str = "auto"
    anova: bool = False
    intervals: str | None = None
    means: tuple[str, ...] = ()
    seed: int | None = None


@dataclass(frozen=True, eq=False)
class FitTables:
    """A fit and the tables that follow from it.

    Attributes
    ----------
    fit : Fit
    summary : Summary
    estimates : pandas.DataFrame
        As `Fit.tidy` gives them.
    added : dict of str to HeadedTable
        ``"anova"``, ``"confint"``, ``"emmeans.f"``, ``"pairs.f"``.
    """

    fit: pm.Fit
    summary: Summary
    estimates: pd.DataFrame
    added: dict[str, pm.HeadedTable]

    def to_text(self) -> str:
        """Return the summary and the added tables as text."""
        return "\n\n".join([str(self.summary), *(repr(table) for table in self.added.values())])

    def to_html(self) -> str:
        """Return an HTML document."""
        parts = [self.summary._repr_html_(), *(t._repr_html_() for t in self.added.values())]
        shown = "".join(f'<div class="wide">{part}</div>' for part in parts)
        return document(self.fit.formula, f"<h1>{escape(self.fit.formula)}</h1>{shown}")

    def to_csv(self) -> dict[str, str]:
        """Return the estimates, under an empty name, and the added tables as CSV."""
        texts = {name: _with_names(name, table) for name, table in self.added.items()}
        return {
            name: table.to_csv(index=False, lineterminator="\n")
            for name, table in {"": self.estimates, **texts}.items()
        }

    def to_json(self) -> str:
        """Return a JSON document; numbers have all digits, and cells that are nan are left out."""
        fit = self.fit
        content = {
            "formula": fit.formula,
            "family": None if fit.general is None else fit.general.family_text,
            "engine": fit.engine.name,
            "versions": dict(fit.engine.versions),
            "reml": fit.reml,
            "criterion": fit.criterion,
            "logLik": fit.loglik,
            "AIC": fit.aic,
            "BIC": fit.bic,
            "df": fit.df,
            "rows": fit.n_obs,
            "levels": {name: len(levels) for name, levels in fit.model.levels.items()},
            "singular": fit.singular,
            "converged": fit.convergence.converged,
            "dropped": list(fit.dropped),
            "messages": list(self.summary.messages),
            "estimates": _records(self.estimates),
        }
        content |= {name: _records(_with_names(name, t)) for name, t in self.added.items()}
        return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False, default=_plain)


def fit_tables(fit: pm.Fit, options: Wanted) -> FitTables:
    """Compute the tables that are asked for.

    Raises
    ------
    PymackayError
        If the fit does not offer one of them.
    """
    ddf = _summary_ddf(fit, options.ddf)
    summary = dataclasses.replace(fit.summary(ddf=ddf), hint=_hint(fit, options.ddf, ddf))
    tests = _test_ddf(fit, options.ddf)
    added: dict[str, pm.HeadedTable] = {}
    if options.anova:
        linear = fit.general is None
        added["anova"] = fit.anova(ddf=tests) if linear else pm.joint_tests(fit, ddf=tests)
    if options.intervals is not None:
        added["confint"] = _intervals(fit, options.intervals, options.seed)
    for factor in options.means:
        means = pm.emmeans(fit, factor, ddf=tests)
        added[f"emmeans.{factor}"] = means.table
        added[f"pairs.{factor}"] = means.pairs().table
    return FitTables(fit, summary, fit.tidy(ddf=ddf), added)


def _summary_ddf(fit: pm.Fit, asked: str) -> str | None:
    """Return the method of the summary's tests; those of a generalised model are normal."""
    if fit.general is not None or asked == "none":
        return None
    return quick_ddf(fit) if asked == "auto" else asked


def _test_ddf(fit: pm.Fit, asked: str) -> str:
    """Return the method of the tests that are asked for by name."""
    if fit.general is not None:
        return "asymptotic"
    return "Satterthwaite" if asked == "auto" else asked


def _hint(fit: pm.Fit, asked: str, ddf: str | None) -> str:
    """Return which option gives other tests; empty where one was given."""
    if fit.general is not None or asked != "auto":
        return ""
    if ddf is None:
        return "For p-values: --ddf Satterthwaite."
    return "Other tests: --ddf Kenward-Roger; none: --ddf none."


def _intervals(fit: pm.Fit, method: str, seed: int | None) -> pm.HeadedTable:
    """Return confidence intervals; the seed is for those of the bootstrap."""
    how: dict[str, Any] = {} if method == "default" else {"method": method}
    if method == "boot":
        how["seed"] = seed
    return fit.confint(**how)


_NAMES = {"anova": "term", "confint": "parameter"}


def _with_names(table_name: str, table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose row names, where they are names, are its first column."""
    plain = pd.DataFrame(table)
    if table_name not in _NAMES:
        return plain
    return plain.reset_index(names=_NAMES[table_name])


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as JSON data, without the cells that are missing."""
    return [
        {str(name): value for name, value in row.items() if not _is_missing(value)}
        for row in table.to_dict("records")
    ]


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _plain(value: Any) -> Any:
    """Return a number of NumPy as one of Python; anything else as text."""
    return value.item() if isinstance(value, np.generic) else str(value)
