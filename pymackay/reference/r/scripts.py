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
GENERAL_SCRIPTS = ("glmer_fit.R", "glmer_answer.R")
SCRIPTS = (*ANSWER_SCRIPTS, "lmer_objects.R", *GENERAL_SCRIPTS, "glmer_objects.R", "glmmtmb.R")


@cache
def script_hashes(is_general: bool = False) -> dict[str, str]:
    """Return the SHA-256 of each script that computes a recorded answer of lmer, or of glmer."""
    names = (*ANSWER_SCRIPTS, *GENERAL_SCRIPTS) if is_general else ANSWER_SCRIPTS
    return {name: hashlib.sha256(r_reference_path(name).read_bytes()).hexdigest() for name in names}
