"""The documents: what they say to type runs, and what they link to is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import nbformat
import pytest
from shown_output import difference, run_blocks

import pymackay as pm

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
sys.path.append(str(DOCS))

import build_site as build  # noqa: E402 - the builder of the site, which is no package
import live_pages  # noqa: E402
import notebook_pages  # noqa: E402

FOR_R = (DOCS / "for-r-users.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def table_rows() -> list[tuple[str, str]]:
    """Return what stands in the tables under ``in R`` and ``in Python``."""
    part = FOR_R[: FOR_R.index("## Converting between R and Python")]
    return re.findall(r"^\| `(.+?)` \| `(.+?)` \|", part, re.MULTILINE)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    plt.close("all")


@pytest.mark.parametrize(("file", "outputs"), [("docs/getting-started.md", 15), ("README.md", 1)])
def test_code_prints_what_is_shown_after_it(file, outputs):
    scope, shown = run_blocks((ROOT / file).read_text(encoding="utf-8"))
    assert len(shown) >= outputs
    for text, printed in shown:
        assert difference(text, printed) == ""
    assert scope["comparison"].verdict == "same optimum"
    assert Path("report.html").is_file()


def test_what_the_page_on_structures_shows_is_printed():
    _, shown = run_blocks((DOCS / "structures.md").read_text(encoding="utf-8"))
    assert len(shown) == 8
    for text, printed in shown:
        assert difference(text, printed) == ""


def test_what_the_page_on_residual_structures_shows_is_printed():
    _, shown = run_blocks((DOCS / "residuals.md").read_text(encoding="utf-8"))
    assert len(shown) == 9
    for text, printed in shown:
        assert difference(text, printed) == ""


def test_what_the_page_on_large_data_shows_of_passes_is_printed():
    page = (DOCS / "large.md").read_text(encoding="utf-8")
    section = page[page.index("## Generalised models by passes") : page.index("## Using a cluster")]
    _, outputs = run_blocks(section)
    assert outputs
    for shown, printed in outputs:
        assert not difference(shown, printed)


def test_the_page_after_the_fit_prints_what_it_shows():
    text = (DOCS / "after-the-fit.md").read_text(encoding="utf-8")
    _, shown = run_blocks(text)
    assert len(shown) == 19
    for expected, printed in shown:
        assert difference(expected, printed) == ""


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("Days  10.47", "Days 10.466", True),
        ("Days  10.47", "Days 10.49", False),
        ("Days  10.47", "Day 10.47", False),
        ("17 df", "18 df", False),
        ("1.2e-08", "1.3e-08", True),
        ("a\n...\nd", "a\nb\nc\nd", True),
        ("a\n...\nd", "a\nb\nc", False),
        ("a ... c\nd", "a b c\nd", True),
        ("a", "a\nb", False),
    ],
)
def test_output_that_differs_is_noticed(shown, printed, same):
    assert (difference(shown, printed) == "") == same


def test_what_the_readme_shows_runs():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    scope: dict[str, object] = {}
    for block in blocks(text, "python"):
        exec(block, scope)
    table = text[text.index("| tests |") : text.index("| to keep |")]
    sleep = scope["sleep"]
    scope |= {
        "fit1": scope["fit"], "fit2": pm.lmer("Reaction ~ Days + (1 | Subject)", sleep),
        "L": [0.0, 1.0], "term": ("Subject", "Days"), "new": sleep.head(3), "n": 2,
        "y": sleep["Reaction"], "data": sleep, "effect": "Days", "factor": "Days",
        "Y": sleep[["Reaction", "Reaction"]].to_numpy(), "family": pm.Gamma("log"),
    }  # fmt: skip
    calls = re.findall(r"`((?:fit|pm)\.[^`]+\))`", table)
    assert len(calls) > 15
    for call in calls:
        eval(call, scope)
    for name in re.findall(r"`(\w+)`", table[table.index("| pictures |") :]):
        assert name == "plots" or name in pm.plots.__all__


def test_every_line_for_r_users_runs_here():
    scope: dict[str, object] = {}
    exec(blocks(FOR_R, "python")[0], scope)
    rows = table_rows()
    assert len(rows) > 40
    for _, here in rows:
        eval(here.replace("\\|", "|"), scope)


@pytest.mark.live
def test_every_line_of_lme4_runs_in_r(tmp_path):
    lines = [there.replace("\\|", "|") for there, _ in table_rows() if "::" not in there]
    script = tmp_path / "lines.R"
    shown = "\n".join(f"invisible({line})" for line in lines)
    script.write_text(f"pdf(NULL)\n{blocks(FOR_R, 'r')[0]}\n{shown}\ncat('all', {len(lines)})")
    done = subprocess.run(["Rscript", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"all {len(lines)}")


def test_pages_link_to_what_is_there():
    texts = [file for file in build.PAGES if file != "docs/api.md"]
    for file in [*texts, "README.md"]:
        text = (ROOT / file).read_text(encoding="utf-8")
        for _, _, target, _ in build._LINK.findall(text):
            if "://" in target or target == "api.md":
                continue
            assert (ROOT / file).parent.joinpath(target).exists(), f"{file}: {target}"


def test_the_reference_lists_every_public_name():
    page = build.api_page()
    for name in pm.__all__:
        if name not in build._NOT_LISTED:
            assert f"   pymackay.{name}\n" in page


def test_links_lead_to_pages_of_the_site():
    text = "[a](../CHANGELOG.md) [b](../setup.py) [c](https://x.org/y.md) ![d](figures/e.png)"
    expected = "[a](changelog.md) b [c](https://x.org/y.md) ![d](figures/e.png)"
    assert build.relinked(text, Path("docs")) == expected
    assert build.relinked("[p](../docs/parity.md#tol)", Path("benchmarks")) == "[p](parity.md#tol)"


def test_the_picture_in_the_readme_is_small():
    picture = DOCS / "figures" / "report.png"
    assert picture.stat().st_size < 200_000
    assert "docs/figures/report.png" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.browser
def test_the_site_in_a_browser():
    """Needs ``python docs/build_site.py`` before; every page, narrow and wide."""
    from browser import browser

    pages = sorted((build.BUILD / "html").glob("*.html"))
    assert len(pages) >= len(build.PAGES), "build the site first: python docs/build_site.py --quick"
    with browser() as chromium:
        for page in pages:
            for width in (360, 600, 1200):
                seen = chromium.visit(page, width)
                away = [url for url in seen.requests if not url.startswith(("file:", "data:"))]
                assert away == [], page.name
                assert seen.complaints == [], page.name
                assert seen.width <= width, page.name


def test_the_worked_analysis_prints_what_it_shows():
    _, shown = run_blocks((DOCS / "worked-analysis.md").read_text(encoding="utf-8"))
    assert len(shown) == 7
    for expected, printed in shown:
        assert difference(expected, printed) == ""


def test_every_function_that_the_page_of_methods_names_is_there():
    text = (DOCS / "which-method.md").read_text(encoding="utf-8")
    names = re.findall(r"`pm\.([\w.]+)", text)
    assert len(names) > 20
    for name in names:
        home = pm
        for part in name.split("."):
            home = getattr(home, part)
    for name in re.findall(r"`fit\.(\w+)\(", text):
        assert hasattr(pm.Fit, name), name


def test_outputs_and_pictures_of_a_page_are_computed(tmp_path):
    page = """```python
import matplotlib.pyplot as plt
plt.plot([1, 2])  # a plot
print(1 / 3)
```

```text
0.3333
```

![A line](figures/old.png)

```python
print("one", "two")
```

```text
one ...
```
"""
    text = live_pages.computed(page, tmp_path, "page")
    assert "```text\n0.3333333333333333\n```\n\n![A line](figures/page-1.png)\n" in text
    assert "```text\none ...\n```" in text
    assert (tmp_path / "page-1.png").stat().st_size > 1000
    with pytest.raises(ValueError, match=r"page: an output is not the one shown there"):
        live_pages.computed(page.replace("0.3333", "0.4444"), tmp_path, "page")


def test_a_notebook_becomes_a_page(tmp_path):
    notebook = nbformat.v4.new_notebook()
    code = nbformat.v4.new_code_cell("%%R\nprint(1)")
    code.outputs = [
        nbformat.v4.new_output("stream", name="stdout", text="a "),
        nbformat.v4.new_output("stream", name="stderr", text="warned"),
        nbformat.v4.new_output("stream", name="stdout", text="word\n"),
        nbformat.v4.new_output(
            "display_data", data={"text/html": "<style>x</style><table>\n\n</table>"}
        ),
        nbformat.v4.new_output("display_data", data={"image/png": "aGVsbG8="}),
    ]
    hidden = nbformat.v4.new_code_cell("import os", metadata={"tags": ["hide-input"]})
    notebook.cells = [nbformat.v4.new_markdown_cell("# Title"), code, hidden]
    nbformat.write(notebook, tmp_path / "page.ipynb")
    (tmp_path / "figures").mkdir()
    text = notebook_pages.write_page(tmp_path / "page.ipynb", tmp_path).read_text(encoding="utf-8")
    assert text == (
        "# Title\n\n```ipython3\n%%R\nprint(1)\n```\n\n```text\na word\n```\n\n"
        '<div class="notebook-table">\n<table>\n</table>\n</div>\n\n'
        "![Drawn by the code above](figures/page-1-4.png)\n"
    )
    assert (tmp_path / "figures" / "page-1-4.png").read_bytes() == b"hello"


def test_assembled_pages_have_their_figures(tmp_path):
    build.assemble(tmp_path / "source")
    for page in (tmp_path / "source").glob("*.md"):
        for target in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).is_file(), f"{page.name}: {target}"
