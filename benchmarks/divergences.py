"""The register of differences between engines: ``python -m benchmarks.divergences`` writes it.

Every model whose answer by lme4 is recorded, by every engine that is installed: lme4 from the
recordings, the others now. What differs from ours beyond the tolerances goes into
``docs/divergences/``, with its size in statistical units and its reason; a difference without a
reason ends the run with status 1.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pymackay as pm
from benchmarks.divergence_findings import Finding, case_name, declined, findings
from benchmarks.divergence_page import as_page
from benchmarks.divergence_reasons import UNEXPLAINED, reasons
from benchmarks.divergence_refit import ENGINE as REFIT
from benchmarks.divergence_refit import lme4_version, refitted
from benchmarks.r_peers import ENGINES as R_ENGINES
from benchmarks.r_peers import answers
from pymackay._files import write_whole
from pymackay._resources import r_reference_path
from pymackay.adapters import as_fit, fit_with
from pymackay.adapters.registry import engines
from pymackay.compare.comparison import Comparison
from pymackay.errors import PymackayError
from pymackay.fuzz import load
from pymackay.reference.question import Question
from pymackay.reference.record import listed_questions
from pymackay.reference.recorded import RecordedStore
from pymackay.results import Fit

__all__ = [
    "FOLDER",
    "entries",
    "found_by_the_fuzzer",
    "lme4_findings",
    "main",
    "page_text",
    "register_text",
]

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "divergences"
ENGINES = [engine.name for engine in engines() if engine.fits is not None]
_MOST_ROWS = 1500  # the slow engines fit only models with at most so many rows
_ARGUMENTS = ("reml", "weights", "offset", "subset", "contrasts")

Cases = Mapping[int, tuple[str, Question]]


def main(arguments: list[str] | None = None) -> int:
    """Write the register and its page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.divergences", description=__doc__)
    parser.add_argument("--only", metavar="ENGINE", help="one engine; the others keep their rows")
    options = parser.parse_args(arguments)
    cases = dict(enumerate(listed_questions(r_reference_path("models.toml"))))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        findings = list(_all_findings(cases, options.only))
    rows = [*_kept(options.only), *entries(findings)]
    rows.sort(key=lambda row: (row["engine"], row["case"], row["quantity"]))
    FOLDER.mkdir(parents=True, exist_ok=True)
    write_whole(FOLDER / "register.json", register_text(rows))
    write_whole(FOLDER / "README.md", page_text(rows, cases))
    unexplained = [row for row in rows if row["reason"] == UNEXPLAINED]
    for row in unexplained:
        print(f"unexplained: {row}", file=sys.stderr)
    print(f"{len(rows)} differences, {len(unexplained)} unexplained: {FOLDER}")
    return int(bool(unexplained))


def page_text(rows: list[dict[str, Any]], cases: Cases) -> str:
    """Return the page of a register."""
    small = sum(len(question.data) <= _MOST_ROWS for _, question in cases.values())
    asked = dict.fromkeys(("lme4", "lme4 tight"), len(cases))
    asked |= dict.fromkeys((REFIT, *ENGINES, *R_ENGINES), small)
    campaigns = json.loads((FOLDER / "campaigns.json").read_text(encoding="utf-8"))
    return as_page(rows, asked, found_by_the_fuzzer(), campaigns, _MOST_ROWS)


def found_by_the_fuzzer() -> list[dict[str, Any]]:
    """Return the descriptions of the small data sets in ``found/``."""
    rows = []
    for path in sorted((FOLDER / "found").glob("*.json")):
        about = json.loads(path.read_text(encoding="utf-8"))
        words = {name: about[name] for name in ("verdict", "reason")}
        rows.append({"file": path.name, "model": str(load(path)), **words})
    return rows


def register_text(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the register as JSON, with one difference per line."""
    lines = ",\n".join(" " + json.dumps(row, ensure_ascii=False) for row in rows)
    return f"[\n{lines}\n]\n"


def entries(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Return findings as rows of the register, each with its reason."""
    by_model: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        by_model.setdefault((finding.engine, finding.case), []).append(finding)
    rows = []
    for of_model in by_model.values():
        for finding, reason in reasons(of_model).items():
            row = {**asdict(finding), "reason": reason}
            del row["singular"]
            if finding.size is not None:
                row["size"] = float(f"{finding.size:.3g}")
            rows.append(row)
    return rows


def _kept(only: str | None) -> list[dict[str, Any]]:
    """Return the rows of the engines that are not run again."""
    path = FOLDER / "register.json"
    if only is None or not path.exists():
        return []
    rows = json.loads(path.read_text(encoding="utf-8"))
    return [row for row in rows if row["engine"] != only]


# ---- asking


def _all_findings(cases: Cases, only: str | None) -> Iterator[Finding]:
    ours = {number: _ours(question) for number, (_, question) in cases.items()}
    small = {k: case for k, case in cases.items() if len(case[1].data) <= _MOST_ROWS}
    for tight, engine in ((False, "lme4"), (True, "lme4 tight")):
        if only in (None, engine):
            for number, (data, question) in cases.items():
                theirs = RecordedStore().fit(question, "tight" if tight else "default")
                compared = pm.compare(ours[number], theirs)
                yield from lme4_findings(compared, data, question, tight=tight)
    if only in (None, REFIT):
        version = lme4_version()
        for number, case in small.items():
            answer = refitted(ours[number])
            yield from _compared(ours[number], answer, REFIT, version, case_name(*case))
    for engine in ENGINES:
        if only in (None, engine):
            yield from _python_engine(engine, small, ours)
    for engine in R_ENGINES:
        if only in (None, engine):
            yield from _r_engine(engine, small, ours)


def _ours(question: Question) -> Fit:
    return pm.lmer(question.formula, question.data, **_how(question))


def _how(question: Question) -> dict[str, Any]:
    return {name: getattr(question, name) for name in _ARGUMENTS}


def lme4_findings(
    comparison: Comparison, data: str, question: Question, *, tight: bool, loose: float = 1.0
) -> Iterator[Finding]:
    """Yield how lme4's recorded answer differs from ours."""
    version = comparison.reference.engine.versions["lme4"]
    engine = "lme4 tight" if tight else "lme4"
    yield from findings(comparison, engine, version, case_name(data, question), loose=loose)


def _python_engine(engine: str, cases: Cases, ours: Mapping[int, Fit]) -> Iterator[Finding]:
    package = {"lme-python": "lme_python"}.get(engine, engine)
    version = importlib.metadata.version(package)
    for number, (data, question) in cases.items():
        answer = _asked(engine, question, ours[number])
        yield from _compared(ours[number], answer, engine, version, case_name(data, question))


def _asked(engine: str, question: Question, ours: Fit) -> Fit | str:
    """Return another Python package's fit of the model's rows, or its error message."""
    if question.contrasts is not None:
        return "cannot: it has no contrasts as an argument"
    how = {name: getattr(question, name) for name in ("reml", "weights", "offset")}
    data = question.data.loc[ours.model.rows]
    for name, column in data.select_dtypes("category").items():
        data = data.assign(**{str(name): column.cat.remove_unused_categories()})
    try:
        fitted = fit_with(engine, question.formula, data, **how)
        return as_fit(fitted, question.formula, data, **how)
    except PymackayError as error:
        return f"cannot: {error}"
    except Exception as error:  # whatever another package raises is its answer
        return f"{type(error).__name__}: {error}"


def _r_engine(engine: str, cases: Cases, ours: Mapping[int, Fit]) -> Iterator[Finding]:
    questions = {number: question for number, (_, question) in cases.items()}
    for number, answer in answers(engine, questions):
        case = case_name(*cases[number])
        yield from _compared(ours[number], answer.fit or answer.said, engine, answer.version, case)


def _compared(
    ours: Fit, answer: Fit | str, engine: str, version: str, case: str
) -> Iterator[Finding]:
    if isinstance(answer, str):
        yield declined(engine, version, case, answer)
        return
    yield from findings(pm.compare(ours, answer), engine, version, case)


if __name__ == "__main__":
    sys.exit(main())
