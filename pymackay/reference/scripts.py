"""The R scripts that are loaded into the embedded R, and their checksums."""

from __future__ import annotations

import hashlib
from functools import cache

from pymackay._resources import r_reference_path

ANSWER_SCRIPTS = (
    "session.R",
    "lmer_parameters.R",
    "lmer_fit.R",
    "lmer_tight.R",
    "lmer_answer.R",
    "lmer_variances.R",
)
SCRIPTS = (*ANSWER_SCRIPTS, "lmer_objects.R")


@cache
def script_hashes() -> dict[str, str]:
    """Return the SHA-256 of each script that computes a recorded answer of lme4."""
    return {
        name: hashlib.sha256(r_reference_path(name).read_bytes()).hexdigest()
        for name in ANSWER_SCRIPTS
    }
