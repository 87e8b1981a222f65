"""The differential fuzzer: random models, ours against live lme4 and the dense oracle."""

from pymackay.fuzz.campaign import Disagreement, Tally, run
from pymackay.fuzz.generate import FuzzModel, generate
from pymackay.fuzz.judge import Outcome, judge_model
from pymackay.fuzz.shrink import shrink
from pymackay.fuzz.store import load, store

__all__ = [
    "Disagreement",
    "FuzzModel",
    "Outcome",
    "Tally",
    "generate",
    "judge_model",
    "load",
    "run",
    "shrink",
    "store",
]
