"""`store`: keeps measurements of `glmer`'s speed, and writes the page `GLMM_SPEED.md` from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.general_problems import PROBLEMS

__all__ = ["store"]

_HERE = Path(__file__).resolve().parent
_STORED, _PAGE = _HERE / "general_speed.json", _HERE / "GLMM_SPEED.md"
_HEAD = """# Speed of glmer

`python -m benchmarks.general_large` and `python -m benchmarks.general_many` write this page from
`general_speed.json`. All times are CPU seconds of a whole call in a warm process with one thread:
reading the formula, search and standard errors; medians of several calls (one call for the largest
problem, and for lme4 on VerbAgg). The packages of one line ran one after the other on the same
machine, which had no other work; ratios compare times of the same run."""


def store(section: str, answers: dict[str, Any]) -> None:
    """Merge the answers of a section, by problem, with what is stored, and write the page."""
    stored = json.loads(_STORED.read_text(encoding="utf-8")) if _STORED.exists() else {}
    stored[section] = {**stored.get(section, {}), **answers}
    _STORED.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    parts = [_HEAD]
    for name, write in (("large", _large), ("many", _many), ("calibration", _calibration)):
        if name in stored:
            parts.append(write(stored[name]))
    _PAGE.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _large(answers: dict[str, Any]) -> str:
    """Return the table of single fits."""
    lines = [
        "## Single fits",
        "",
        "*Ratio*: CPU seconds of pymackay by those of the other package; *aim*: what was aimed at.",
        "*Largest difference*: of a standard deviation of random effects, relative. GPBoost and",
        "the iterative solver estimate with random probes; glmm and lme4 stop before the last",
        "digits.",
        "",
        "| problem | pymackay, s | other | its CPU, s | ratio | aim | largest difference |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    versions, peaks = set(), []
    for name, problem in PROBLEMS.items():
        ours = answers.get(name, {}).get("pymackay")
        if ours is None:
            continue
        mine = float(np.median(ours["seconds"]))
        peaks.append(f"{ours['peak']:.2f} GiB ({name})")
        for engine, aim in problem.peers.items():
            other = answers[name].get(engine)
            if other is None:
                aimed = f"{aim:.3g}" if aim else ""
                lines.append(f"| {name} | {mine:.3g} | {engine} | not measured | | {aimed} | |")
                continue
            versions.add(f"{engine} {other['version']}")
            its = float(np.median(other["seconds"]))
            gap = np.abs(_sizes(other["sd"]) / _sizes(ours["sd"]) - 1.0).max()
            numbers = f"{mine:.3g} | {engine} | {its:.3g} | {mine / its:.3g}"
            lines.append(f"| {name} | {numbers} | {f'{aim:.3g}' if aim else ''} | {gap:.1e} |")
    lines += ["", f"Versions: {', '.join(sorted(versions))}. Peak memory of the process with"]
    return "\n".join([*lines, f"pymackay: {'; '.join(peaks[-1:])}."])


def _sizes(sd: list[float]) -> np.ndarray:
    """Return standard deviations by size: packages list factors in different orders."""
    return np.sort(np.array(sd, dtype=float))


def _many(answers: dict[str, Any]) -> str:
    """Return the table of many responses."""
    lines = [
        "## A thousand responses of one design",
        "",
        "`glmer_many` on 1,000 responses drawn from a fit, and `glmer` on 40 of them, scaled up.",
        "*Gap*: the largest difference of the criterion at the optimum, over these 40.",
        "",
        "| design | glmer_many, s | one after the other, s | times as fast | certified | singular "
        "| gap |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, it in answers.items():
        lines.append(
            f"| {name} | {it['together']:.3g} | {it['alone']:.3g} "
            f"| {it['alone'] / it['together']:.1f} | {it['certified']:.1%} | {it['singular']:.1%} "
            f"| {it['gap']:.1e} |"
        )
    return "\n".join(lines)


def _calibration(answers: dict[str, Any]) -> str:
    """Return the table of deviations in stated errors."""
    probes = answers["probes"]
    t = stats.t(probes - 1)
    lines = [
        "## Is the stated error of the iterative solver right?",
        "",
        f"Variances by the iterative solver with {probes} probes minus those by the exact one, in",
        "stated standard errors, each seed with its own data and probes. The errors are estimated",
        f"from the probes themselves, so that Student's t with {probes - 1} degrees of freedom is",
        f"expected: root mean square {t.std():.2f}, and {t.cdf(1.96) - t.cdf(-1.96):.1%} within"
        " 1.96. The two variances of a fit deviate together: they count for little more than one.",
        "What the diagonal blocks of the equations contribute, and directions along which all",
        "levels of a factor move together, is computed without probes: these alone would make the",
        "errors of a dense design several times as large, and so skewed that few probes hide",
        "them.",
        "",
        "| design | variances | mean | root mean square | within 1.96 |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, values in answers.items():
        if name == "probes":
            continue
        z = np.array(values)
        lines.append(
            f"| {name} | {len(z)} | {z.mean():.2f} | {np.sqrt((z**2).mean()):.2f} "
            f"| {(np.abs(z) < 1.96).mean():.1%} |"
        )
    return "\n".join(lines)
