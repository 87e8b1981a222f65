"""Results of the package `mixedlm`, which shows the matrices that it has fitted."""

from __future__ import annotations

from importlib.metadata import version
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from pymackay.adapters.context import Context
from pymackay.adapters.naming import match_factor, renamed
from pymackay.errors import ArgumentError
from pymackay.model.model import Model

__all__ = ["convert"]

_VARIANCES_ALONE = {"condvar covariances": "mixedlm gives the variances of the effects alone"}


def convert(obj: Any, context: Context) -> dict[str, Any]:
    """Return the parts of a ``LmerResult``; covariances of Var(b | y) are not among them.

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
    fixed = _named(arrays.fixed_names, arrays.X, model)
    blocks = [_Block(obj, position, model) for position in range(len(arrays.random_structures))]
    return {
        "engine": "mixedlm",
        "versions": {"mixedlm": version("mixedlm")},
        "formula": str(obj.formula),
        "reml": bool(obj.REML),
        "beta": pd.Series(obj.beta, index=fixed),
        "vcov": np.asarray(obj.vcov()),
        "sigma": float(obj.sigma),
        **_terms(blocks, obj),
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


def _named(spelled: list[str], columns: np.ndarray, model: Model | None) -> list[str]:
    if model is None:
        return renamed(spelled, None, (), columns)
    return renamed(spelled, columns, model.fixed, model.X)


class _Block:
    """One random structure: its group, effects and levels by R's names, and its predictions.

    Attributes
    ----------
    group : str
    effects : list of str, length q
    levels : list of str, length J
    values, variances : numpy.ndarray, shape (J, q)
        Predicted effects, and their variances given the response.
    correlated : bool
        False for a structure that R writes as q terms.
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
        """Return Var(b | y) of each effect; not where two terms share a name, which adds them."""
        of_group = [
            name
            for s in obj.matrices.random_structures
            if s.grouping_factor == self.group
            for name in s.term_names
        ]
        if len(set(of_group)) < len(of_group):
            return None
        found = obj.ranef(condVar=True).condVar[self.group]
        return np.column_stack([np.asarray(found[name]) for name in structure.term_names])

    def _take_names(self, structure: Any, Z: Any, model: Model | None) -> None:
        """Name group, levels and effects by what they hold."""
        q = structure.n_terms
        columns = np.column_stack([np.asarray(Z[:, k::q].sum(axis=1)).ravel() for k in range(q)])
        if model is None:
            self.effects = renamed(structure.term_names, None, (), columns)
            return
        match = match_factor(np.asarray(structure.level_indices), model.factors)
        if match is not None:
            self.group, place = match
            levels = model.factors[self.group].levels
            self.levels = [levels[i] for i in place]
        mine = [term for term in model.terms if term.group == self.group]
        names = [effect for term in mine for effect in term.effects]
        ours = np.column_stack([t.columns for t in mine]) if mine else np.zeros((len(columns), 0))
        self.effects = renamed(structure.term_names, columns, names, ours)


def _terms(blocks: list[_Block], obj: Any) -> dict[str, Any]:
    """Return terms and covariances; a structure without correlations is one term per effect."""
    terms: list[tuple[str, str, tuple[str, ...]]] = []
    varcorr = {}
    for block, found in zip(blocks, obj.VarCorr().groups.values(), strict=True):
        q = len(block.effects)
        parts = [list(range(q))] if block.correlated else [[k] for k in range(q)]
        for part in parts:
            effects = [block.effects[k] for k in part]
            earlier = sum(group == block.group for _, group, _ in terms)
            name = f"{block.group}.{earlier}" if earlier else block.group
            terms.append((name, block.group, tuple(effects)))
            varcorr[name] = pd.DataFrame(
                np.asarray(found.cov)[np.ix_(part, part)], index=effects, columns=effects
            )
    return {"terms": terms, "varcorr": varcorr}


def _predictions(blocks: list[_Block]) -> dict[str, Any]:
    """Join the structures of each group: predictions, and the diagonals of their variances."""
    ranef, condvar = {}, {}
    for group in dict.fromkeys(block.group for block in blocks):
        mine = [block for block in blocks if block.group == group]
        ranef[group] = pd.concat(
            [pd.DataFrame(b.values, index=b.levels, columns=b.effects) for b in mine], axis=1
        )
        variances = [b.variances for b in mine]
        if all(v is not None for v in variances):
            condvar[group] = _diagonals(np.column_stack(variances))  # type: ignore[arg-type]
    if len(condvar) < len(ranef):
        return {"ranef": ranef}
    return {"ranef": ranef, "condvar": condvar, "not_offered": _VARIANCES_ALONE}


def _diagonals(variances: np.ndarray) -> np.ndarray:
    """Return blocks whose covariances are unknown, shape (J, q, q)."""
    levels, q = variances.shape
    blocks = np.full((levels, q, q), np.nan)
    blocks[:, np.arange(q), np.arange(q)] = variances
    return blocks


def _rows(arrays: Any, context: Context) -> pd.Index | None:
    """Return the labels of the rows that were not left out."""
    info = arrays.na_info
    if context.data is None or info is None or info.n_original != len(context.data):
        return None
    return context.data.index.delete(np.asarray(info.omitted_indices, dtype=np.intp))
