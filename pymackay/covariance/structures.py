"""The structures by the names that a formula gives them."""

from __future__ import annotations

from pymackay.covariance.autoregressive import Autoregressive
from pymackay.covariance.compound import CompoundSymmetry
from pymackay.covariance.diagonal import Diagonal
from pymackay.covariance.structure import Structure

STRUCTURES: dict[str, type[Structure]] = {
    kind.tag: kind for kind in (Diagonal, CompoundSymmetry, Autoregressive)
}
