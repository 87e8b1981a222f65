"""lme4's `refit` as an engine: our fit as a merMod, refitted in R to the same response."""

from __future__ import annotations

from pathlib import Path

import pymackay as pm
from pymackay.errors import PymackayError
from pymackay.reference.r.session import session
from pymackay.results import Fit

__all__ = ["ENGINE", "lme4_version", "refitted"]

ENGINE = "lme4 refit"
_SCRIPT = Path(__file__).with_name("refitted.R")


def refitted(ours: Fit) -> Fit | str:
    """Return the fit by `refit`, or its error message."""
    _load()
    try:
        return pm.lme4.from_r(session().call("refitted", pm.lme4.to_r(ours)).value)
    except PymackayError as error:
        return f"{type(error).__name__}: {error}"


def lme4_version() -> str:
    """Return the version of lme4."""
    _load()
    return str(session().call("lme4_version").value[0])


def _load() -> None:
    session().call("source", str(_SCRIPT))
