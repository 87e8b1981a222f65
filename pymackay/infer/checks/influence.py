"""`influence`: what changes when a group, or a row, is left out; by refits."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pymackay.errors import ArgumentError, PymackayError
from pymackay.infer.kinds import SAME, any_kind, by_kind
from pymackay.infer.problem import model_of
from pymackay.late import LateMethod
from pymackay.model.bases.scaling import independent_columns
from pymackay.model.columns.column import renumber
from pymackay.model.model import GroupingFactor, Model
from pymackay.progress import Progress
from pymackay.results import Fit
from pymackay.solve.choose import fit_model


@dataclass(frozen=True, eq=False, repr=False)
class Influence:
    """Estimates without each group, or each row.

    Attributes
    ----------
    by : str
        The grouping factor, or ``"row"``.
    beta : pandas.DataFrame, shape (units, p)
        Fixed effects without each unit; nan where the other rows do not determine one.
    theta : pandas.DataFrame, shape (units, m)
        With the parameters of a residual structure after those of the random terms.
    sigma : pandas.Series, shape (units,)
    cooks_distance : pandas.Series, shape (units,)
        ``d' vcov⁻¹ d / p``, with d the change of beta and vcov that of the whole fit.
    dfbetas : pandas.DataFrame, shape (units, p)
        Estimate of all rows minus the one without the unit, over the standard error without it.
    failed : tuple of str
        Units without which the model cannot be fitted; their rows are nan.
    """

    by: str
    beta: pd.DataFrame
    theta: pd.DataFrame
    sigma: pd.Series
    cooks_distance: pd.Series
    dfbetas: pd.DataFrame
    failed: tuple[str, ...] = ()

    plot = LateMethod("pymackay.plots.influence", "influence")

    @property
    def table(self) -> pd.DataFrame:
        """Cook's distance, sigma and DFBETAS of each unit, the most influential first."""
        parts = {"cooks_distance": self.cooks_distance, "sigma": self.sigma}
        dfbetas = self.dfbetas.add_prefix("dfbetas ")
        table = pd.concat([pd.DataFrame(parts), dfbetas], axis=1)
        return table.sort_values("cooks_distance", ascending=False, kind="stable")

    def __repr__(self) -> str:
        rows = self.table.head(10).to_string(float_format=lambda x: f"{x:.4g}")
        more = f"\n... {len(self.sigma) - 10} more" if len(self.sigma) > 10 else ""
        failed = f"\nNot fitted without: {', '.join(self.failed)}." if self.failed else ""
        return f"Influence of each {self.by}, left out\n{rows}{more}{failed}"


@any_kind
def influence(fit: Fit, by: str | None = None, *, progress: bool | None = None) -> Influence:
    """Leave out each group, or each row, and fit the model again.

    Parameters
    ----------
    fit : Fit
        Made by this package.
    by : str, optional
        ``"row"``, or a grouping factor; ``"group"`` or nothing: the one with the fewest levels.
        The group of a residual structure is one too.
    progress : bool, optional
        Whether to show how far it is; by default on a terminal, after two seconds.

    Returns
    -------
    Influence
        Exact: each refit is at its own optimum, REML or ML as the fit is.

    Raises
    ------
    ArgumentError
        If the model has no such grouping factor.
    PymackayError
        If the fit does not hold its rows.

    Notes
    -----
    There is one refit for each unit, each of which starts from the theta of the fit. R's lme4
    multiplies Cook's distance by ``(units − p) / units``; the package influence.ME does not.

    References
    ----------
    Belsley, Kuh, Welsch 1980, Regression Diagnostics, chapter 2.
    Nieuwenhuis, te Grotenhuis, Pelzer 2012, influence.ME, The R Journal 4(2).

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Reaction ~ Days + (Days | Subject)", pm.load_data("sleepstudy"))
    >>> influence = fit.influence()
    >>> influence.cooks_distance.idxmax(), influence.beta.loc["308"].round(3).to_dict()
    ('309', {'(Intercept)': 251.829, 'Days': 9.803})
    """
    model = model_of(fit, "influence", residual=True)
    name, labels, codes = units_of(fit, model, by)
    p = len(fit.beta)
    beta, errors = np.full((len(labels), p), np.nan), np.full((len(labels), p), np.nan)
    parameters = covariance_parameters(fit)
    theta = np.full((len(labels), len(parameters)), np.nan)
    sigma, failed = np.full(len(labels), np.nan), []
    with Progress(asked=progress) as shown:
        for k, label in enumerate(labels):
            shown.tell(f"influence: {k} of {len(labels)}")
            try:
                smaller, kept = rows_of_model(model, codes != k)
                again = refitted(fit, smaller, codes != k)
            except (PymackayError, np.linalg.LinAlgError):
                failed.append(str(label))
                continue
            beta[k, kept], errors[k, kept] = again.beta.to_numpy(), again.std_error.to_numpy()
            theta[k], sigma[k] = covariance_parameters(again).to_numpy(), again.sigma
    change = fit.beta.to_numpy() - beta
    cooks = np.einsum("ua,ab,ub->u", change, np.linalg.inv(fit.vcov.to_numpy()), change)
    cooks /= max(p, 1)
    index = pd.Index(labels, name=name)
    columns = fit.beta.index
    return Influence(
        by=name,
        beta=pd.DataFrame(beta, index=index, columns=columns),
        theta=pd.DataFrame(theta, index=index, columns=parameters.index),
        sigma=pd.Series(sigma, index=index, name="sigma"),
        cooks_distance=pd.Series(cooks, index=index, name="cooks_distance"),
        dfbetas=pd.DataFrame(change / errors, index=index, columns=columns),
        failed=tuple(failed),
    )


def covariance_parameters(fit: Fit) -> pd.Series:
    """Return theta, and the parameters of a residual structure where there is one."""
    part = fit.residual_covariance
    return fit.theta if part is None else pd.concat([fit.theta, part.par])


@by_kind(
    "pymackay.infer.general.refit:refitted_rows",
    residual="pymackay.infer.residual.refit:refitted_rows",
)
def refitted(fit: Fit, smaller: Model, rows: np.ndarray) -> Fit:
    """Return the optimum of the model of some rows, (n,) of bool, begun at the fit's theta.

    Raises
    ------
    PymackayError
        If there is none.
    """
    return fit_model(smaller, reml=fit.reml, start=fit.theta.to_numpy())


@by_kind(SAME, residual="pymackay.infer.residual.refit:units_of")
def units_of(fit: Fit, model: Model, by: str | None) -> tuple[str, list[object], np.ndarray]:
    """Return what is left out: its name, labels, and the unit of each row, (n,)."""
    if by == "row":
        return "row", list(model.rows), np.arange(len(model.y))
    if by in (None, "group"):
        by = min(model.factors, key=lambda name: len(model.factors[name].levels))
    if by not in model.factors:
        raise ArgumentError(
            f"by is {by!r}, but must be 'row' or a grouping factor: {', '.join(model.factors)}"
        )
    factor = model.factors[by]
    return by, list(factor.levels), factor.codes


def rows_of_model(model: Model, rows: np.ndarray) -> tuple[Model, np.ndarray]:
    """Return the model of some rows, and which columns of X they determine.

    Parameters
    ----------
    model : Model
    rows : numpy.ndarray of bool, shape (n,)

    Raises
    ------
    ArgumentError
        If a grouping factor has fewer than two levels left.
    """
    factors = {}
    for name, factor in model.factors.items():
        codes = factor.codes[rows]
        used = np.unique(codes)
        if len(used) < 2:
            raise ArgumentError(f"{name} has fewer than two levels in these rows")
        levels = tuple(factor.levels[k] for k in used)
        factors[name] = GroupingFactor(name, levels, renumber(codes, used, len(factor.levels)))
    X = model.X[rows]
    kept = np.asarray(independent_columns(X))
    terms = tuple(dataclasses.replace(t, columns=t.columns[rows]) for t in model.terms)
    smaller = dataclasses.replace(
        model,
        y=model.y[rows],
        X=np.asfortranarray(X[:, kept]),
        fixed=tuple(model.fixed[k] for k in kept),
        terms=terms,
        factors=factors,
        rows=model.rows[rows],
        weights=None if model.weights is None else model.weights[rows],
        offset=None if model.offset is None else model.offset[rows],
        blueprint=None,
        columns={},
        given={},
    )
    return smaller, kept
