"""`SleepReg`, the class of the article: fits sleepstudy by gradient descent at given variances."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

import pymackay as pm
from pymackay.arguments import covariance_matrix, positive_number
from pymackay.errors import ArgumentError, ConvergenceWarning, DataError
from pymackay.solve.descent.effects import EffectsDescent, Training
from pymackay.solve.descent.step_rules import Adam, Sgd, StepRule
from pymackay.solve.loop.collapse import explain_collapse, reliabilities

if TYPE_CHECKING:
    import tensorflow as tf
else:
    from pymackay.late import tf

FORMULA = "Reaction ~ Days + (Days | Subject)"
_COLUMNS = ("Reaction", "Days", "Subject")

_START = np.array([[410.0, 10.0], [10.0, 22.0]])

# In every round, the literal loop squares the variance ratio of a vanishing direction, so that any
# bound between the squared accuracy of trained effects and 1e-9 stops it in the same iteration.
_DEAD = 1e-12


@dataclass(frozen=True, eq=False)
class DirectSolution:
    """The solution of the mixed-model equations at given variances.

    Attributes
    ----------
    beta : pandas.Series, shape (2,)
        Fixed effects, by R's names.
    random_effects : pandas.DataFrame, shape (subjects, 2)
        Columns ``mu`` and ``b``.
    hat_trace : float
        Trace of the matrix that maps the response to the fitted values.
    theta : pandas.Series, shape (3,)
        The variances as lme4's relative covariance parameters.
    """

    beta: pd.Series
    random_effects: pd.DataFrame
    hat_trace: float
    theta: pd.Series


class SleepReg(tf.Module):
    """The mixed model ``Reaction ~ Days + (Days | Subject)``, trained at given variances.

    The loss is SSE/σ² + bᵀVb; `train` minimises it by gradient descent over `beta` and `b`, and
    `reset_variances` changes σ² and V between trainings, as in a round of MacKay's loop.

    Parameters
    ----------
    path : str or path-like, optional
        A CSV file with the columns Reaction, Days and Subject; others are ignored. By default
        the bundled data set.

    Attributes
    ----------
    y : numpy.ndarray, shape (n, 1)
        Reaction times, ms.
    X, Z : numpy.ndarray, shapes (n, 2) and (n, 2 · subjects)
        Designs of `beta` and `b`.
    beta : tf.Variable, shape (2, 1)
        Intercept and slope.
    b : tf.Variable, shape (2 · subjects, 1)
        Each subject's deviations from them, subject by subject.
    Sigma_b : numpy.ndarray, shape (2, 2)
        Covariance of one subject's effects.
    sigmasq_epsilon : float
        Residual variance.

    Raises
    ------
    DataError
        If the file cannot be read, lacks a column, or Days has only one value.

    References
    ----------
    Ogorek, B. (2019). Linear Mixed Models in TensorFlow 2.0 via MacKay's Method.

    Examples
    --------
    >>> sleep_reg = SleepReg()
    >>> sleep_reg.reset_variances([[612.09, 9.60], [9.60, 35.07]], 654.94)
    >>> sleep_reg.train(display_beta=False).converged
    True
    >>> sleep_reg.get_random_effects().head(2).round(2)
                mu     b
    Subject
    308       2.26  9.20
    309     -40.40 -8.62
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        super().__init__(name="sleep_reg")
        self.data = pm.load_data("sleepstudy") if path is None else _read_csv(path)
        self._fit = pm.evaluate(FORMULA, self.data, [1.0, 0.0, 1.0])
        if self._fit.dropped:
            raise DataError(
                f"path: the column Days has one value only, so its slope cannot be told from the "
                f"intercept ({', '.join(self._fit.dropped)} would be dropped). "
                f"Give rows of several days."
            )
        model = self._model = self._fit.problem.model
        self.y, self.X, self.Z = model.y[:, None], model.X, _dense_z(model)
        self.Sigma_b, self.sigmasq_epsilon = _START.copy(), 0.25 * float(np.var(self.y))
        self._descent = EffectsDescent(model, {"Subject": self.Sigma_b}, self.sigmasq_epsilon)
        self._optimizer: StepRule = Sgd()
        self._forget_rounds()

    @property
    def beta(self) -> tf.Variable:
        """Intercept and slope, shape (2, 1)."""
        return self._descent.beta

    @property
    def b(self) -> tf.Variable:
        """Random effects, shape (2 · subjects, 1), subject by subject."""
        return self._descent.b

    @property
    def V(self) -> np.ndarray:
        """The penalty's matrix: I ⊗ Sigma_b⁻¹, shape (2 · subjects, 2 · subjects)."""
        return np.kron(np.eye(len(self._subjects)), np.linalg.inv(self.Sigma_b))

    def reset_variances(self, Sigma_b: np.ndarray, sigmasq_epsilon: float | np.ndarray) -> None:
        """Set the variances for the next training; the coefficients stay as they are.

        Parameters
        ----------
        Sigma_b : array-like, shape (2, 2)
            Covariance of one subject's effects: positive definite.
        sigmasq_epsilon : float or array of one element
            Residual variance.

        Raises
        ------
        ArgumentError
            If `Sigma_b` is no positive definite matrix, or `sigmasq_epsilon` is not positive.
        CollapseError
            If `Sigma_b` is the covariance of the trained effects and has become singular to
            working precision: the end of the literal loop, with its iteration and its reason.
        """
        effects = self._model.terms[0].effects
        cov = covariance_matrix("Sigma_b", Sigma_b, effects)
        noise_var = positive_number("sigmasq_epsilon", sigmasq_epsilon)
        self._count_round(cov)
        self._refuse_dead(cov, noise_var)
        self._descent.set_variances({"Subject": cov}, noise_var)
        self.Sigma_b, self.sigmasq_epsilon = cov, noise_var

    def set_optimizer(self, adam: bool = False) -> None:
        """Choose Adam (True) or gradient descent with momentum (False) for the next trainings."""
        self._optimizer = Adam() if adam else Sgd()

    def train(self, epochs: int = 5000, display_beta: bool = True) -> Training:
        """Minimise SSE/σ² + bᵀVb from the current coefficients.

        Parameters
        ----------
        epochs : int
            The largest number of gradient steps; it takes fewer when the gradient vanishes.
        display_beta : bool
            Print the fixed effects at the end.

        Returns
        -------
        Training
            Number of epochs, loss, and a bound of the distance from the minimum.

        Raises
        ------
        ArgumentError
            If `epochs` is not an integer of at least 1.

        Warns
        -----
        ConvergenceWarning
            When the epochs run out before the gradient vanishes.
        """
        training = self._descent.train(epochs, self._optimizer)
        self._trained = True
        if display_beta:
            intercept, slope = self.beta.numpy()[:, 0]
            print(f"{training.message}: beta = {intercept:.6f}, {slope:.6f}")
        if not training.converged:
            warnings.warn(training.message, ConvergenceWarning, stacklevel=2)
        return training

    def zero_coefficients(self) -> None:
        """Set `beta` and `b` to zero, and begin a new loop with round 1."""
        self._descent.zero()
        self._forget_rounds()

    def get_random_effects(self) -> pd.DataFrame:
        """Return the current random effects, subjects × (``mu``, ``b``)."""
        return self._as_frame(self._descent.ranef()["Subject"])

    def get_rnd_effs_variance(self) -> np.ndarray:
        """Return the sample covariance (divisor subjects − 1) of the random effects, (2, 2)."""
        return np.cov(self.get_random_effects(), rowvar=False)

    def estimate_sigmasq_epsilon(self) -> np.ndarray:
        """Return SSE / (n − trace of the hat matrix) at the current coefficients, shape (1,)."""
        return np.array([self._descent.sse() / (len(self.y) - self._hat_trace())])

    def solve(self) -> DirectSolution:
        """Return the exact minimum at the current variances; `beta` and `b` stay as they are.

        It uses the Cholesky factor of the mixed-model equations instead of gradient steps, and
        shows that training reaches the minimum.
        """
        fit = self._evaluated()
        return DirectSolution(
            beta=fit.beta,
            random_effects=self._as_frame(fit.ranef["Subject"].to_numpy()),
            hat_trace=self._hat_trace(),
            theta=fit.theta,
        )

    def _evaluated(self) -> pm.Fit:
        """Return the fit at the current variances: theta is the factor of V/σ², by columns."""
        factor = np.linalg.cholesky(self.Sigma_b / self.sigmasq_epsilon)
        return self._fit.evaluate([factor[0, 0], factor[1, 0], factor[1, 1]])

    def _hat_trace(self) -> float:
        """Return p + Σ (2 − tr(Sigma_b⁻¹ Var(b̂ⱼ − bⱼ))), the effective number of parameters."""
        fit = self._evaluated()
        inverse = np.linalg.inv(fit.varcorr["Subject"])
        unexplained = np.einsum("ab,jba->", inverse, fit.pev["Subject"])
        return self.X.shape[1] + self.Z.shape[1] - float(unexplained)

    @property
    def _subjects(self) -> tuple[str, ...]:
        return self._model.factors["Subject"].levels

    def _as_frame(self, effects: np.ndarray) -> pd.DataFrame:
        index = pd.Index(self._subjects, name="Subject")
        return pd.DataFrame(effects, index=index, columns=["mu", "b"])

    def _forget_rounds(self) -> None:
        self._trained = False
        self._correlations: list[float] = []

    def _count_round(self, cov: np.ndarray) -> None:
        """Store the correlation of a round, which is a training and an update of variances."""
        if self._trained:
            size = float(np.sqrt(cov[0, 0] * cov[1, 1]))
            self._correlations.append(float(cov[0, 1]) / size if size > 0 else 0.0)
            self._trained = False

    def _refuse_dead(self, cov: np.ndarray, noise_var: float) -> None:
        """Raise if a direction of `cov` is zero to working precision."""
        ratios = reliabilities(self._model, 0, cov, noise_var)
        if ratios[0] > _DEAD * max(1.0, ratios[-1]):
            return
        if self._correlations and self._is_from_effects(cov):
            round_ = len(self._correlations)
            raise explain_collapse(self._model, 0, round_, self._correlations, ratios[0])
        raise ArgumentError(
            f"Sigma_b is singular to working precision: {cov.tolist()}, with a direction of "
            f"{ratios[0]:.1g} times its sampling variance. The penalty needs its inverse; give a "
            f"positive definite matrix."
        )

    def _is_from_effects(self, cov: np.ndarray) -> bool:
        """Whether the variances are proportional to those of the current effects."""
        new, current = np.diag(cov), np.diag(self.get_rnd_effs_variance())
        return bool(np.isclose(new[0] * current[1], new[1] * current[0], rtol=1e-6, atol=0.0))


def _dense_z(model: Any) -> np.ndarray:
    """Return Z, shape (n, 2 · subjects), with the two columns of a subject side by side."""
    factor, columns = model.factors["Subject"], model.terms[0].columns
    belongs = factor.codes[:, None] == np.arange(len(factor.levels))
    return (belongs[:, :, None] * columns[:, None, :]).reshape(len(columns), -1)


def _read_csv(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read Reaction, Days and Subject from a CSV file."""
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise DataError(
            f"path: {os.fspath(path)!r} cannot be read as CSV: {error}. Give the path of a CSV "
            f"file with the columns {', '.join(_COLUMNS)}, or none for the bundled data."
        ) from error
    missing = [name for name in _COLUMNS if name not in table]
    if missing:
        raise DataError(
            f"path: {os.fspath(path)!r} lacks {', '.join(missing)}; its columns are "
            f"{', '.join(map(str, table.columns))}. Rename them to {', '.join(_COLUMNS)}."
        )
    return table[list(_COLUMNS)]
