"""`model_matrix`: the fixed and the random design as frames, of the model's rows or of new ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse

from pymackay.errors import ArgumentError, DataError
from pymackay.infer.kinds import any_kind
from pymackay.infer.predict.rows import refuse_new_levels
from pymackay.infer.problem import design_of, model_of
from pymackay.model.design.new_data import NewDesign, build_new
from pymackay.model.design.side import Blueprint
from pymackay.model.model import Model
from pymackay.results import Fit

_PARTS = ("fixed", "random")
_NEWDATA = "Pass newdata, the rows to make the design of: fit.model_matrix(newdata)."


@any_kind
def model_matrix(
    fit: Fit, newdata: pd.DataFrame | Mapping[str, Any] | None = None, part: str = "fixed"
) -> pd.DataFrame:
    """Return the design of the fixed effects, X, or of the random effects, Z.

    Parameters
    ----------
    fit : Fit
        Made by this package.
    newdata : pandas.DataFrame or mapping of str to array-like, optional
        Rows to make the design of; by default those the model was fitted to. The response is not
        needed. ``poly``, ``scale``, ``ns``, ``bs`` and the like use the constants of the model's
        own data.
    part : {"fixed", "random"}
        X or Z.

    Returns
    -------
    pandas.DataFrame
        ``"fixed"``: X, shape (n, p), with R's names of the coefficients, those of ``fit.beta``; a
        column that was dropped for rank is not among them. ``"random"``: Z, shape (n, q), with
        sparse columns. Its columns have three names, (term, level, effect), and lme4's order: term
        by term, and within a term level by level. Rows with a missing value are nan.

    Raises
    ------
    ArgumentError
        If `part` is something else.
    DataError
        If a column that is used is missing or of another kind, or has a level that the model does
        not know.
    PymackayError
        If another engine made the fit, or there is no `newdata` and the model's own rows were not
        kept.

    Notes
    -----
    Prior weights and offsets are not part of the designs: ``X @ fit.beta`` is the mean without the
    offset. Where columns were dropped, the data do not determine the mean of every new row;
    `predict` says of which.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Reaction ~ Days + (Days | Subject)", pm.load_data("sleepstudy"))
    >>> fit.model_matrix({"Days": [0, 3]})
       (Intercept)  Days
    0          1.0   0.0
    1          1.0   3.0
    >>> Z = fit.model_matrix(part="random")
    >>> Z.shape, Z.columns[1]
    ((180, 36), ('Subject', '308', 'Days'))
    """
    if part not in _PARTS:
        raise ArgumentError(f"part is {part!r}, but must be 'fixed' (X) or 'random' (Z)")
    if newdata is None:
        model = model_of(fit, "model_matrix without newdata", _NEWDATA)
        if part == "fixed":
            return pd.DataFrame(np.array(model.X), index=model.rows, columns=list(model.fixed))
        columns = tuple(term.columns for term in model.terms)
        codes = tuple(model.factors[term.group].codes for term in model.terms)
        return _random_frame(model, model.rows, columns, codes)
    model = design_of(fit, "model_matrix")
    new = _new_design(model, newdata, random=part == "random")
    if part == "fixed":
        return pd.DataFrame(new.X, index=new.rows, columns=list(model.fixed))
    codes = tuple(new.codes[term.group] for term in model.terms)
    return _random_frame(model, new.rows, new.columns, codes)


def _new_design(model: Model, newdata: Any, *, random: bool) -> NewDesign:
    """Make the columns of new rows; an offset, which is no part of a design, is not needed.

    Raises
    ------
    DataError
    """
    if model.blueprint is None:
        raise DataError(
            "this fit does not know how to make the model's columns for new data; fit a data frame "
            "with pymackay.lmer"
        )
    new = build_new(without_offsets(model.blueprint), newdata, random=random)
    if random:
        refuse_new_levels(new, model)
    return new


def without_offsets(blueprint: Blueprint) -> Blueprint:
    """Return a blueprint of the same designs whose new rows need no column of an offset."""
    silent = replace(blueprint.specification, variables=())
    return replace(blueprint, specification=silent, offset=None, offset_was_array=False)


def _random_frame(
    model: Model,
    rows: pd.Index,
    columns: tuple[np.ndarray, ...],
    codes: tuple[np.ndarray, ...],
) -> pd.DataFrame:
    """Return Z, (n, q), of columns, each (n, q_k), and codes, each (n,), term by term."""
    blocks, names = [], []
    for term, values, places in zip(model.terms, columns, codes, strict=True):
        levels, width = model.factors[term.group].levels, len(term.effects)
        where = places[:, None] * width + np.arange(width)
        pointers = np.arange(len(values) + 1) * width
        shape = (len(values), len(levels) * width)
        blocks.append(scipy.sparse.csr_matrix((values.ravel(), where.ravel(), pointers), shape))
        names += [(term.name, level, effect) for level in levels for effect in term.effects]
    Z = scipy.sparse.hstack(blocks, format="csc")
    index = pd.MultiIndex.from_tuples(names, names=["term", "level", "effect"])
    return pd.DataFrame.sparse.from_spmatrix(Z, index=rows, columns=index)
