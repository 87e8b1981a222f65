"""Linear mixed models in TensorFlow, and MacKay's loop, proven against R's lme4.

Importing the package loads neither TensorFlow nor R nor pandas: each public name is fetched from
its module when it is first used.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING

from pymackay._resources import __version__
from pymackay.errors import (
    ArgumentError,
    CollapseError,
    ConvergenceError,
    ConvergenceWarning,
    DataError,
    FormulaError,
    PymackayError,
    PymackayWarning,
    RecordingError,
    RError,
    RUnavailableError,
    RWarning,
    SeparationError,
)

if TYPE_CHECKING:
    from pymackay import adapters as adapters
    from pymackay import datasets as datasets
    from pymackay import keras as keras
    from pymackay import plots as plots
    from pymackay import sklearn as sklearn
    from pymackay import testing as testing
    from pymackay.api.glmer import evaluate_glmer, glmer
    from pymackay.api.lmer import evaluate, lmer
    from pymackay.api.mackay import mackay
    from pymackay.api.many import lmer_many
    from pymackay.api.many_general import glmer_many
    from pymackay.compare.comparison import Comparison
    from pymackay.compare.verdict import compare
    from pymackay.datasets import list_data, load_data
    from pymackay.family.binomial import Binomial
    from pymackay.family.gamma import Gamma
    from pymackay.family.gaussian import Gaussian
    from pymackay.family.inverse_gaussian import InverseGaussian
    from pymackay.family.negative_binomial import NegativeBinomial
    from pymackay.family.poisson import Poisson
    from pymackay.infer.checks.check import check
    from pymackay.infer.checks.simulated import simulated_residuals
    from pymackay.infer.etable import etable
    from pymackay.infer.gap.forecast import forecast_collapse
    from pymackay.infer.gap.variance_gap import variance_gap
    from pymackay.infer.intervals.bootstrap import Bootstrap, bootstrap
    from pymackay.infer.intervals.confint import confint
    from pymackay.infer.intervals.power import power
    from pymackay.infer.intervals.profile import Profile, profile
    from pymackay.infer.keep.fit_file import load_fit
    from pymackay.infer.means.emmeans import emmeans
    from pymackay.infer.means.joint import joint_tests
    from pymackay.infer.means.means import Means
    from pymackay.infer.means.trends import emtrends
    from pymackay.infer.predict.augment import augment
    from pymackay.infer.predict.predict import predict
    from pymackay.infer.predict.simulate import simulate
    from pymackay.infer.reduction.step import step
    from pymackay.infer.refit import refit
    from pymackay.infer.significance.anova import anova
    from pymackay.infer.significance.coefficients import coefficients
    from pymackay.infer.significance.contrast import contrast
    from pymackay.infer.significance.variance_test import variance_test
    from pymackay.infer.tables.explained import icc, r2
    from pymackay.infer.tables.headed_table import HeadedTable
    from pymackay.infer.tables.tidy import glance, tidy
    from pymackay.reference import lme4
    from pymackay.results import Fit
    from pymackay.solve.many.fits import ManyFits
    from pymackay.solve.pirls.many.fits import ManyGeneralFits

__all__ = [
    "ArgumentError",
    "Binomial",
    "Bootstrap",
    "CollapseError",
    "Comparison",
    "ConvergenceError",
    "ConvergenceWarning",
    "DataError",
    "Fit",
    "FormulaError",
    "Gamma",
    "Gaussian",
    "HeadedTable",
    "InverseGaussian",
    "ManyFits",
    "ManyGeneralFits",
    "Means",
    "NegativeBinomial",
    "Poisson",
    "Profile",
    "PymackayError",
    "PymackayWarning",
    "RError",
    "RUnavailableError",
    "RWarning",
    "RecordingError",
    "SeparationError",
    "__version__",
    "adapters",
    "anova",
    "augment",
    "bootstrap",
    "check",
    "coefficients",
    "compare",
    "confint",
    "contrast",
    "datasets",
    "emmeans",
    "emtrends",
    "etable",
    "evaluate",
    "evaluate_glmer",
    "forecast_collapse",
    "glance",
    "glmer",
    "glmer_many",
    "icc",
    "joint_tests",
    "keras",
    "list_data",
    "lme4",
    "lmer",
    "lmer_many",
    "load_data",
    "load_fit",
    "mackay",
    "plots",
    "power",
    "predict",
    "profile",
    "r2",
    "refit",
    "simulate",
    "simulated_residuals",
    "sklearn",
    "step",
    "testing",
    "tidy",
    "variance_gap",
    "variance_test",
]

_HOMES = {
    "Means": "pymackay.infer.means.means",
    "joint_tests": "pymackay.infer.means.joint",
    "emtrends": "pymackay.infer.means.trends",
    "emmeans": "pymackay.infer.means.emmeans",
    "Binomial": "pymackay.family.binomial",
    "Bootstrap": "pymackay.infer.intervals.bootstrap",
    "Comparison": "pymackay.compare.comparison",
    "Fit": "pymackay.results",
    "Gamma": "pymackay.family.gamma",
    "Gaussian": "pymackay.family.gaussian",
    "HeadedTable": "pymackay.infer.tables.headed_table",
    "InverseGaussian": "pymackay.family.inverse_gaussian",
    "ManyFits": "pymackay.solve.many.fits",
    "ManyGeneralFits": "pymackay.solve.pirls.many.fits",
    "NegativeBinomial": "pymackay.family.negative_binomial",
    "Poisson": "pymackay.family.poisson",
    "Profile": "pymackay.infer.intervals.profile",
    "anova": "pymackay.infer.significance.anova",
    "augment": "pymackay.infer.predict.augment",
    "bootstrap": "pymackay.infer.intervals.bootstrap",
    "check": "pymackay.infer.checks.check",
    "coefficients": "pymackay.infer.significance.coefficients",
    "compare": "pymackay.compare.verdict",
    "confint": "pymackay.infer.intervals.confint",
    "contrast": "pymackay.infer.significance.contrast",
    "etable": "pymackay.infer.etable",
    "evaluate": "pymackay.api.lmer",
    "evaluate_glmer": "pymackay.api.glmer",
    "forecast_collapse": "pymackay.infer.gap.forecast",
    "glance": "pymackay.infer.tables.tidy",
    "glmer": "pymackay.api.glmer",
    "glmer_many": "pymackay.api.many_general",
    "icc": "pymackay.infer.tables.explained",
    "list_data": "pymackay.datasets",
    "lmer": "pymackay.api.lmer",
    "lmer_many": "pymackay.api.many",
    "load_data": "pymackay.datasets",
    "load_fit": "pymackay.infer.keep.fit_file",
    "mackay": "pymackay.api.mackay",
    "power": "pymackay.infer.intervals.power",
    "predict": "pymackay.infer.predict.predict",
    "profile": "pymackay.infer.intervals.profile",
    "r2": "pymackay.infer.tables.explained",
    "refit": "pymackay.infer.refit",
    "simulated_residuals": "pymackay.infer.checks.simulated",
    "simulate": "pymackay.infer.predict.simulate",
    "step": "pymackay.infer.reduction.step",
    "tidy": "pymackay.infer.tables.tidy",
    "variance_gap": "pymackay.infer.gap.variance_gap",
    "variance_test": "pymackay.infer.significance.variance_test",
}

_MODULES = {
    "adapters": "pymackay.adapters",
    "datasets": "pymackay.datasets",
    "keras": "pymackay.keras",
    "lme4": "pymackay.reference.lme4",
    "plots": "pymackay.plots",
    "sklearn": "pymackay.sklearn",
    "testing": "pymackay.testing",
}


def __getattr__(name: str) -> object:
    """Fetch a public name when it is first used (PEP 562)."""
    if name in _MODULES:
        value: object = importlib.import_module(_MODULES[name])
    elif name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    else:
        raise importlib.import_module("pymackay.hints").missing_name(name)
    if name == "compare":
        # `import pymackay.compare.show.html as x` asks the function for its attribute `report`:
        # it answers as the subpackage whose name it has taken.
        value.__dict__ = vars(sys.modules["pymackay.compare"])
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, those not fetched yet included."""
    return sorted(__all__)


class _Package(ModuleType):
    """The package's own type: `compare` is the function, whatever is imported.

    The import system binds a subpackage to its name in the parent, so that after
    ``import pymackay.compare.verdict`` the name would be the subpackage's.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name == "compare" and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
