"""`Means`: estimates of linear functions of the fixed effects, with tests and intervals."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from pymackay.arguments import probability
from pymackay.errors import ArgumentError
from pymackay.infer.estimable import Aliases
from pymackay.infer.means.adjust import (
    METHOD_NAMES,
    adjusted_p,
    check_adjust,
    critical_values,
    interval_method,
)
from pymackay.infer.means.averages import combined
from pymackay.infer.means.contrast_tables import DEFAULT_ADJUST, contrast_table
from pymackay.infer.means.transform import Scale
from pymackay.infer.significance.ddf import FixedEffects
from pymackay.infer.tables.headed_table import HeadedTable
from pymackay.late import LateMethod

TYPES = ("link", "response")


@dataclass(frozen=True, eq=False)
class Basis:
    """What linear functions are estimated with.

    Attributes
    ----------
    effects : FixedEffects
    aliases : Aliases or None
        Of a design that lost columns.
    transformation : Transformation, LinkScale or None
        Of the response.
    asked : dict
        Arguments of `emmeans`, to ask for trends or joint tests on the same grid.
    """

    effects: FixedEffects
    aliases: Aliases | None
    transformation: Scale | None = None
    asked: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, repr=False)
class Means:
    """Marginal means, or contrasts or trends of them.

    Attributes
    ----------
    labels : pandas.DataFrame, shape (k, variables)
        What each row is: values of the variables, or the name of a contrast.
    L : numpy.ndarray, shape (k, all columns)
        The linear functions, in the columns of the fixed design before any was dropped.
    offset : numpy.ndarray, shape (k,)
    by : tuple of str
        Variables whose combinations are families of their own.
    kind : str
        Name of the column of estimates: ``"emmean"``, ``"estimate"``, ``"x.trend"``.
    basis : Basis
    adjust : str
        Adjustment for multiplicity; see `pairs`.
    family : int
        Number of means that are compared, for Tukey's adjustment.
    type : {"link", "response"}
        Scale of the estimates.
    is_comparison : bool
        Whether rows are differences, which a table tests against zero.
    messages : tuple of str
    """

    labels: pd.DataFrame
    L: np.ndarray
    offset: np.ndarray
    by: tuple[str, ...]
    kind: str
    basis: Basis
    adjust: str = "none"
    family: int = 0
    type: str = "link"
    is_comparison: bool = False
    messages: tuple[str, ...] = ()

    plot = LateMethod("pymackay.plots.means", "means")
    trends = LateMethod("pymackay.infer.means.trends", "trends_of")
    joint_tests = LateMethod("pymackay.infer.means.joint", "joint_tests_of")

    @property
    def table(self) -> HeadedTable:
        """Estimates with intervals; of comparisons, with tests."""
        return self.test() if self.is_comparison else self.confint()

    def confint(self, level: float = 0.95, *, adjust: str | None = None) -> HeadedTable:
        """Return estimates with confidence intervals.

        Parameters
        ----------
        level : float
            Coverage, of all intervals of a family together where `adjust` is not ``"none"``.
        adjust : str, optional
            As in `pairs`; by default that of this table. ``"holm"`` and ``"fdr"`` have no
            intervals, and Bonferroni's are given.

        Returns
        -------
        HeadedTable
            The labels, the estimate, ``SE``, ``df``, ``lower.CL``, ``upper.CL``; nan where the
            data do not determine a function. Of a generalised model ``asymp.LCL``,
            ``asymp.UCL``.
        """
        level = probability("level", level, 0.95)
        adjust = self.adjust if adjust is None else check_adjust(adjust)
        estimate, error, df = self._estimates
        critical = np.empty(len(df))
        for rows in self._families():
            method, family = self._method(adjust, rows)
            critical[rows] = critical_values(
                df[rows], method, family, self._correlation(rows), level
            )
        low, high = estimate - critical * error, estimate + critical * error
        shown, shown_error = self._shown(estimate, error)
        columns = {
            self._estimate_name: shown,
            "SE": shown_error,
            "df": df,
            **dict(zip(self._limits, np.sort([self._back(low), self._back(high)], 0), strict=True)),
        }
        note = self._adjust_note(interval_method(adjust))
        notes = [f"Confidence level {level:g}{note}."]
        if self._is_back:
            notes.append(f"Intervals are transformed back from the {self._scale} scale.")
        return self._headed(columns, notes)

    def test(self, null: float = 0.0, *, adjust: str | None = None) -> HeadedTable:
        """Return estimates with t tests.

        Parameters
        ----------
        null : float
            What each function is under the hypothesis, on the model's scale.
        adjust : str, optional
            As in `pairs`; by default that of this table.

        Returns
        -------
        HeadedTable
            The labels, the estimate, ``SE``, ``df``, ``t.ratio``, ``p.value``. Of a generalised
            model ``z.ratio``.
        """
        adjust = self.adjust if adjust is None else check_adjust(adjust)
        estimate, error, df = self._estimates
        t = (estimate - float(null)) / error
        p = np.empty(len(t))
        for rows in self._families():
            method, family = self._method(adjust, rows)
            p[rows] = adjusted_p(t[rows], df[rows], method, family, self._correlation(rows))
        shown, shown_error = self._shown(estimate, error)
        columns = {self._estimate_name: shown, "SE": shown_error, "df": df, self._ratio: t}
        notes = [f"P-values{self._adjust_note(adjust)}."] if adjust != "none" else []
        if self._is_back:
            notes.append(f"Tests are made on the {self._scale} scale.")
        return self._headed({**columns, "p.value": p}, notes)

    def pairs(self, adjust: str = "tukey") -> Means:
        """Compare all pairs of means, within each combination of the `by` variables.

        Parameters
        ----------
        adjust : {"tukey", "sidak", "holm", "bonferroni", "fdr", "mvt", "none"}
            ``"tukey"``: studentized range; ``"mvt"``: the multivariate t distribution of the
            comparisons, exact but for a Monte-Carlo error below 1e-4.

        Returns
        -------
        Means
        """
        return self.contrast("pairwise", adjust=adjust)

    def contrast(self, method: Any = "pairwise", *, adjust: str | None = None) -> Means:
        """Return contrasts of the means, within each combination of the `by` variables.

        Parameters
        ----------
        method : str, mapping, pandas.DataFrame or array-like
            ``"pairwise"``; ``"trt.vs.ctrl"``, each against the first; ``"consec"``, each against
            the one before; ``"eff"``, each against the average; ``"poly"``, polynomial trends; or
            coefficients: a mapping of names to one number for each mean, or a table with one row
            for each contrast.
        adjust : str, optional
            As in `pairs`. By default ``"tukey"`` for pairs, ``"mvt"`` for ``"trt.vs.ctrl"``
            (Dunnett's test) and ``"consec"``, ``"fdr"`` for ``"eff"``, and ``"none"`` for others.
            ``"tukey"`` is for pairs; with other contrasts ``"sidak"`` takes its place.

        Raises
        ------
        ArgumentError
        """
        default = DEFAULT_ADJUST.get(method, "none") if isinstance(method, str) else "none"
        adjust = default if adjust is None else check_adjust(adjust)
        messages = self.messages
        if adjust == "tukey" and method != "pairwise":
            adjust = "sidak"
            messages = (*messages, "Tukey's adjustment is for pairs; Sidak's is used.")
        made = self.basis.transformation
        is_ratio = self._is_back and made is not None and made.has_ratios
        is_ratio = is_ratio and not self.is_comparison
        parts = [self._contrast_of(rows, method, is_ratio) for rows in self._families()]
        if self.type == "response" and not is_ratio:
            messages = (*messages, f"Contrasts are on the {self._scale} scale.")
        return replace(
            self,
            labels=pd.concat([labels for labels, _, _ in parts], ignore_index=True),
            L=np.concatenate([L for _, L, _ in parts]),
            offset=np.concatenate([offset for _, _, offset in parts]),
            kind=made.ratio_name if is_ratio and made is not None else "estimate",
            adjust=adjust,
            family=len(self._families()[0]),
            type="response" if is_ratio else "link",
            is_comparison=True,
            messages=messages,
        )

    def _contrast_of(
        self, rows: np.ndarray, method: Any, is_ratio: bool
    ) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
        """Return labels, functions and offsets of the contrasts of one family of rows."""
        table = contrast_table(method, self._names(rows), ratio=is_ratio)
        C = table.to_numpy()
        labels = pd.DataFrame({"contrast": list(table.index)})
        for name in self.by:
            labels[name] = [self.labels[name].iloc[rows[0]]] * len(labels)
        return labels, combined(C, self.L[rows]), C @ self.offset[rows]

    def _names(self, rows: np.ndarray) -> list[str]:
        primary = self.labels.drop(columns=list(self.by)).iloc[rows]
        return [" ".join(map(_text, values)) for values in primary.itertuples(index=False)]

    def _families(self) -> list[np.ndarray]:
        """Return the rows of each combination of the `by` variables."""
        if not self.by:
            return [np.arange(len(self.labels))]
        groups = self.labels.groupby(list(self.by), sort=False, observed=True)
        return [np.sort(rows) for rows in groups.indices.values()] if len(groups) else []

    def _method(self, adjust: str, rows: np.ndarray) -> tuple[str, int]:
        """Return an adjustment that these rows can have, and the family's size."""
        if adjust == "tukey" and not self.is_comparison:
            return "sidak", len(rows)
        return adjust, max(self.family, 2)

    @property
    def _estimates(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Estimates, standard errors and degrees of freedom on the model's scale, each (k,)."""
        precision = self.basis.effects.precision
        rows, bad = self._kept, self._inestimable
        estimate = rows @ self.basis.effects.fit.beta.to_numpy() + self.offset
        error = np.sqrt(np.einsum("ka,ab,kb->k", rows, precision.vcov, rows))
        df = [np.nan if b else precision.t_df(row) for row, b in zip(rows, bad, strict=True)]
        return np.where(bad, np.nan, estimate), np.where(bad, np.nan, error), np.array(df)

    @property
    def _kept(self) -> np.ndarray:
        aliases = self.basis.aliases
        return self.L if aliases is None else self.L[:, aliases.kept]

    @property
    def _inestimable(self) -> np.ndarray:
        """Which functions the data do not determine, shape (k,)."""
        aliases = self.basis.aliases
        if aliases is None:
            return np.isnan(self.L).any(axis=1)
        empty = np.isnan(self.L).any(axis=1)
        return empty | aliases.undetermined(self._kept, self.L[:, aliases.dropped]).any(axis=1)

    def _correlation(self, rows: np.ndarray) -> np.ndarray:
        L = self._kept[rows]
        V = L @ self.basis.effects.precision.vcov @ L.T
        scale = np.sqrt(np.where(np.diag(V) > 0.0, np.diag(V), 1.0))
        return np.asarray(V / np.outer(scale, scale))

    @property
    def _ratio(self) -> str:
        """Name of the column of statistics, as R's emmeans has it."""
        return "z.ratio" if self.basis.effects.is_general else "t.ratio"

    @property
    def _limits(self) -> tuple[str, str]:
        """Names of the columns of limits, as R's emmeans has them."""
        if self.basis.effects.is_general:
            return "asymp.LCL", "asymp.UCL"
        return "lower.CL", "upper.CL"

    @property
    def _is_back(self) -> bool:
        return self.type == "response" and self.basis.transformation is not None

    @property
    def _scale(self) -> str:
        made = self.basis.transformation
        return "model's" if made is None else made.name

    @property
    def _estimate_name(self) -> str:
        made = self.basis.transformation
        is_mean = self._is_back and not self.is_comparison and made is not None
        return made.estimate_name if is_mean and made is not None else self.kind

    def _back(self, values: np.ndarray) -> np.ndarray:
        made = self.basis.transformation
        if not self._is_back or made is None:
            return values
        return made.ratio(values) if self.is_comparison else made.inverse(values)

    def _shown(self, estimate: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return estimates and standard errors on the scale asked for (delta method)."""
        made = self.basis.transformation
        if not self._is_back or made is None:
            return estimate, error
        slope = made.ratio_slope if self.is_comparison else made.slope
        return self._back(estimate), error * np.abs(slope(estimate))

    def _adjust_note(self, adjust: str) -> str:
        method = "sidak" if adjust == "tukey" and not self.is_comparison else adjust
        if method == "none":
            return ""
        family = f" for a family of {self.family} means" if method == "tukey" else ""
        return f", adjusted by {METHOD_NAMES[method]}{family}"

    def _headed(self, columns: dict[str, np.ndarray], notes: list[str]) -> HeadedTable:
        table = pd.concat([self.labels, pd.DataFrame(columns, index=self.labels.index)], axis=1)
        what = "Contrasts" if self.is_comparison else "Estimated marginal means"
        what = f"Trends, {self.kind}" if self.kind.endswith(".trend") else what
        messages = [*notes, *self.messages, *self.basis.effects.messages]
        if self._inestimable.any() and self.basis.aliases is not None:
            messages.append(
                "The data do not determine the rows that are nan: they depend on coefficients of "
                f"columns that were dropped ({', '.join(self.basis.aliases.names)})."
            )
        heading = f"{what}{self.basis.effects.heading}"
        return HeadedTable(table, heading=heading, messages=tuple(messages))

    def __repr__(self) -> str:
        return repr(self.table)

    def _repr_html_(self) -> str:
        return self.table._repr_html_()

    def __len__(self) -> int:
        return len(self.labels)


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)


def check_type(type: object) -> str:
    """Return the scale of estimates.

    Raises
    ------
    ArgumentError
    """
    if type not in TYPES:
        raise ArgumentError(f"type is {type!r}, but must be 'link' (the model's) or 'response'")
    return str(type)
