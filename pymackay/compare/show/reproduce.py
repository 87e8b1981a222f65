"""Code that makes the comparison of a report again: in Python, on the command line and in R."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from pymackay.compare.comparison import Comparison
from pymackay.compare.offered import offers
from pymackay.results import Fit

_PER_ROW = ("weights", "offset", "subset", "contrasts")


def as_section(comparison: Comparison) -> str:
    """Return the section of the report that says how to make it again."""
    blocks = {
        "In Python": python_code(comparison),
        "On the command line": command_line(comparison),
        "In R": r_code(comparison),
    }
    shown = "".join(
        f"<h3>{name}</h3><pre>{escape(code)}</pre>" for name, code in blocks.items() if code
    )
    return f"<h2>How to reproduce</h2><p>{escape(_data_sentence(comparison.fit))}</p>{shown}"


def python_code(comparison: Comparison) -> str:
    """Return Python code that fits both models again from `data`, and compares them."""
    fit, reference = comparison.fit, comparison.reference
    given = [_given(fit), _given(reference, fit)]
    arrays = sorted({name for one in given for name in _arrays(one)})
    return "\n".join(
        [
            "import pymackay as pm",
            "",
            f"formula = {_quoted(fit.formula)}",
            *(f"{name} = ...  # as before" for name in arrays),
            f"fit = {_call(fit, given[0], fit.formula)}",
            f"reference = {_call(reference, given[1], fit.formula)}",
            'pm.compare(fit, reference).to_html("report.html")',
        ]
    )


def command_line(comparison: Comparison) -> str:
    """Return the command that makes the same comparison; empty where no command does."""
    fit, reference = comparison.fit, comparison.reference
    given = _given(fit)
    columns = {name: given[name] for name in ("weights", "offset") if given[name] is not None}
    unasked = (given["subset"], given["contrasts"])
    if (
        reference.engine.name != "lme4"
        or fit.trace is not None
        or _family_words(fit) is None
        or any(x is not None for x in unasked)
    ):
        return ""
    if not all(isinstance(column, str) for column in columns.values()):
        return ""
    words = ["pymackay", "compare", "DATA.csv", fit.formula]
    words += [] if fit.reml or fit.general is not None else ["--ml"]
    words += _family_words(fit) or []
    words += [word for name, column in columns.items() for word in (f"--{name}", column)]
    words += [] if fit.engine.name == "pymackay" else ["--engine", fit.engine.name]
    words += ["--tight"] if _is_tight(reference) else []
    words += ["--recorded"] if reference.engine.source == "recorded" else []
    return shlex.join([*words, "--report", "report.html"])


def _family_words(fit: Fit) -> list[str] | None:
    """Return the options of a generalised model; None where the command has no such options."""
    general = fit.general
    if general is None:
        return []
    by_default = "observed" if general.family.has_dispersion else "expected"
    if (
        fit.engine.name != "pymackay"
        or general.dispersion_by == "lme4"
        or general.determinant != by_default
        or general.estimated_by
        or (not np.isnan(general.shape) and not general.shape_estimated)
    ):
        return None
    words = ["--family", general.family.name, "--link", general.family.link]
    return words if general.nagq == 1 else [*words, "--nagq", str(general.nagq)]


def r_code(comparison: Comparison) -> str:
    """Return the call of R's lmer or glmer for the reference."""
    reference = comparison.reference
    extra = "".join(
        f", {name} = {value if isinstance(value, str) else '...'}"
        for name, value in _given(reference, comparison.fit).items()
        if value is not None
    )
    if reference.general is not None:
        return f"library(lme4)\n{_general_r(reference, extra)}"
    reml = "TRUE" if reference.reml else "FALSE"
    return f"library(lme4)\nlmer({reference.formula}, data, REML = {reml}{extra})"


def _general_r(reference: Fit, extra: str) -> str:
    """Return the call of R's glmer, or of glmer.nb where the shape is estimated."""
    general = reference.general
    nodes = "" if general.nagq == 1 else f", nAGQ = {general.nagq}"
    if general.shape_estimated:
        return f"glmer.nb({reference.formula}, data{extra})"
    link = general.family.link
    family = f'{general.family.name}("{link}")'
    if general.family.name == "negative binomial":
        family = f'MASS::negative.binomial({general.shape!r}, "{link}")'
    return f"glmer({reference.formula}, data, {family}{nodes}{extra})"


def _general_asked(fit: Fit) -> list[str]:
    """Return the arguments of `pymackay.glmer` that those of `pymackay.lmer` have not."""
    general = fit.general
    family = general.family
    if general.shape_estimated:
        family = type(family)(family.link)
    made = [f"pm.{family!r}"]
    made += [] if general.nagq == 1 else [f"nagq={general.nagq!r}"]
    if fit.engine.name != "pymackay":
        return made
    usual = "observed" if general.dispersion_by == "ml" else "expected"
    if not family.is_canonical and general.determinant != usual:
        made.append(f"determinant={general.determinant!r}")
    return made + (["dispersion='lme4'"] if general.dispersion_by == "lme4" else [])


def _call(fit: Fit, given: Mapping[str, Any], formula: str) -> str:
    """Return the call that makes a fit of what was `given`; `formula` is that variable's value."""
    name = fit.engine.name
    asked = dict(fit.trace.attrs.get("asked", {"update": ...})) if fit.trace is not None else {}
    if name == "lme4":
        asked |= {"tight": True} if _is_tight(fit) else {}
        asked |= {"source": "recorded"} if fit.engine.source == "recorded" else {}
    is_general = fit.general is not None
    texts = [] if fit.reml else ["reml=False"]
    if is_general:
        texts = _general_asked(fit)
    texts += [
        f"{k}={v!r}" if isinstance(v, str) else f"{k}={k}"
        for k, v in given.items()
        if v is not None
    ]
    texts += [f"{key}={'...' if value is ... else repr(value)}" for key, value in asked.items()]
    first = "formula" if fit.formula == formula else _quoted(fit.formula)
    arguments = ", ".join([first, "data", *texts])
    if name == "pymackay":
        made = "glmer" if is_general else "lmer"
        return f"pm.{made if fit.trace is None else 'mackay'}({arguments})"
    if name == "lme4":
        return f"pm.lme4.{'glmer' if is_general else 'lmer'}({arguments})"
    return f"pm.adapters.as_fit(result, {arguments})  # the result of {name}"


def _given(fit: Fit, like: Fit | None = None) -> dict[str, Any]:
    """Return weights, offset, subset and contrasts as they were given, None where they were not.

    A fit that does not hold its model tells of weights and offset only whether there are any; then
    what the fit that it is compared with was given stands for it.
    """
    for one in (fit, like):
        model = getattr(getattr(one, "problem", None), "model", None)
        if given := getattr(model, "given", None):
            return {name: given[name] for name in _PER_ROW}
    known = {"weights": fit.model.weights, "offset": fit.model.offset}
    return {name: known.get(name) for name in _PER_ROW}


def _arrays(given: Mapping[str, Any]) -> list[str]:
    return [name for name, value in given.items() if not isinstance(value, str | None)]


def _is_tight(fit: Fit) -> bool:
    return "tightened:" in fit.convergence.message


def _data_sentence(fit: Fit) -> str:
    if not (offers(fit, "n_obs") and offers(fit, "fitted")):
        return "The data are yours; the fit does not say which rows it used."
    y = fit.fitted.to_numpy() + fit.residuals.to_numpy()
    if fit.general is not None:
        if fit.general.observed is None:
            return "The data are yours; the fit does not hold the response."
        y = fit.general.observed.y
    return (
        f"The data are yours. They are the right ones if {fit.n_obs} rows are used and "
        f"{fit.model.response} has the mean {y.mean():.8g} and the standard deviation "
        f"{y.std(ddof=1):.8g}."
    )


def _quoted(formula: str) -> str:
    """Quote a formula for Python, with quotes that it does not contain."""
    return f"'{formula}'" if '"' in formula else f'"{formula}"'
