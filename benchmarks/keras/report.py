"""Summaries of the results, and the page `benchmarks/KERAS.md`.

python -m benchmarks.keras.report
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

__all__ = ["FRESH", "REFERENCE", "results", "summary"]

REFERENCE = "loop"  # the other methods are compared with it
FRESH = tuple(str(seed) for seed in range(11, 21))  # on which nothing was chosen
_HERE = Path(__file__).resolve().parent
_TITLES = {
    "simulated": "Simulated, all seeds: 4,000 rows, tables of 2,000, 60 and 400 levels",
    "diabetes": "diabetes (scikit-learn): 300 rows, 10 covariates, standardised response",
    "insteval": "InstEval (lme4): 5,000 rows, tables of students, lecturers and departments",
}
_HEADER = """# A penalty for each layer of a Keras network

This page compares MacKay's loop (`pymackay.keras`) with what a Keras user would do instead to
choose the penalties of a network: nothing, stop early, drop units, search by the error on a
validation set, or train by laplace-torch's marginal likelihood. `python -m benchmarks.keras.run`
runs the methods, `python -m benchmarks.keras.report` writes this page.

A search takes a fifth of the training rows as validation set and trains once more on all rows with
the best penalties. Its cost is its number of trainings times the CPU seconds of one `model.fit`.
The columns are means over the seeds; each seed draws data (or divides them), weights and batches.
The *difference* is the method's RMSE less that of the reference method, paired by seed, with its
standard error. The *log score* is the mean log density of the test responses, normal with the
predicted mean and the method's noise variance: higher is better. Cores were shared with other work,
so the ratio of CPU times is more reliable than the seconds.
"""

_WORDS = [
    f"The reference method is *{REFERENCE}*: `pymackay.keras.fit` with its defaults. It begins",
    "with prior variances of 3 % of the variance of the response, updates them every fifth",
    "epoch, and does not polish. The share was chosen on seeds 1 to 10 of the simulated task; the",
    "table of seeds 11 to 20 is the test. After a first run on these, with updates every fourth",
    "epoch and a mean RMSE of 1.1743, the interval was made one epoch longer to save time. The",
    "other loops differ from the reference in what their name says: the kind of curvature, or the",
    "literal rule.",
]


def results(name: str) -> dict[str, dict[str, dict]]:
    """Return the records of a task: method to seed to record."""
    path = _HERE / "results" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))["methods"]


def summary(name: str, only: Sequence[str] | None = None) -> pd.DataFrame:
    """Return a row per method: means over the seeds, and paired differences from `REFERENCE`.

    Seeds that the reference method has not run are left out, and those that are not in `only`,
    if it is given.

    Returns
    -------
    pandas.DataFrame
        ``seeds``, ``rmse``, ``difference`` and its standard error ``se``, ``log_score``, ``cpu``
        (seconds), ``ratio`` (CPU over that of one training without penalty of the same seed),
        ``trainings``; ``level``, the reference method's RMSE over all of its seeds plus the
        difference, which is comparable between methods with different seeds.
    """
    records = _of_seeds(results(name), only)
    base, plain = records[REFERENCE], records["no penalty"]
    level = float(np.mean([record["rmse"] for record in base.values()]))
    rows = {}
    for method, every in records.items():
        seeds = sorted(set(every) & set(base), key=int)
        by_seed = {seed: every[seed] for seed in seeds}
        gaps = np.array([by_seed[s]["rmse"] - base[s]["rmse"] for s in seeds])
        ratios = [by_seed[s]["cpu"] / plain[s]["cpu"] for s in by_seed if s in plain]
        mean = {
            column: float(np.mean([record[column] for record in by_seed.values()]))
            for column in ("rmse", "log_score", "cpu", "trainings")
        }
        rows[method] = mean | {
            "seeds": len(by_seed),
            "ratio": float(np.mean(ratios)),
            "level": level + float(gaps.mean()) if gaps.size else np.nan,
            "difference": float(gaps.mean()) if gaps.size else np.nan,
            "se": float(gaps.std(ddof=1) / np.sqrt(len(gaps))) if len(gaps) > 1 else np.nan,
        }
    return pd.DataFrame(rows).T.sort_values("difference")


def _of_seeds(
    records: dict[str, dict[str, dict]], only: Sequence[str] | None
) -> dict[str, dict[str, dict]]:
    """Return the records of some seeds; without methods that have none of them."""
    if only is None:
        return records
    chosen = {
        method: {seed: every[seed] for seed in only if seed in every}
        for method, every in records.items()
    }
    return {method: every for method, every in chosen.items() if every}


def table_lines(name: str, only: Sequence[str] | None = None) -> list[str]:
    """Return the Markdown table of a task."""
    lines = [
        "| method | seeds | RMSE | difference | log score | CPU s | ÷ one training | trainings |"
    ]
    lines.append("|---|---:|---:|---:|---:|---:|---:|---:|")
    for method, row in summary(name, only).iterrows():
        gap = "" if method == REFERENCE else f"{row['difference']:+.4f}"
        gap += f" ± {row['se']:.4f}" if row["se"] > 0.0 else ""
        cells = [
            f"**{method}**" if str(method).startswith("loop") else str(method),
            f"{row['seeds']:.0f}",
            f"{row['rmse']:.4f}",
            gap,
            f"{row['log_score']:.3f}",
            f"{row['cpu']:.1f}",
            f"{row['ratio']:.1f}",
            f"{row['trainings']:.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def large_lines() -> list[str]:
    """Return the section on large networks."""
    path = _HERE / "results" / "large.json"
    if not path.exists():
        return []
    kept = json.loads(path.read_text(encoding="utf-8"))
    lines = [
        "## Up to a million weights",
        "",
        "100,000 rows, two tables of 16 columns and a hidden layer of 32 "
        "(`python -m benchmarks.keras.large`): twelve epochs without the loop, and with the "
        "callback, which updates the priors every third epoch. The peak is that of the process, "
        "Python and TensorFlow included.",
        "",
        "| weights | γ by | CPU s | ÷ training alone | peak GiB |",
        "|---:|---|---:|---:|---:|",
    ]
    for key, record in sorted(kept.items(), key=lambda item: item[1]["weights"]):
        weights, kind = key.split("/")
        alone = kept.get(f"{weights}/none", {}).get("cpu", np.nan)
        cells = [f"{record['weights']:,}", "no loop" if kind == "none" else kind]
        cells += [f"{record['cpu']:.1f}", f"{record['cpu'] / alone:.2f}", f"{record['peak']:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]


def main() -> None:
    """Write the page."""
    lines = [_HEADER, *_WORDS, ""]
    lines += ["## Simulated, seeds 11 to 20: the test", "", *table_lines("simulated", FRESH), ""]
    for name, title in _TITLES.items():
        if (_HERE / "results" / f"{name}.json").exists() and REFERENCE in results(name):
            lines += [f"## {title}", "", *table_lines(name), ""]
    lines += large_lines()
    path = _HERE.parent / "KERAS.md"
    path.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
