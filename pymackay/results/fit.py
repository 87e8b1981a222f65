"""`Fit`, what every engine returns: frozen, NumPy and pandas only."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd

from pymackay.covariance.residual.estimate import ResidualCovariance
from pymackay.errors import ArgumentError, PymackayError
from pymackay.hints import FIT_NAMES, missing_attribute
from pymackay.late import LateMethod
from pymackay.results.origin import Convergence, Engine, ModelSummary

GroupArrays = Mapping[str, np.ndarray]
_SOURCES = ("condvar_source", "pev_source", "evaluate_source")


@dataclass(frozen=True, eq=False)
class HeldArrays:
    """A source of error variances that were computed before."""

    arrays: GroupArrays

    def __call__(self) -> GroupArrays:
        """Return them."""
        return self.arrays


class GroupTables(dict[str, pd.DataFrame]):
    """Tables by grouping factor or term, which a notebook shows one below the other."""

    _repr_html_ = LateMethod("pymackay.infer.tables.group_tables", "tables_html")


@dataclass(frozen=True, eq=False, repr=False)
class Fit:
    """A fitted linear mixed model, whichever engine fitted it.

    Attributes
    ----------
    formula : str
    reml : bool
        REML criterion (True) or maximum likelihood (False).
    beta : pandas.Series, shape (p,)
        Fixed effects, by R's coefficient names.
    vcov : pandas.DataFrame, shape (p, p)
        Covariance matrix of `beta`, absolute scale.
    sigma : float
        Residual standard deviation.
    theta : pandas.Series, shape (m,)
        Relative covariance parameters: lower triangle of each term's relative factor, column
        by column, named as ``getME(fit, "theta")`` names them.
    varcorr : dict of str to pandas.DataFrame, each (q, q)
        Term name to the covariance matrix of its effects, absolute scale (sigma² Λ Λᵀ).
    ranef : dict of str to pandas.DataFrame, each (levels, q)
        Grouping factor to predicted random effects; terms of one group joined. The levels have R's
        names, which are text whatever the data hold: `effects_of` looks up the rows of a table.
    condvar : dict of str to numpy.ndarray, each (levels, q, q)
        Var(b | y, beta): what ``ranef(condVar=TRUE)`` gives in R. Absolute scale.
    pev : dict of str to numpy.ndarray, each (levels, q, q)
        Var(b̂ − b): as `condvar`, with the uncertainty of `beta` included.
    criterion : float
        REML criterion or −2 log likelihood, all constants included.
    fitted, residuals : pandas.Series, shape (n,)
        Conditional on the random effects; indexed by the rows that were kept.
    singular : bool
        Whether an estimated covariance matrix is singular (on a scale free of units).
    dropped : tuple of str
        Columns of the fixed design left out because they depend on others.
    messages : tuple of str
    convergence : Convergence
    engine : Engine
    model : ModelSummary
    trace : pandas.DataFrame or None
        One row per iteration, for fits made by MacKay's loop.
    condvar_source, pev_source : callable or None
        What computes `condvar` and `pev` when they are first asked for.
    evaluate_source : callable or None
        What `evaluate` calls with theta.
    not_offered : mapping of str to str
        Quantities that this fit does not have, with the reason. `fitted` and `residuals` are NaN
        then; `condvar` and `pev` raise.
    free_par : pandas.Series or None
        `par`, where theta is not the vector of parameters itself.
    problem : pymackay.solve.assemble.Problem or None
        The model's arrays and their solver, for fits made by this package: what prediction,
        tests and refits stand on.
    residual_covariance : ResidualCovariance or None
        Standard deviations and correlations of the residuals, for models with the argument
        `residual`; None where residuals are independent with one variance.
    general : pymackay.family.general.General or None
        Family, quadrature, dispersion and linear predictor of a generalised model; None for a
        linear one.
    """

    formula: str
    reml: bool
    beta: pd.Series
    vcov: pd.DataFrame
    sigma: float
    theta: pd.Series
    varcorr: dict[str, pd.DataFrame]
    ranef: dict[str, pd.DataFrame]
    criterion: float
    fitted: pd.Series
    residuals: pd.Series
    singular: bool
    dropped: tuple[str, ...]
    messages: tuple[str, ...]
    convergence: Convergence
    engine: Engine
    model: ModelSummary
    trace: pd.DataFrame | None = None
    condvar_source: Callable[[], GroupArrays] | None = None
    pev_source: Callable[[], GroupArrays] | None = None
    evaluate_source: Callable[[np.ndarray], Fit] | None = None
    not_offered: Mapping[str, str] = field(default_factory=dict)
    free_par: pd.Series | None = None
    problem: Any = None
    general: Any = None
    residual_covariance: ResidualCovariance | None = None

    __repr__ = LateMethod("pymackay.infer.tables.printed", "printed")
    _repr_html_ = LateMethod("pymackay.infer.tables.summary", "fit_html")
    _at_parameters_of = LateMethod("pymackay.infer.general.elsewhere", "at_parameters_of")
    _at_modes_of = LateMethod("pymackay.infer.general.elsewhere", "at_modes_of")
    _separation = LateMethod("pymackay.infer.general.elsewhere", "separation")
    _shaken = LateMethod("pymackay.infer.rounding", "shaken")
    anova = LateMethod("pymackay.infer.significance.anova", "anova")
    augment = LateMethod("pymackay.infer.predict.augment", "augment")
    bootstrap = LateMethod("pymackay.infer.intervals.bootstrap", "bootstrap")
    coef = LateMethod("pymackay.infer.predict.coef", "coef")
    coefficients = LateMethod("pymackay.infer.significance.coefficients", "coefficients")
    condvar_error = LateMethod("pymackay.infer.predict.condvar_error", "condvar_error")
    confint = LateMethod("pymackay.infer.intervals.confint", "confint")
    contrast = LateMethod("pymackay.infer.significance.contrast", "contrast")
    drop1 = LateMethod("pymackay.infer.reduction.drop1", "drop1")
    effects_of = LateMethod("pymackay.infer.predict.effects_of", "effects_of")
    glance = LateMethod("pymackay.infer.tables.tidy", "glance")
    influence = LateMethod("pymackay.infer.checks.influence", "influence")
    model_matrix = LateMethod("pymackay.infer.predict.model_matrix", "model_matrix")
    power = LateMethod("pymackay.infer.intervals.power", "power")
    predict = LateMethod("pymackay.infer.predict.predict", "predict")
    profile = LateMethod("pymackay.infer.intervals.profile", "profile")
    random_effects_pca = LateMethod("pymackay.infer.reduction.pca", "random_effects_pca")
    random_tests = LateMethod("pymackay.infer.reduction.random_tests", "random_tests")
    refit = LateMethod("pymackay.infer.refit", "refit")
    residuals_of = LateMethod("pymackay.infer.general.residuals", "residuals_of")
    save = LateMethod("pymackay.infer.keep.fit_file", "save")
    simulate = LateMethod("pymackay.infer.predict.simulate", "simulate")
    summary = LateMethod("pymackay.infer.tables.summary", "summary")
    tidy = LateMethod("pymackay.infer.tables.tidy", "tidy")
    variance_test = LateMethod("pymackay.infer.significance.variance_test", "variance_test")

    @property
    def has_residual(self) -> bool:
        """Whether `sigma` was estimated; a binomial or Poisson model, say, has none."""
        return self.general is None or bool(self.general.family.has_dispersion)

    @property
    def n_obs(self) -> int:
        """Number of rows used."""
        return len(self.fitted)

    @property
    def par(self) -> pd.Series:
        """Covariance parameters, relative, shape (m,), as lme4 2.x's ``getME(fit, "par")``.

        Of a term with a structure (``cs``, ``ar1``, ``diag``) the standard deviations, one if they
        are all the same, then the correlation; of other terms the elements of `theta`.
        """
        return self.theta.rename("par") if self.free_par is None else self.free_par

    @property
    def df(self) -> int:
        """Number of estimated parameters: fixed effects, `par`, and sigma, dispersion or shape.

        Parameters of the residuals' covariance count too.
        """
        beside: int = 1 if self.general is None else self.general.df
        if self.residual_covariance is not None:
            beside += len(self.residual_covariance.par)
        return len(self.beta) + len(self.par) + beside

    @property
    def std_error(self) -> pd.Series:
        """Standard errors of `beta`, shape (p,)."""
        return pd.Series(np.sqrt(np.diag(self.vcov)), index=self.beta.index, name="std_error")

    @property
    def loglik(self) -> float:
        """Log likelihood (REML: restricted), −criterion / 2."""
        return -0.5 * self.criterion

    @property
    def aic(self) -> float:
        """Akaike's criterion, as R's ``AIC``."""
        return self.criterion + 2.0 * self.df

    @property
    def bic(self) -> float:
        """Schwarz's criterion with all rows counted, as R's ``BIC``."""
        return self.criterion + float(np.log(self.n_obs)) * self.df

    @cached_property
    def condvar(self) -> dict[str, np.ndarray]:
        """Conditional variances given `beta`, computed when first asked for."""
        return self._offered(self.condvar_source, "condvar")

    @cached_property
    def pev(self) -> dict[str, np.ndarray]:
        """Prediction error variances, computed when first asked for."""
        return self._offered(self.pev_source, "pev")

    def evaluate(self, theta: np.ndarray | pd.Series) -> Fit:
        """Return the same model on the same data by the same engine at another `theta`.

        Parameters
        ----------
        theta : array-like, shape (m,)
            Relative covariance parameters in the order of ``self.theta``.

        Raises
        ------
        PymackayError
            If the engine does not offer it (a recorded fit does not).
        """
        if self.evaluate_source is None:
            raise self._not_offered("evaluate")
        return self.evaluate_source(np.asarray(theta, dtype=np.float64))

    def replace(self, **changes: object) -> Fit:
        """Return a copy with some attributes changed."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled.

        A source that is a function of this process, as those of R are, cannot be pickled: error
        variances are computed now then, and `evaluate` is not offered after that.
        """
        state = dict(self.__dict__)
        if self._sources_travel:
            return state
        for name in ("condvar", "pev"):
            try:
                held = HeldArrays(getattr(self, name))
            except PymackayError:
                held = None
            state[f"{name}_source"] = held
        reason = "it was made in another process"
        state["evaluate_source"] = None
        state["not_offered"] = {"evaluate": reason, **self.not_offered}
        return state

    @property
    def _sources_travel(self) -> bool:
        """Whether the sources are functions of modules, with arguments that can be pickled."""
        kinds = (partial, HeldArrays, type(None))
        return all(isinstance(getattr(self, name), kinds) for name in _SOURCES)

    def __deepcopy__(self, memo: dict[int, Any]) -> Fit:
        """Return a copy of all parts; the sources of another engine stay the same."""
        kept = () if self._sources_travel else _SOURCES
        made = object.__new__(type(self))
        for name, value in self.__dict__.items():
            made.__dict__[name] = value if name in kept else copy.deepcopy(value, memo)
        return made

    def __copy__(self) -> Fit:
        """Return a copy that shares all parts."""
        return self.replace()

    @property
    def _remarks(self) -> tuple[str, ...]:
        """What a reader of the numbers must know: singular, not certified."""
        singular = (
            "The fit is singular: a variance is zero or a correlation is ±1 "
            "(fit.random_effects_pca() names the direction and a simpler formula)."
        )
        uncertified = f"Not certified: {self.convergence.message}"
        return (singular,) * self.singular + (uncertified,) * (not self.convergence.converged)

    def __getattr__(self, name: str) -> Any:
        """Name what an attribute of another package's fits is called here."""
        raise missing_attribute("Fit", name, FIT_NAMES)

    def _offered(
        self, source: Callable[[], GroupArrays] | None, what: str
    ) -> dict[str, np.ndarray]:
        if source is None:
            raise self._not_offered(what)
        return dict(source())

    def _not_offered(self, what: str) -> PymackayError:
        reason = f" ({self.not_offered[what]})" if what in self.not_offered else ""
        linear = "pymackay.lmer or a live pymackay.lme4.lmer"
        return PymackayError(
            f"{what} is not offered by this fit{reason}, which was made by {self.engine}. "
            f"Fit the model with {linear if self.general is None else 'pymackay.glmer'} to get it."
        )


def check_fit(fit: object, what: str) -> Fit:
    """Return `fit`; `what` needs it, for the message.

    Raises
    ------
    ArgumentError
        If it is not a `Fit`.
    """
    if not isinstance(fit, Fit):
        raise ArgumentError(
            f"{what} needs a Fit, such as pymackay.lmer returns, not a {type(fit).__name__}"
        )
    return fit


def check_fits(fits: Fit | Sequence[Fit], what: str) -> list[Fit]:
    """Return one fit or several as a list; `what` needs them, for the message.

    Raises
    ------
    ArgumentError
        If there is none, or one is not a `Fit`.
    """
    listed = [fits] if isinstance(fits, Fit) else [check_fit(fit, what) for fit in fits]
    if not listed:
        raise ArgumentError("fits is empty; give one fit or more")
    return listed
