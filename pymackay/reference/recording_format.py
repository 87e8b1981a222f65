"""`Content`: what the JSON of a recording holds, as types that a file is checked against."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

FORMAT = 1
LARGEST = 2**30  # bytes of a file; one of a million levels has a tenth


class Asked(TypedDict):
    """The question; its other arguments are compared and not read."""

    formula: str
    reml: bool


class Column(TypedDict):
    """A column of the data, by what R takes it for."""

    kind: str
    sha256: str


class Data(TypedDict):
    """The data, by checksums."""

    rows: int
    columns: dict[str, Column]
    sha256: str


class MadeBy(TypedDict):
    """Who answered."""

    versions: dict[str, str]
    scripts: dict[str, str]


class Model(TypedDict):
    """The model as lme4 saw it; rows from 0, null for all; a term is name, group and effects."""

    response: str
    rows: list[int] | None
    terms: list[list[Any]]
    levels: dict[str, list[str]]
    contrasts: dict[str, str]
    dropped: list[str]
    weights: list[float] | None
    offset: list[float] | None


class Named(TypedDict):
    """Numbers with names, shape (k,)."""

    names: list[str]
    values: list[float]


class Covariance(TypedDict):
    """Of one term, shape (q, q)."""

    effects: list[str]
    covariance: list[list[float]]


class Effects(TypedDict):
    """Of one group, shape (levels, q)."""

    effects: list[str]
    values: list[list[float]]


class Ending(TypedDict):
    """How the optimiser ended; null where lme4 has not computed it."""

    converged: bool
    message: str
    evaluations: int
    optimizer: str
    decrement: float | None
    gradient: float | None
    curvature: float | None


class Answer(TypedDict):
    """What R answered, one way of asking."""

    beta: Named
    vcov: list[list[float]]
    sigma: float
    theta: Named
    varcorr: dict[str, Covariance]
    ranef: dict[str, Effects]
    criterion: float
    fitted: list[float] | None
    residuals: list[float] | None
    singular: bool
    warnings: list[str]
    messages: list[str]
    convergence: Ending
    condvar: NotRequired[dict[str, list[list[list[float]]]] | None]
    pev: NotRequired[dict[str, list[list[list[float]]]] | None]


class Content(TypedDict):
    """A recording."""

    format: int
    asked: Asked
    data: Data
    made_by: MadeBy
    model: Model
    answers: dict[str, Answer]
    not_recorded: dict[str, str]
    content_sha256: str
