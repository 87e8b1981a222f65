"""Run the fuzzer: ``PYTHONPATH=tests python -m fuzz --seconds 60 --seed 1``."""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path

from fuzz.disagree import disagreement, shrink
from fuzz.generate import FuzzModel, generate


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1, help="the first seed; they count up")
    parser.add_argument("--keep", type=Path, help="a folder for shrunk disagreements")
    options = parser.parse_args()
    verdicts: Counter[str] = Counter()
    seed, end, bad = options.seed, time.monotonic() + options.seconds, 0
    while time.monotonic() < end:
        model = generate(seed)
        verdict, report = disagreement(model)
        verdicts[verdict] += 1
        if report:
            bad += 1
            print(f"seed {seed}: {verdict}: {model.formula} {model.arguments} reml={model.reml}")
            print("    " + report.replace("\n", "\n    "))
            if options.keep:
                _store(shrink(model, verdict), options.keep)
        seed += 1
    print(f"{seed - options.seed} models from seed {options.seed}, {bad} disagreements")
    print(", ".join(f"{verdict}: {count}" for verdict, count in verdicts.most_common()))
    return int(bad > 0)


def _store(model: FuzzModel, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    model.data.to_csv(folder / f"{model.seed}.csv", index=False)
    about = {"formula": model.formula, "reml": model.reml, "arguments": model.arguments}
    (folder / f"{model.seed}.json").write_text(json.dumps(about, indent=1), encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
