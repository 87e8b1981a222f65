"""Functions of the closed list that make a basis from a column and remember it for new data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pymackay.model.bases.polynomial import PolynomialBasis, fit_polynomials, multivariate_exponents
from pymackay.model.bases.splines import BSplineBasis, NaturalSplineBasis, inner_knots
from pymackay.model.columns.column import Numeric
from pymackay.model.functions.call import (
    Context,
    Function,
    Value,
    column_of_numbers,
    constant_integer,
    constant_numbers,
    flag,
)

MAX_DEGREE = 100


def _poly(
    context: Context,
    x: Value,
    rest: Sequence[Value] = (),
    degree: Value = 1.0,
    raw: Value = False,
    simple: Value = False,
) -> Value:
    """``poly(x, 2)``, ``poly(x, z, degree = 2)``."""
    flag(context, simple, "simple")
    variables = [x, *rest]
    if len(variables) == 2 and isinstance(variables[1], float):
        degree = variables.pop()
    highest = constant_integer(context, degree, "degree", 1)
    if highest > MAX_DEGREE:
        raise context.error(f"the degree of poly() may be {MAX_DEGREE} at most")
    is_raw = flag(context, raw, "raw")
    bases = [
        _polynomials(context, column_of_numbers(context, v), highest, is_raw, str(i))
        for i, v in enumerate(variables)
    ]
    if len(bases) == 1:
        return _matrix(bases[0], tuple(str(k + 1) for k in range(highest)))
    exponents = multivariate_exponents(len(bases), highest)
    products = [
        np.prod([b[:, k - 1] for b, k in zip(bases, powers, strict=True) if k], axis=0)
        for powers in exponents
    ]
    names = tuple(".".join(map(str, powers)) for powers in exponents)
    return _matrix(np.column_stack(products), names)


def _polynomials(context: Context, x: np.ndarray, degree: int, raw: bool, key: str) -> np.ndarray:
    if raw:
        return x[:, None] ** np.arange(1, degree + 1)
    fresh: list[np.ndarray] = []

    def fit() -> PolynomialBasis:
        if not np.isfinite(x).all():
            raise context.error(
                "poly() meets missing or infinite values; take those rows out of the data first"
            )
        if degree >= len(np.unique(x)):
            raise context.error("the degree of poly() must be less than the number of its values")
        values, basis = fit_polynomials(x, degree)
        fresh.append(values)
        return basis

    basis = context.remember(fit, key)
    return fresh[0] if fresh else basis.evaluate(x)


def _matrix(values: np.ndarray, names: tuple[str, ...]) -> Numeric:
    """Make a column of several; a single one is a plain column, as R names it."""
    return Numeric(values[:, 0]) if values.shape[1] == 1 else Numeric(values, names)


def _scale(context: Context, x: Value, center: Value = True, scale: Value = True) -> Value:
    """``scale(x)``: missing values are left out of the mean and the standard deviation."""
    values = column_of_numbers(context, x, matrix=True)
    middle = context.remember(lambda: _centre(context, values, center), "center")
    centred = values - middle
    size = context.remember(lambda: _size(context, centred, scale), "scale")
    return Numeric(centred / size, x.names if isinstance(x, Numeric) else None)


def _centre(context: Context, values: np.ndarray, center: Value) -> np.ndarray | float:
    if isinstance(center, bool):
        known = ~np.isnan(values).all(axis=0)
        return np.nanmean(values, axis=0) if center and np.all(known) else 0.0
    return _one_for_each(context, values, center, "center")


def _size(context: Context, centred: np.ndarray, scale: Value) -> np.ndarray | float:
    if isinstance(scale, bool):
        if not scale:
            return 1.0
        count = np.maximum(np.sum(~np.isnan(centred), axis=0) - 1, 1)
        size = np.sqrt(np.nansum(centred**2, axis=0) / count)
        if not np.all(size > 0.0):
            raise context.error("scale() cannot scale a column that is constant; take it out")
        return size
    return _one_for_each(context, centred, scale, "scale")


def _one_for_each(context: Context, values: np.ndarray, constants: Value, name: str) -> np.ndarray:
    numbers = constant_numbers(context, constants, name)
    columns = 1 if values.ndim == 1 else values.shape[1]
    if len(numbers) != columns:
        raise context.error(f"{name} of scale() needs {columns} numbers, but has {len(numbers)}")
    return numbers if values.ndim == 2 else numbers[0]


def _natural_spline(
    context: Context,
    x: Value,
    df: Value = None,
    knots: Value = None,
    intercept: Value = False,
    Boundary_knots: Value = None,
) -> Value:
    """``ns(x, df = 3)``."""
    values = column_of_numbers(context, x)
    first = flag(context, intercept, "intercept")

    def make() -> NaturalSplineBasis:
        inner, boundary = _knots(context, values, knots, Boundary_knots, df, 1 + first)
        return NaturalSplineBasis(inner, boundary, first)

    return _spline_matrix(context.remember(make).evaluate(values))


def _b_spline(
    context: Context,
    x: Value,
    df: Value = None,
    knots: Value = None,
    degree: Value = 3.0,
    intercept: Value = False,
    Boundary_knots: Value = None,
) -> Value:
    """``bs(x, knots = c(1, 2))``."""
    values = column_of_numbers(context, x)
    first = flag(context, intercept, "intercept")
    power = constant_integer(context, degree, "degree", 1)
    if power > MAX_DEGREE:
        raise context.error(f"the degree of bs() may be {MAX_DEGREE} at most")

    def make() -> BSplineBasis:
        inner, boundary = _knots(context, values, knots, Boundary_knots, df, power + first)
        return BSplineBasis(inner, boundary, power, first)

    return _spline_matrix(context.remember(make).evaluate(values))


def _knots(
    context: Context, values: np.ndarray, inner: Value, ends: Value, df: Value, without_knots: int
) -> tuple[np.ndarray, tuple[float, float]]:
    """Return the inner knots and the two boundary knots of a spline.

    Parameters
    ----------
    values : numpy.ndarray, shape (n,)
    inner, ends : Value
        Inner and boundary knots, where the user gives them.
    df : Value
        Columns asked for; without inner knots, all but `without_knots` of them have a knot.
    """
    boundary, inside = _boundary(context, values, ends)
    count = 0 if df is None else _degrees(context, df) - without_knots
    if inner is None:
        return inner_knots(inside, count), boundary
    knots = np.sort(constant_numbers(context, inner, "knots"))
    if len(knots) and not (boundary[0] < knots[0] and knots[-1] < boundary[1]):
        raise context.error(
            f"knots must lie between the boundary knots {boundary[0]:g} and {boundary[1]:g}"
        )
    return knots, boundary


def _degrees(context: Context, df: Value) -> int:
    degrees = constant_integer(context, df, "df", 1)
    if degrees > 1000:
        raise context.error("df of a spline may be 1000 at most")
    return degrees


def _boundary(
    context: Context, values: np.ndarray, given: Value
) -> tuple[tuple[float, float], np.ndarray]:
    """Return the boundary knots and the finite values between them."""
    known = values[np.isfinite(values)]
    if len(known) < 2 and given is None:
        raise context.error("a spline needs at least two values that are not missing")
    if given is None:
        low, high = float(known.min()), float(known.max())
    else:
        ends = constant_numbers(context, given, "Boundary.knots")
        if len(ends) != 2:
            raise context.error("Boundary.knots must be two numbers")
        low, high = float(ends.min()), float(ends.max())
    if not (np.isfinite([low, high]).all() and low < high):
        raise context.error("a spline needs two boundary knots that differ; the column is constant")
    return (low, high), known[(known >= low) & (known <= high)]


def _spline_matrix(values: np.ndarray) -> Numeric:
    return _matrix(values, tuple(str(k + 1) for k in range(values.shape[1])))


_NS = ("x", "df", "knots", "intercept", "Boundary.knots")
_BS = ("x", "df", "knots", "degree", "intercept", "Boundary.knots")
BASIS_FUNCTIONS = {
    "bs": Function(_b_spline, _BS),
    "ns": Function(_natural_spline, _NS),
    "poly": Function(_poly, ("x", "...", "degree", "raw", "simple")),
    "scale": Function(_scale, ("x", "center", "scale")),
}
