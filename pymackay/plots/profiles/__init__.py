"""Plots of likelihood profiles: of one parameter, of all, and of pairs of parameters."""

from pymackay.plots.profiles.grid import profiles
from pymackay.plots.profiles.pairs import profile_pairs
from pymackay.plots.profiles.zeta import zeta

__all__ = ["profile_pairs", "profiles", "zeta"]
