"""Whether two fits may be compared by their likelihoods: of the same data, and nested."""

from __future__ import annotations

from typing import Any

import numpy as np

from pymackay.covariance.structures import is_part_of_sum, is_special_case
from pymackay.errors import ArgumentError, DataError
from pymackay.model.bases.scaling import fixed_basis, independent_columns
from pymackay.model.model import Model, RandomTerm
from pymackay.model.stream.digest import digest_response, digest_text
from pymackay.model.sums.gram import Bases
from pymackay.results import Fit, TermSummary
from pymackay.solve.assemble import Problem

_SAME = 1e-9  # of the sizes that enter: a smaller difference is rounding
_INSIDE = 1e-7  # of a column's norm: a smaller part outside of a space is rounding
_CURE = "Likelihoods of different data cannot be compared; fit both to the same rows."


def check_same_data(first: Fit, second: Fit) -> None:
    """Refuse to compare fits of different rows, responses or prior weights.

    Fits whose rows were read part by part and not kept are compared by their sums over rows.

    Raises
    ------
    DataError
    """
    if first.n_obs != second.n_obs:
        raise DataError(
            f"the models were fitted to different data: {first.n_obs} rows ({first.formula}) and "
            f"{second.n_obs} rows ({second.formula}). Drop rows with missing values in any "
            f"variable first, or pass the same subset."
        )
    if first.model.response != second.model.response:
        raise _different("responses", first, second)
    one, other = _response(first), _response(second)
    if np.isnan(one + other).any():
        _check_same_sums(first, second)
        digests = {_digest(first), _digest(second)} - {""}
        if len(digests) == 2:
            raise _different("responses", first, second)
        return
    if not np.abs(one - other).max() <= _SAME * np.abs(one).max():
        raise _different("responses", first, second)
    if not _equal(_filled(first.model.weights, 1.0), _filled(second.model.weights, 1.0)):
        raise _different("prior weights", first, second)


def check_same_criterion(fit: Fit, *others: Fit) -> None:
    """Refuse to compare fits whose criteria are not likelihoods of one kind.

    Raises
    ------
    ArgumentError
    """
    first = _criterion(fit)
    for other in others:
        names = [name for name, value in _criterion(other).items() if value != first[name]]
        if names:
            raise ArgumentError(
                f"the fits differ in {', '.join(names)}, so that their likelihoods cannot be "
                f"compared; fit both models with the same."
            )


def _criterion(fit: Fit) -> dict[str, object]:
    """Return what must be the same in fits whose likelihoods are compared."""
    general = fit.general
    names = ("family", "nagq", "determinant", "dispersion")
    if general is None:
        return dict.fromkeys(names, "")
    if general.dispersion_by == "lme4":
        raise ArgumentError(
            "fits with dispersion='lme4' have no likelihoods to compare; fit the models with "
            "dispersion='ml'."
        )
    weights = "" if general.family.is_canonical else general.determinant
    values = (general.family.name, general.nagq, weights, general.dispersion_by)
    return dict(zip(names, values, strict=True))


def _different(what: str, first: Fit, second: Fit) -> DataError:
    return DataError(
        f"the models were fitted to different {what}: {first.model.response} ({first.formula}) and "
        f"{second.model.response} ({second.formula}), rows in order. {_CURE}"
    )


def _digest(fit: Fit) -> str:
    """Return the fingerprint of the response; empty where there is none."""
    model = getattr(fit.problem, "model", None)
    if model is None or not len(model.y):
        return "" if model is None else model.digest
    return digest_text(digest_response(model.y))


def _response(fit: Fit) -> np.ndarray:
    """Return the response as it was given, shape (n,), nan where it was not kept."""
    if fit.general is not None and fit.general.observed is not None:
        return np.asarray(fit.general.observed.y)
    model = getattr(fit.problem, "model", None)
    if model is not None and len(model.y):
        return np.asarray(model.y)  # fitted values and residuals lose its digits beside an offset
    return (fit.fitted + fit.residuals).to_numpy(dtype=np.float64)


def _filled(values: np.ndarray | None, default: float) -> np.ndarray:
    return np.asarray(default if values is None else values)


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    return bool((np.abs(one - other) <= _SAME * np.abs(one).max(initial=0.0)).all())


# ---- rows that were not kept ---------------------------------------------------------------------


def _check_same_sums(first: Fit, second: Fit) -> None:
    """Compare what was summed up of the rows: the response, shared columns, shared levels.

    Raises
    ------
    DataError
        If a sum differs, or if one of the fits holds no sums.
    """
    problems = first.problem, second.problem
    if first.general is not None and all(hasattr(p, "laplace") for p in problems):
        differ = _differing(*(problem.laplace for problem in problems))
        if differ:
            raise _different(", ".join(differ), first, second)
        return
    if not all(isinstance(problem, Problem) for problem in problems):
        raise DataError(
            f"it cannot be shown that the models were fitted to the same data, because the rows of "
            f"{first.formula} or {second.formula} were not kept; fit both with pymackay.lmer."
        )
    bases = [problem.solver.bases for problem in problems]
    shared = [name for name in first.beta.index if name in second.beta.index]
    sums = [_sums(one, shared) for one in bases]
    counts = [_level_sums(one) for one in bases]
    both = counts[0].keys() & counts[1].keys()
    differ = [what for what in sums[0] if not _near(*sums[0][what], sums[1][what][0])]
    differ += [f"levels of {key[0]}" for key in both if not _near_levels(*(c[key] for c in counts))]
    if differ:
        raise DataError(
            f"the models were fitted to different data, or to other offsets: the rows were not "
            f"kept, but their sums differ between {first.formula} and {second.formula} "
            f"({', '.join(differ)}). Drop rows with missing values in any variable first. {_CURE}"
        )


def _differing(one: Any, other: Any) -> list[str]:
    """Return what differs of two generalised models whose rows were read in passes."""
    rows = one.rows, other.rows
    shared = [name for name in rows[0].model.fixed if name in rows[1].model.fixed]
    columns = [r.basis.R[:, [r.model.fixed.index(name) for name in shared]] for r in rows]
    norms = np.linalg.norm(columns[0], axis=0)
    grams = [R.T @ R for R in columns]
    differ = [] if _near(grams[0], np.outer(norms, norms), grams[1]) else ["fixed columns"]
    both = rows[0].model.factors.keys() & rows[1].model.factors.keys()
    levels = [[r.model.factors[name].levels for r in rows] for name in sorted(both)]
    differ += ["levels"] if any(a != b for a, b in levels) else []
    constants = one.saturated, other.saturated
    if None not in constants and not _near(constants[0], abs(constants[0]), constants[1]):
        differ.append("prior weights")
    return differ


def _sums(bases: Bases, shared: list[str]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return sums over rows with the size against which each is compared.

    With X = QR and the least-squares coefficients beta: ``y'Wy = scale² + |R beta|²``,
    ``X'WX = R'R`` and ``X'Wy = R'R beta``, of the columns `shared`.
    """
    R, beta = bases.basis.R, bases.response.beta
    along = R @ beta
    squares = np.asarray(bases.y_scale**2 + along @ along)
    columns = R[:, [bases.model.fixed.index(name) for name in shared]]
    norms = np.linalg.norm(columns, axis=0)
    logs = np.asarray(bases.log_weights)
    return {
        "squared response": (squares, squares),
        "log weights": (logs, np.abs(logs)),
        "fixed columns": (columns.T @ columns, np.outer(norms, norms)),
        "fixed columns times response": (columns.T @ along, norms * np.sqrt(squares)),
    }


def _near(one: np.ndarray, size: np.ndarray, other: np.ndarray) -> bool:
    return bool((np.abs(one - other) <= _SAME * size).all())


LevelSums = tuple[tuple[str, ...], np.ndarray, np.ndarray]


def _level_sums(bases: Bases) -> dict[tuple[str, str], LevelSums]:
    """Return, by grouping factor and effect, the levels and ``[z_j'Wz_j, z_j'Wy]``, (2, J).

    Their sizes, (2, 1), come third. Of a term with columns ZT in the bases of the sums,
    ``Z'Wy = T⁻' (T'Z'Q R beta + T'Z'r scale)``.
    """
    sums = {}
    along = np.append(bases.basis.R @ bases.response.beta, bases.y_scale)
    for index, block in enumerate(bases.blocks):
        products, crossed = bases.level_moments(index)
        levels = bases.model.factors[block.name].levels
        for term, place in bases.block_slices(block):
            back = np.linalg.inv(bases.transforms[term])
            squares = np.einsum("ba,jbc,ca->ja", back, products[:, place, place], back)
            with_y = crossed[:, place] @ along @ back
            for k, effect in enumerate(bases.model.terms[term].effects):
                largest = squares[:, k].max()
                sizes = np.array([[largest], [np.sqrt(largest) * np.linalg.norm(along)]])
                sums[block.name, effect] = levels, np.stack([squares[:, k], with_y[:, k]]), sizes
    return sums


def _near_levels(one: LevelSums, other: LevelSums) -> bool:
    return one[0] == other[0] and _near(one[1], one[2], other[1])


# ---- nested models -------------------------------------------------------------------------------


def check_nested(small: Fit, large: Fit) -> None:
    """Refuse models of which the first is not a special case of the second.

    Where the rows are there, the columns decide, whatever they are called; otherwise the names do.

    Raises
    ------
    ArgumentError
    """
    models: list[Model | None] = [getattr(fit.problem, "model", None) for fit in (small, large)]
    with_rows = [model for model in models if model is not None and len(model.y)]
    if len(with_rows) == 2:
        fixed, random = _fixed_inside(*with_rows), _random_inside(*with_rows)
    else:
        fixed = set(small.model.fixed) <= set(large.model.fixed)
        random = all(
            any(_named_inside(term, other) for other in large.model.terms)
            or is_part_of_sum(term, large.model.terms)
            for term in small.model.terms
        )
    if not _residual_inside(small, large):
        raise ArgumentError(
            f"the models are not nested: the residuals of {_residual_text(small)} are no special "
            f"case of those of {_residual_text(large)}, as far as this package knows. Compare such "
            f"models by fit.aic or fit.bic, fitted by ML."
        )
    if not (fixed and random):
        part = "random" if fixed else "fixed"
        raise ArgumentError(
            f"the models are not nested: the {part} part of {small.formula} is no special case of "
            f"that of {large.formula}, so that the likelihood ratio has no chi-square "
            f"distribution. Compare such models by fit.aic or fit.bic, fitted by ML."
        )


_INSIDE_OF = {
    "varident": ("diag", "us"),
    "diag": ("us",),
    "ar1": ("toep", "us"),
    "cs": ("toep", "us"),
    "toep": ("us",),
}
"""Structures of residuals, and those of which they are special cases in the same groups."""


def _residual_text(fit: Fit) -> str:
    part = fit.residual_covariance
    return fit.formula if part is None else f"{fit.formula} with residual={part.text!r}"


def _residual_inside(small: Fit, large: Fit) -> bool:
    """Whether one covariance of residuals is a special case of another."""
    one, other = small.residual_covariance, large.residual_covariance
    if one is None or (other is not None and one.text == other.text):
        return True
    if other is None:
        return False
    related = one.tag == other.tag or other.tag in _INSIDE_OF.get(one.tag, ())
    same_sds = len(one.sd) == 1 or list(one.sd.index) == list(other.sd.index)
    same_groups = one.group == other.group or not one.group
    return related and same_sds and same_groups and (len(one.sd) == 1 or other.tag != "toep")


def _fixed_inside(small: Model, large: Model) -> bool:
    """Whether X of `small`, and the difference of the offsets, lie in the space of X of `large`."""
    shift = _filled(small.offset, 0.0) - _filled(large.offset, 0.0) + np.zeros(len(small.y))
    return _spanned(np.column_stack([small.X, shift]), large.X)


def _spanned(columns: np.ndarray, space: np.ndarray) -> bool:
    """Whether `columns`, (n, k), are combinations of the columns of `space`, (n, p)."""
    Q = fixed_basis(space).Q
    outside = np.linalg.norm(columns - Q @ (Q.T @ columns), axis=0)
    return bool((outside <= _INSIDE * np.linalg.norm(columns, axis=0)).all())


def _random_inside(small: Model, large: Model) -> bool:
    return all(
        any(_term_inside(small, term, large, other) for other in large.terms)
        or is_part_of_sum(term.summary(), [other.summary() for other in large.terms])
        for term in small.terms
    )


def _term_inside(small: Model, term: RandomTerm, large: Model, other: RandomTerm) -> bool:
    """Whether the covariance of one term can be a special case of that of another.

    With the same levels its columns must be combinations of the other's, and its structure, if
    these are the same effects, a special case. With finer levels, as of
    ``(1 | g:f)`` beside ``(f | g)``, it is taken for one where the other has several effects.
    """
    finer, coarser = small.factors[term.group], large.factors[other.group]
    pairs = len(np.unique(finer.codes.astype(np.int64) * len(coarser.levels) + coarser.codes))
    if pairs != len(finer.levels):
        return False
    if pairs != len(coarser.levels):
        return len(other.effects) > 1
    kept = independent_columns(other.columns)
    inside = _spanned(term.columns, other.columns[:, kept])
    return inside and is_special_case(term.summary(), other.summary())


def _named_inside(term: TermSummary, other: TermSummary) -> bool:
    """Whether a term can be a special case of another, as far as names say."""
    if term.group == other.group:
        return set(term.effects) <= set(other.effects) and is_special_case(term, other)
    finer = set(other.group.split(":")) < set(term.group.split(":"))
    return finer and len(other.effects) > 1
