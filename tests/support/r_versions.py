"""Which lme4 answers live, where its versions differ."""

from __future__ import annotations

import re

import pymackay as pm


def lme4_at_least(*version: int) -> bool:
    """Say whether R is here with an lme4 of this version or a later one."""
    if not pm.lme4.available():
        return False
    own = tuple(int(part) for part in re.findall(r"\d+", pm.lme4.versions()["lme4"]))
    return own >= version
