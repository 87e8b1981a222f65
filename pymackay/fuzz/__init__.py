"""The differential fuzzer: compares fits of random models with lme4 and with dense formulas."""

from pymackay.fuzz.campaign import Disagreement, Tally, run
from pymackay.fuzz.generate import FuzzModel, generate
from pymackay.fuzz.generate_general import generate_general
from pymackay.fuzz.judge import judge_model
from pymackay.fuzz.outcome import Outcome
from pymackay.fuzz.shrink import shrink
from pymackay.fuzz.store import load, store

__all__ = [
    "Disagreement",
    "FuzzModel",
    "Outcome",
    "Tally",
    "generate",
    "generate_general",
    "judge_model",
    "load",
    "run",
    "shrink",
    "store",
]
