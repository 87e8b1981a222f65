"""Adapter for the package `mixedlm`, whose results contain the model's matrices."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from importlib.metadata import version
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from pymackay.adapters.engine import Context, Engine, defined_in
from pymackay.adapters.naming import fixed_names, match_factor, r_name, renamed, terms_by_name
from pymackay.errors import ArgumentError
from pymackay.model.model import Model

_VARIANCES_ALONE = {"condvar covariances": "mixedlm gives only the variances of the effects"}


def _read(obj: Any, context: Context) -> dict[str, Any]:
    """Return the parts of a ``LmerResult``; of Var(b | y) it has only the diagonals.

    Raises
    ------
    ArgumentError
        If it is not a linear mixed model.
    """
    if type(obj).__name__ != "LmerResult":
        raise ArgumentError(
            f"obj: a linear mixed model of mixedlm is expected, not {type(obj).__name__}."
        )
    arrays = obj.matrices
    model = context.model if context.model and len(context.model.y) == arrays.n_obs else None
    blocks = [_Block(obj, position, model) for position in range(len(arrays.random_structures))]
    return {
        "engine": "mixedlm",
        "versions": {"mixedlm": version("mixedlm")},
        "formula": str(obj.formula),
        "reml": bool(obj.REML),
        "beta": pd.Series(obj.beta, index=fixed_names(arrays.fixed_names, arrays.X, model)),
        "vcov": np.asarray(obj.vcov()),
        "sigma": float(obj.sigma),
        **terms_by_name(_terms(blocks, obj)),
        **_predictions(blocks),
        "loglik": float(obj.logLik()),
        "fitted": np.asarray(obj.fitted(na_expand=False)),
        "residuals": np.asarray(obj.residuals(na_expand=False)),
        "rows": _rows(arrays, context),
        "weights": arrays.weights,
        "offset": arrays.offset,
        "converged": bool(obj.converged),
        "messages": [obj.message] if obj.message else [],
    }


class _Block:
    """One random structure: group, effects and levels with R's names, and its predictions.

    Attributes
    ----------
    group : str
    effects : list of str, length q
    levels : list of str, length J
    values, variances : numpy.ndarray, shape (J, q)
        Predicted effects, and their variances given the response.
    correlated : bool
        False for a structure that is q terms in R.
    """

    def __init__(self, obj: Any, position: int, model: Model | None) -> None:
        structures = obj.matrices.random_structures
        ends = np.cumsum([0, *(s.n_levels * s.n_terms for s in structures)])
        here = slice(*list(pairwise(ends))[position])
        structure = structures[position]
        shape = (structure.n_levels, structure.n_terms)
        Z = obj.matrices.Z.tocsc()[:, here]
        self.group = structure.grouping_factor
        self.correlated = bool(structure.correlated)
        self.values = np.asarray(obj.u)[here].reshape(shape)
        self.levels = [str(level) for level in structure.level_map]
        self.variances = self._variances(obj, structure)
        self._take_names(structure, Z, model)

    def _variances(self, obj: Any, structure: Any) -> np.ndarray | None:
        """Return Var(b | y) of each effect, shape (J, q).

        None if effects of the group have equal names, for which mixedlm adds up the variances.
        """
        of_group = [
            name
            for s in obj.matrices.random_structures
            if s.grouping_factor == self.group
            for name in s.term_names
        ]
        if len(set(of_group)) < len(of_group):
            return None
        by_name = obj.ranef(condVar=True).condVar[self.group]
        return np.column_stack([np.asarray(by_name[name]) for name in structure.term_names])

    def _take_names(self, structure: Any, Z: Any, model: Model | None) -> None:
        """Set R's names of group, levels and effects, matched by the values of Z, (n, J q)."""
        q = structure.n_terms
        columns = np.column_stack([np.asarray(Z[:, k::q].sum(axis=1)).ravel() for k in range(q)])
        if model is None:
            self.effects = [r_name(name) for name in structure.term_names]
            return
        match = match_factor(np.asarray(structure.level_indices), model.factors)
        if match is not None:
            self.group, place = match
            levels = model.factors[self.group].levels
            self.levels = [levels[i] for i in place]
        of_group = [term for term in model.terms if term.group == self.group]
        names = [effect for term in of_group for effect in term.effects]
        ours = (
            np.column_stack([t.columns for t in of_group])
            if of_group
            else np.zeros((len(columns), 0))
        )
        self.effects = renamed(structure.term_names, columns, names, ours)


def _terms(blocks: list[_Block], obj: Any) -> Iterator[tuple[str, list[str], np.ndarray]]:
    """Yield group, effects and covariance of each term; an uncorrelated effect is a term."""
    for block, structure in zip(blocks, obj.VarCorr().groups.values(), strict=True):
        q = len(block.effects)
        for part in [list(range(q))] if block.correlated else [[k] for k in range(q)]:
            effects = [block.effects[k] for k in part]
            yield block.group, effects, np.asarray(structure.cov)[np.ix_(part, part)]


def _predictions(blocks: list[_Block]) -> dict[str, Any]:
    """Return predictions and their variances, with the structures of a group joined."""
    ranef, condvar = {}, {}
    for group in dict.fromkeys(block.group for block in blocks):
        of_group = [block for block in blocks if block.group == group]
        ranef[group] = pd.concat(
            [pd.DataFrame(b.values, index=b.levels, columns=b.effects) for b in of_group], axis=1
        )
        variances = [b.variances for b in of_group]
        if all(v is not None for v in variances):
            condvar[group] = _diagonals(np.column_stack(variances))  # type: ignore[arg-type]
    if len(condvar) < len(ranef):
        return {"ranef": ranef}
    return {"ranef": ranef, "condvar": condvar, "not_offered": _VARIANCES_ALONE}


def _diagonals(variances: np.ndarray) -> np.ndarray:
    """Return matrices, shape (J, q, q), with the variances, (J, q), and NaN elsewhere."""
    levels, q = variances.shape
    blocks = np.full((levels, q, q), np.nan)
    blocks[:, np.arange(q), np.arange(q)] = variances
    return blocks


def _rows(arrays: Any, context: Context) -> pd.Index | None:
    """Return the labels of the rows that were used; None if they are not known."""
    info = arrays.na_info
    if context.data is None or info is None or info.n_original != len(context.data):
        return None
    return context.data.index.delete(np.asarray(info.omitted_indices, dtype=np.intp))


def _fit(formula: str, data: pd.DataFrame, reml: bool, weights: Any, offset: Any) -> Any:
    mixedlm = importlib.import_module("mixedlm")
    return mixedlm.lmer(formula, data, REML=reml, weights=weights, offset=offset)


ENGINE = Engine("mixedlm", defined_in("mixedlm"), _read, _fit)
