"""Build the site, without the network: ``python docs/build_site.py`` writes docs/_build/html.

Needs ``pip install '.[docs]'`` in the repository. Pages come from all over the repository; links
between them are rewritten, and links to files that are not pages become plain text. ``--quick``
computes MacKay's page from fewer data sets.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import build_notebooks
from notebook_pages import write_page

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "docs" / "_build"
sys.path.insert(0, str(ROOT))  # the checkout, wherever this is run

# file in the repository: page of the site, in the order of its contents
PAGES = {
    "docs/index.md": "index",
    "docs/getting-started.md": "getting-started",
    "docs/which-method.md": "which-method",
    "docs/worked-analysis.md": "worked-analysis",
    "docs/after-the-fit.md": "after-the-fit",
    "docs/for-r-users.md": "for-r-users",
    "docs/fit.md": "fit",
    "docs/command-line.md": "command-line",
    "docs/parity.md": "parity",
    "docs/structures.md": "structures",
    "docs/residuals.md": "residuals",
    "docs/glmer.md": "glmer",
    "docs/glmer-and-lme4.md": "glmer-and-lme4",
    "docs/mackay-page.md": "mackay-page",
    "docs/layers-page.md": "layers-page",
    "docs/article.md": "article",
    "docs/divergences/README.md": "divergences",
    "docs/api.md": "api",  # generated
    "benchmarks/README.md": "benchmarks",
    "benchmarks/RESULTS.md": "results",
    "benchmarks/ACCURACY.md": "accuracy",
    "data/README.md": "data",
    "ARCHITECTURE.md": "architecture",
    "CONTRIBUTING.md": "contributing",
    "CHANGELOG.md": "changelog",
}

# notebooks, which become pages after they have run
NOTEBOOKS = {f"docs/{name}.py": name for name in (*build_notebooks.PAGES, *build_notebooks.WITH_R)}

# pages whose code is run when the site is built
LIVE = ("getting-started", "after-the-fit", "structures", "worked-analysis")

# a guide that is not listed yet stands after the others
PAGES |= {
    file: Path(file).stem.lower()
    for folder in ("docs", "benchmarks")
    for file in sorted(f"{folder}/{path.name}" for path in (ROOT / folder).glob("*.md"))
    if file not in PAGES
}

GROUPS = {
    "Fitting": ["lmer", "glmer", "mackay", "evaluate", "evaluate_glmer", "lmer_many",
                "glmer_many", "Fit", "ManyFits", "ManyGeneralFits"],
    "Families": ["Binomial", "Poisson", "Gamma", "InverseGaussian", "NegativeBinomial",
                 "Gaussian"],
    "Other packages": ["sklearn.MixedModelRegressor", "adapters.for_marginaleffects"],
    "Comparing": ["compare", "Comparison", "lme4.lmer", "lme4.evaluate", "lme4.glmer",
                  "lme4.evaluate_glmer", "lme4.to_r", "lme4.from_r", "lme4.frame",
                  "testing.assert_parity", "adapters.as_fit", "adapters.register"],
    "Tests and intervals": ["coefficients", "anova", "contrast", "variance_test", "confint",
                            "profile", "Profile", "bootstrap", "Bootstrap", "power"],
    "Smaller models": ["step"],
    "Checks": ["check", "simulated_residuals"],
    "Marginal means": ["emmeans", "emtrends", "joint_tests", "Means"],
    "Prediction": ["predict", "simulate", "refit", "load_fit"],
    "Tables": ["etable", "tidy", "glance", "augment", "icc", "r2", "HeadedTable"],
    "MacKay's loop": ["variance_gap", "forecast_collapse"],
    "Data": ["load_data", "list_data"],
}  # fmt: skip
_NOT_RUN = "# {name}\n\nThis notebook was not run when the site was built: R or rpy2 was missing.\n"
# where two pages of the repository have one title, or a long one
_TITLES = {
    "results": "Speed <results>",
    "parity": "Parity with lme4 <parity>",
    "mackay-page": "MacKay's loop in brief <mackay-page>",
    "layers-page": "Penalties in brief <layers-page>",
}
_NOT_LISTED = ("__version__", "adapters", "datasets", "keras", "lme4", "plots", "sklearn",
               "testing")  # fmt: skip
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)]*)?\)")


def main(quick: bool) -> int:
    """Assemble the sources, build the notebooks, run Sphinx with warnings as errors."""
    source, html = BUILD / "source", BUILD / "html"
    for folder in (source, html):
        shutil.rmtree(folder, ignore_errors=True)
    assemble(source)
    run_pages(source)
    run_notebooks(html, quick)
    for name in NOTEBOOKS.values():
        if (html / f"{name}.ipynb").is_file():
            write_page(html / f"{name}.ipynb", source)
        else:
            (source / f"{name}.md").write_text(_NOT_RUN.format(name=name), encoding="utf-8")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "docs")])
    environment = {**os.environ, "PYTHONPATH": paths, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([*command, str(source), str(html)], env=environment, check=False)
    if done.returncode == 0:
        print(html / "index.html")
    return done.returncode


def assemble(source: Path) -> None:
    """Put all pages into one folder, with the figures."""
    shutil.copytree(ROOT / "docs" / "figures", source / "figures")
    for folder in ("_templates", "_static"):
        shutil.copytree(ROOT / "docs" / folder, source / folder)
    shutil.copy(ROOT / "docs" / "conf.py", source)
    for file, page in PAGES.items():
        if page == "api":
            (source / "api.rst").write_text(api_page(), encoding="utf-8")
            continue
        text = (ROOT / file).read_text(encoding="utf-8")
        take_pictures(text, ROOT / Path(file).parent, source / "figures")
        text = relinked(text, Path(file).parent)
        if page == "index":
            text += contents()
        (source / f"{page}.md").write_text(text, encoding="utf-8")


def take_pictures(text: str, folder: Path, to: Path) -> None:
    """Copy the pictures that a text shows; one that is missing is left to Sphinx's warning."""
    for picture, _, target, _ in _LINK.findall(text):
        if picture and "://" not in target and (folder / target).is_file():
            shutil.copy(folder / target, to)


def relinked(text: str, folder: Path) -> str:
    """Let links lead to the site's pages; `folder` is the text's own, in the repository."""

    def lead(match: re.Match[str]) -> str:
        picture, words, target, anchor = match.groups()
        if "://" in target:
            return match[0]
        path = os.path.normpath(folder / target)
        if picture:
            return f"![{words}](figures/{Path(path).name})"
        page = PAGES.get(path) or NOTEBOOKS.get(path)
        if page is not None:
            return f"[{words}]({page}{'.rst' if page == 'api' else '.md'}{anchor or ''})"
        return words

    return _LINK.sub(lead, text)


def contents() -> str:
    """Return the site's table of contents."""
    listed = [page for page in PAGES.values() if page != "index"]
    place = listed.index("mackay-page")
    listed[place:place] = NOTEBOOKS.values()
    pages = "\n".join(_TITLES.get(page, page) for page in listed)
    return f"\n```{{toctree}}\n:hidden:\n\n{pages}\n```\n"


def api_page() -> str:
    """Return the page of all public names; one in no group yet stands at the end."""
    import pymackay as pm

    groups = {title: [f"pymackay.{name}" for name in names] for title, names in GROUPS.items()}
    groups["Pictures"] = [f"pymackay.plots.{name}" for name in pm.plots.__all__]
    groups["Networks"] = [f"pymackay.keras.{name}" for name in pm.keras.__all__]
    public = [f"pymackay.{name}" for name in pm.__all__ if name not in _NOT_LISTED]
    errors = [name for name in public if name.endswith(("Error", "Warning"))]
    listed = {name for names in groups.values() for name in names} | set(errors)
    groups["More"] = [name for name in public if name not in listed]
    groups["Errors and warnings"] = errors
    parts = [_titled("Reference", "=") + "\nThe example of each docstring is run by the tests.\n"]
    for title, names in groups.items():
        if names:
            listing = "\n".join(f"   {name}" for name in names)
            parts.append(
                f"{_titled(title, '-')}\n.. autosummary::\n   :toctree: api\n   :nosignatures:\n\n"
                f"{listing}\n"
            )
    return "\n".join(parts)


def _titled(words: str, line: str) -> str:
    return f"{words}\n{line * len(words)}\n"


def run_pages(source: Path) -> None:
    """Run the code of pages, so that their outputs and pictures are those of this version."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, str(ROOT / "docs" / "live_pages.py"), str(source), *LIVE]
    subprocess.run(command, env=environment, check=True)


def run_notebooks(html: Path, quick: bool) -> None:
    """Run the pages that are notebooks."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if quick:
        environment["PYMACKAY_QUICK_PAGE"] = "1"
    builder = ROOT / "docs" / "build_notebooks.py"
    subprocess.run([sys.executable, str(builder), str(html)], env=environment, check=True)


if __name__ == "__main__":
    sys.exit(main("--quick" in sys.argv[1:]))
