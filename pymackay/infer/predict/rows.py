"""`Rows`: rows to predict for, the model's own or new ones, as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from pymackay.covariance.layout import columns_in_group
from pymackay.errors import ArgumentError, DataError, PymackayError, listed
from pymackay.infer.estimable import Aliases
from pymackay.infer.predict.re_form import chosen_effects
from pymackay.model.columns.table import Table
from pymackay.model.design.frame import Evaluator, read_extra
from pymackay.model.design.new_data import Between, NewDesign, build_new, build_term
from pymackay.model.model import Model
from pymackay.results import Fit


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows with the columns that a model has.

    Attributes
    ----------
    index : pandas.Index, length m
    X : numpy.ndarray, shape (m, p)
        nan in rows with a missing value.
    offset : numpy.ndarray of shape (m,) or None
    terms : tuple of int
        Positions of the random terms that are used.
    columns : tuple of numpy.ndarray, each (m, q)
        Their columns, zero for effects that are not used.
    codes : tuple of numpy.ndarray of int, each (m,)
        Level of each row; -1 for a level that the model does not have.
    unpredicted : tuple of numpy.ndarray, each (m,)
        Share of an effect's variance that the term's known effects do not predict, at times that
        the model does not have; empty where there are none.
    """

    index: pd.Index
    X: np.ndarray
    offset: np.ndarray | None
    terms: tuple[int, ...] = ()
    columns: tuple[np.ndarray, ...] = ()
    codes: tuple[np.ndarray, ...] = ()
    unpredicted: tuple[np.ndarray, ...] = ()

    def parts(self) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield (term, columns, codes) of the random terms that are used."""
        yield from zip(self.terms, self.columns, self.codes, strict=True)

    def random_part(self, effects: list[np.ndarray]) -> np.ndarray:
        """Return ``z'b`` of each row, (m,), zero at new levels; `effects` as `effects_of_terms`."""
        total = np.zeros(len(self.X))
        for term, columns, codes in self.parts():
            known = np.where(codes[:, None] >= 0, effects[term][codes], 0.0)
            total += np.einsum("nq,nq->n", columns, known)
        return total

    def incomplete(self) -> np.ndarray:
        """Return the rows with a missing value, shape (m,)."""
        missing = np.isnan(self.X).any(axis=1)
        if self.offset is not None:
            missing |= np.isnan(self.offset)
        for columns in self.columns:
            missing |= np.isnan(columns).any(axis=1)
        return missing

    def filled(self, missing: np.ndarray) -> Rows:
        """Return the rows with zeros where values are missing, to compute with."""
        return replace(
            self,
            X=np.where(missing[:, None], 0.0, self.X),
            columns=tuple(np.where(missing[:, None], 0.0, c) for c in self.columns),
        )

    def without_fixed(self) -> Rows:
        """Return the rows with zeros for the fixed columns."""
        return replace(self, X=np.zeros_like(self.X))


def own_rows(model: Model, re_form: Any = None) -> Rows:
    """Return the rows that the model was fitted to, with the effects that `re_form` chooses."""
    chosen = chosen_effects(model, re_form)
    used = tuple(k for k, mask in enumerate(chosen) if mask.any())
    return Rows(
        index=model.rows,
        X=model.X,
        offset=model.offset,
        terms=used,
        columns=tuple(model.terms[k].columns * chosen[k] for k in used),
        codes=tuple(model.factors[model.terms[k].group].codes for k in used),
    )


def make_rows(
    model: Model,
    newdata: Any,
    re_form: Any,
    *,
    allow_new_levels: bool,
    offset: Any,
    fixed: bool = True,
    between: Mapping[int, Between] | None = None,
) -> Rows:
    """Make the rows of new data; columns of random terms that are not used are not needed.

    Where the data do not determine the fixed part of a row, its X is nan, with a warning; `fixed`
    False says that the fixed part is not used. `between` says what effects are at times that the
    model does not have, by the position of their term.

    Raises
    ------
    ArgumentError, DataError, PymackayError
        If `re_form` or the data do not fit the model, or if a level is new or missing and
        `allow_new_levels` is False.
    """
    chosen = chosen_effects(model, re_form)
    used = tuple(k for k, mask in enumerate(chosen) if mask.any())
    blueprint = model.blueprint
    if blueprint is None:
        raise PymackayError(
            "this fit does not know how to make the model's columns for new data; fit a data frame "
            "with pymackay.lmer"
        )
    aliases = Aliases.of(model) if fixed else None
    part = replace(
        blueprint,
        kept=blueprint.kept if aliases is None else np.arange(len(blueprint.fixed.assign)),
        bars=tuple(blueprint.bars[k] for k in used),
        random=tuple(blueprint.random[k] for k in used),
    )
    elsewhere = [(between or {}).get(k) for k in used]
    new = build_new(part, newdata, offset=offset, between=elsewhere)
    if not allow_new_levels:
        refuse_new_levels(new, model)
    return Rows(
        index=new.rows,
        X=new.X if aliases is None else _determined(new.X, new.rows, aliases),
        offset=new.offset,
        terms=used,
        columns=tuple(
            np.where(chosen[k], columns, np.where(np.isnan(columns), np.nan, 0.0))
            for k, columns in zip(used, new.columns, strict=True)
        ),
        codes=tuple(new.codes[model.terms[k].group] for k in used),
        unpredicted=new.unpredicted,
    )


def _determined(full: np.ndarray, index: pd.Index, aliases: Aliases) -> np.ndarray:
    """Return the kept columns of a full design, (m, p), nan in rows that are not estimable."""
    X = full[:, aliases.kept]
    flags = aliases.undetermined(X, full[:, aliases.dropped])
    if flags.any():
        aliases.warn("the mean of row(s)", index, flags, stacklevel=5)
        X[flags.any(axis=1)] = np.nan
    return X


def left_out_variances(
    fit: Fit, model: Model, newdata: Any, re_form: Any, rows: Rows, between: Mapping[int, Between]
) -> np.ndarray | float:
    """Return the variance that the effects left out by `re_form` give each row, shape (m,).

    For term t with columns z, of which c are chosen, it is ``z'V_t z`` of the columns that are not
    chosen; for a level that the model does not have, where the chosen effects are not predicted
    either, ``z'V_t z − z_c'V_t z_c``.
    """
    chosen = chosen_effects(model, re_form)
    codes = dict(zip(rows.terms, rows.codes, strict=True))
    variance: np.ndarray | float = 0.0
    for k, (term, mask) in enumerate(zip(model.terms, chosen, strict=True)):
        if mask.all():
            continue
        columns, share = term.columns, np.zeros(len(rows.X))
        if newdata is not None:
            columns, share = build_term(model.blueprint, k, newdata, between.get(k))
        V = fit.varcorr[term.name].to_numpy()
        of_term = quadratic(columns * ~mask, V) + share * V[0, 0]
        if k in codes:
            new = codes[k] < 0
            of_term[new] = quadratic(columns[new], V) - quadratic(columns[new] * mask, V)
        variance = variance + of_term
    return variance


def quadratic(columns: np.ndarray, V: np.ndarray) -> np.ndarray:
    """Return ``z'Vz`` of each row z of `columns`."""
    return np.asarray(np.einsum("na,ab,nb->n", columns, V, columns))


def refuse_new_levels(new: NewDesign, model: Model) -> None:
    """Refuse rows whose level of a grouping factor is missing or unknown to the model.

    Raises
    ------
    DataError
    """
    cure = (
        "pass allow_new_levels=True to predict at the population's mean there, or leave the term "
        "out with re_form"
    )
    for name, levels in new.unseen.items():
        known = model.factors[name].levels
        raise DataError(
            f"newdata have levels of '{name}' that the model was not fitted to: "
            f"{listed(levels)}; it knows {listed(known)}; {cure}"
        )
    for name, codes in new.codes.items():
        if (codes < 0).any():
            raise DataError(
                f"the grouping factor '{name}' is missing in {np.count_nonzero(codes < 0)} rows "
                f"of newdata; fill it in, or {cure}"
            )


def weights_of_rows(model: Model, newdata: Any, weights: Any) -> np.ndarray | float:
    """Return the prior weight of each row, shape (m,), or 1 where the model has none.

    Parameters
    ----------
    model : Model
    newdata : pandas.DataFrame, mapping or None
    weights : str, array-like or None
        A column of the new data, an R expression of columns, or numbers.
    """
    if newdata is None:
        if weights is not None:
            raise ArgumentError("weights go with newdata; the model's own rows have their own")
        return 1.0 if model.weights is None else model.weights
    if weights is None:
        if model.weights is None:
            return 1.0
        raise ArgumentError(
            "the model has prior weights, so the residual variance of a new row depends on its "
            "weight; pass weights, a column of newdata or one number for each row"
        )
    table = Table(newdata)
    evaluator = Evaluator(model.formula, table, dict(model.blueprint.memory), is_new=True)
    column = read_extra(evaluator, weights, "weights")
    values = np.ones(table.n) if column is None else column.values
    if not np.all((values > 0.0) | np.isnan(values)):
        raise DataError("weights of new rows must be positive numbers")
    return values


def effects_of_terms(fit: Fit) -> list[np.ndarray]:
    """Return the predicted effects of each term, (levels, q), in the model's order."""
    terms = fit.model.terms
    places = zip(terms, columns_in_group(terms), strict=True)
    return [fit.ranef[term.group].to_numpy()[:, columns] for term, columns in places]
