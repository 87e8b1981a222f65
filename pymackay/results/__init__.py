"""What every engine returns: frozen, NumPy and pandas only."""

from pymackay.covariance.varcorr import TermSummary
from pymackay.results.fit import Fit, GroupTables, HeldArrays, check_fit, check_fits
from pymackay.results.origin import Convergence, Engine, ModelSummary

__all__ = [
    "Convergence",
    "Engine",
    "Fit",
    "GroupTables",
    "HeldArrays",
    "ModelSummary",
    "TermSummary",
    "check_fit",
    "check_fits",
]
