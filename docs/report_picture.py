"""Draw docs/figures/report.png, the picture of the report: ``python docs/report_picture.py``.

Needs a Chromium and the extra ``plots``.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from browser import browser  # noqa: E402

import pymackay as pm  # noqa: E402

_PICTURES = 870  # pixels from the top of the page
_FORMULA = "Reaction ~ Days + (Days | Subject)"
_SHEET = """<!doctype html><meta charset="utf-8"><title>report</title><style>
body{{margin:0;background:#d5dae1;display:flex;gap:16px;padding:16px;width:1248px}}
div{{width:616px;height:768px;overflow:hidden;background:#fff}}
iframe{{border:0;width:880px;height:4000px;transform:scale(.7);transform-origin:0 0;
margin-top:-{top}px}} div:first-child iframe{{margin-top:0}}</style>
<div><iframe src="{page}"></iframe></div><div><iframe src="{page}"></iframe></div>"""


def main() -> None:
    """Show the report's beginning and its pictures side by side."""
    sleep = pm.load_data("sleepstudy")
    comparison = pm.compare(pm.lmer(_FORMULA, sleep), pm.lme4.lmer(_FORMULA, sleep))
    with tempfile.TemporaryDirectory() as folder, browser() as chromium:
        page, sheet = Path(folder, "report.html"), Path(folder, "sheet.html")
        comparison.to_html(page)
        sheet.write_text(_SHEET.format(page=page.name, top=_PICTURES), encoding="utf-8")
        seen = chromium.visit(sheet, 1280)
        (ROOT / "docs" / "figures" / "report.png").write_bytes(seen.png)


if __name__ == "__main__":
    main()
