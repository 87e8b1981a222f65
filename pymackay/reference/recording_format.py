"""`Content`: the format of a recording's JSON, as types that files are checked against."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

FORMAT = 1
LARGEST = 2**30  # bytes of a file; a recording with a million levels has a tenth of it


class Asked(TypedDict):
    """The question; further arguments are compared with the question's but not checked here."""

    formula: str
    reml: bool


class Column(TypedDict):
    """A column of the data: its kind in R and its checksum."""

    kind: str
    sha256: str


class Data(TypedDict):
    """The checksums of the data."""

    rows: int
    columns: dict[str, Column]
    sha256: str


class MadeBy(TypedDict):
    """The versions and scripts that gave the answers."""

    versions: dict[str, str]
    scripts: dict[str, str]


class Model(TypedDict):
    """The model that lme4 built.

    ``rows`` are 0-based, or null if all rows were used; a term is its name, group and effects.
    """

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
    """The covariance matrix of one term, shape (q, q)."""

    effects: list[str]
    covariance: list[list[float]]


class Effects(TypedDict):
    """The predicted effects of one group, shape (levels, q)."""

    effects: list[str]
    values: list[list[float]]


class Ending(TypedDict):
    """How the optimiser ended; null for what lme4 did not compute."""

    converged: bool
    message: str
    evaluations: int
    optimizer: str
    decrement: float | None
    gradient: float | None
    curvature: float | None


class GeneralPart(TypedDict):
    """What only an answer of ``glmer`` has."""

    family: str
    link: str
    nagq: int
    shape: float | None
    shape_estimated: bool
    linear_predictor: list[float] | None
    y: list[float] | None
    totals: list[float] | None
    lme4_criterion: float
    dispersion: float
    deviance: float


class _ByKind(TypedDict, total=False):
    """Parts that not every answer has."""

    general: GeneralPart


class Answer(_ByKind):
    """One answer of lme4: default, tight, or at given parameters.

    The criterion of ``glmer`` is the refreshed one, on the scale of -2 log likelihood.
    """

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
    """The whole file."""

    format: int
    asked: Asked
    data: Data
    made_by: MadeBy
    model: Model
    answers: dict[str, Answer]
    not_recorded: dict[str, str]
    content_sha256: str
