"""Linear mixed models in TensorFlow, and MacKay's loop, proven against R's lme4.

Importing the package loads neither TensorFlow nor R nor pandas: each public name is fetched from
its module when it is first used.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING

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
)

if TYPE_CHECKING:
    from pymackay import adapters as adapters
    from pymackay import datasets as datasets
    from pymackay import plots as plots
    from pymackay import testing as testing
    from pymackay.api import evaluate, lmer, mackay
    from pymackay.compare.verdict import Comparison, compare
    from pymackay.datasets import list_data, load_data
    from pymackay.infer.anova import anova
    from pymackay.infer.augment import augment
    from pymackay.infer.bootstrap import Bootstrap, bootstrap
    from pymackay.infer.coefficients import coefficients
    from pymackay.infer.confint import confint
    from pymackay.infer.contrast import contrast
    from pymackay.infer.explained import icc, r2
    from pymackay.infer.forecast import forecast_collapse
    from pymackay.infer.headed_table import HeadedTable
    from pymackay.infer.keep import load_fit
    from pymackay.infer.power import power
    from pymackay.infer.predict import predict
    from pymackay.infer.profile import Profile, profile
    from pymackay.infer.refit import refit
    from pymackay.infer.simulate import simulate
    from pymackay.infer.tidy import glance, tidy
    from pymackay.infer.variance_gap import variance_gap
    from pymackay.infer.variance_test import variance_test
    from pymackay.reference import lme4
    from pymackay.results import Fit
    from pymackay.solve.many import lmer_many
    from pymackay.solve.many_fits import ManyFits

__version__ = "0.1.0"

__all__ = [
    "ArgumentError",
    "Bootstrap",
    "CollapseError",
    "Comparison",
    "ConvergenceError",
    "ConvergenceWarning",
    "DataError",
    "Fit",
    "FormulaError",
    "HeadedTable",
    "ManyFits",
    "Profile",
    "PymackayError",
    "PymackayWarning",
    "RError",
    "RUnavailableError",
    "RWarning",
    "RecordingError",
    "__version__",
    "adapters",
    "anova",
    "augment",
    "bootstrap",
    "coefficients",
    "compare",
    "confint",
    "contrast",
    "datasets",
    "evaluate",
    "forecast_collapse",
    "glance",
    "icc",
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
    "testing",
    "tidy",
    "variance_gap",
    "variance_test",
]

_HOMES = {
    "Bootstrap": "pymackay.infer.bootstrap",
    "Comparison": "pymackay.compare.verdict",
    "Fit": "pymackay.results",
    "HeadedTable": "pymackay.infer.headed_table",
    "ManyFits": "pymackay.solve.many_fits",
    "Profile": "pymackay.infer.profile",
    "anova": "pymackay.infer.anova",
    "augment": "pymackay.infer.augment",
    "bootstrap": "pymackay.infer.bootstrap",
    "coefficients": "pymackay.infer.coefficients",
    "compare": "pymackay.compare.verdict",
    "confint": "pymackay.infer.confint",
    "contrast": "pymackay.infer.contrast",
    "evaluate": "pymackay.api",
    "forecast_collapse": "pymackay.infer.forecast",
    "glance": "pymackay.infer.tidy",
    "icc": "pymackay.infer.explained",
    "list_data": "pymackay.datasets",
    "lmer": "pymackay.api",
    "lmer_many": "pymackay.solve.many",
    "load_data": "pymackay.datasets",
    "load_fit": "pymackay.infer.keep",
    "mackay": "pymackay.api",
    "power": "pymackay.infer.power",
    "predict": "pymackay.infer.predict",
    "profile": "pymackay.infer.profile",
    "r2": "pymackay.infer.explained",
    "refit": "pymackay.infer.refit",
    "simulate": "pymackay.infer.simulate",
    "tidy": "pymackay.infer.tidy",
    "variance_gap": "pymackay.infer.variance_gap",
    "variance_test": "pymackay.infer.variance_test",
}

_MODULES = {
    "adapters": "pymackay.adapters",
    "datasets": "pymackay.datasets",
    "lme4": "pymackay.reference.lme4",
    "plots": "pymackay.plots",
    "testing": "pymackay.testing",
}


def __getattr__(name: str) -> object:
    """Fetch a public name when it is first used (PEP 562)."""
    if name in _MODULES:
        value: object = importlib.import_module(_MODULES[name])
    elif name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "compare":
        # `import pymackay.compare.report as x` asks the function for its attribute `report`:
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
