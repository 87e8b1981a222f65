"""The pytest plugin: the fixture `lme4_parity`, the option ``--lme4``, and a summary of verdicts.

Only pytest and the standard library are imported with this file; other modules are imported when a
test first uses the fixture.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import pandas as pd

    import pymackay as pm
    from pymackay.reference.asker import Asker
    from pymackay.reference.modes import Lme4

_MODES = ("auto", "live", "recorded", "record", "tight")
_EVENT = "lme4_parity"  # the user property that carries an outcome from a worker to the summary
_CURE = "On a machine with R, record it: pytest --lme4=record"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option ``--lme4`` and the settings of the configuration file."""
    parser.getgroup("lme4", "parity with R's lme4").addoption(
        "--lme4",
        choices=_MODES,
        default="auto",
        help="where lme4's answers come from: live (R, fails where it is missing), recorded (never "
        "starts R), record (asks R and writes the answers beside the tests), auto (R where it is "
        "there, else recorded), tight (as auto, lme4 driven to a tight optimum). Default: auto",
    )
    parser.addini(
        "lme4_recordings",
        "folder of lme4's recorded answers, from the root folder; by default lme4_recordings "
        "beside each test file",
        default="",
    )
    parser.addini(
        "lme4_tolerances",
        "tolerances in statistical units, one 'quantity = number' an entry",
        type="linelist",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker and, in the process that writes the summary, the summary."""
    config.addinivalue_line(
        "markers",
        "lme4_tolerance(**quantities): tolerances of lme4_parity.check in this test, in "
        "statistical units: lme4_tolerance(beta=1e-4)",
    )
    if not hasattr(config, "workerinput"):  # a worker of xdist writes no summary
        config.pluginmanager.register(_Summary(config), "lme4_parity_summary")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Remove the verdicts of an earlier attempt of this test, but keep its recordings."""
    for k, (name, value) in enumerate(item.user_properties):
        if name == _EVENT:
            event = json.loads(str(value))
            kept = {key: event[key] for key in ("recordings", "asked by") if key in event}
            item.user_properties[k] = (name, json.dumps(kept))


@pytest.fixture
def lme4_parity(request: pytest.FixtureRequest) -> Iterator[Parity]:
    """Compare fits with R's lme4: ``lme4_parity.check(fit, formula, data)``."""
    with pytest.MonkeyPatch.context() as patch:
        if "tensorflow" not in sys.modules and "TF_CPP_MIN_LOG_LEVEL" not in os.environ:
            # otherwise TensorFlow's messages about the processor fill the output of a failed test
            patch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
        yield Parity(request.node)


class Parity:
    """The value of the fixture `lme4_parity`.

    Parameters
    ----------
    item : pytest.Item
        The test that uses the fixture.
    """

    def __init__(self, item: pytest.Item) -> None:
        self._item = item

    @property
    def mode(self) -> str:
        """The value of ``--lme4``."""
        return str(self._item.config.getoption("lme4"))

    def check(
        self,
        fit: Any,
        formula: str,
        data: pd.DataFrame,
        *,
        reml: bool | None = None,
        weights: Any = None,
        offset: Any = None,
        subset: Any = None,
        contrasts: Mapping[str, Any] | None = None,
        tolerances: Mapping[str, float] | None = None,
        name: str = "",
    ) -> pm.Comparison:
        """Fail the test unless `fit` agrees with lme4's fit of the formula.

        Parameters
        ----------
        fit : object
            Anything that `pymackay.adapters.as_fit` takes: a `Fit`, a result of another package, a
            mapping, or a result of a registered engine. A fit by `pymackay.glmer` is compared with
            lme4's ``glmer``, with the same family and number of nodes.
        formula : str
            lme4's formula.
        data, reml, weights, offset, subset, contrasts
            As in `pymackay.testing.assert_parity`.
        tolerances : mapping of str to float, optional
            For this check; they override those of the marker and of the configuration file.
        name : str, optional
            Distinguishes the recordings of one test that have one formula and different data.

        Returns
        -------
        Comparison
            The comparison, if the fit agrees.

        Raises
        ------
        ParityFailure
            If it does not; an `AssertionError` with verdict, failed numbers, and advice.
        PymackayError
            If lme4's answer is not available, or an argument is wrong.
        """
        __tracebackhide__ = True
        from pymackay.errors import PymackayError
        from pymackay.testing import ParityFailure, judge

        arguments = {"weights": weights, "offset": offset, "subset": subset}
        before = len(self._source.changes)
        try:
            comparison = judge(
                fit, formula, data, self._source, name=self._name(name), reml=reml,
                tolerances={**self._tolerances(), **(tolerances or {})}, contrasts=contrasts,
                **arguments,
            )  # fmt: skip
        except PymackayError as error:
            self._report({"verdict": "no verdict", "ok": False, "why": type(error).__name__})
            raise error.with_traceback(
                None
            ) from None  # without the traceback, which would hide the message
        self._report(_outcome(comparison), before)
        if not comparison.ok:
            raise ParityFailure(comparison)
        return comparison

    def reference(self, formula: str, data: pd.DataFrame, *, name: str = "", **how: Any) -> pm.Fit:
        """Return lme4's fit, from the source that ``--lme4`` selects.

        Parameters
        ----------
        formula, data, name
            As in `check`.
        **how
            ``reml``, ``weights``, ``offset``, ``subset``, ``contrasts``; of a generalised model
            also ``family`` and ``nagq``.
        """
        from pymackay.reference.general.question import GeneralQuestion
        from pymackay.reference.question import Question

        before = len(self._source.changes)
        kind = GeneralQuestion if "family" in how else Question
        fit = self._source.ask(kind(formula, data, **how), self._name(name))
        self._report({}, before)
        return fit

    @property
    def _source(self) -> Lme4:
        """The source for this folder, one for the whole session."""
        from pymackay.reference.modes import Lme4

        sources = self._item.config.stash.setdefault(_SOURCES, {})
        folder = self._folder()
        if folder not in sources:
            sources[folder] = Lme4(self.mode, folder, _CURE)
        return sources[folder]

    def _folder(self) -> Path:
        config = self._item.config
        configured = str(config.getini("lme4_recordings"))
        if not configured:
            return self._item.path.parent / "lme4_recordings"
        base = config.inipath.parent if config.inipath else config.rootpath
        return base / configured

    def _name(self, label: str = "") -> Asker:
        """Return the asker for this test's recordings: file, test, and the label of the check.

        The test's node id is not used, because xdist changes it with ``--dist=loadgroup``.
        """
        from pymackay.reference.asker import Asker

        chain = self._item.listchain()
        place = max(k for k, node in enumerate(chain) if isinstance(node, pytest.File))
        common = self._item.config.getini("lme4_recordings")
        file = chain[place].nodeid if common else self._item.path.name
        test = "::".join(node.name for node in chain[place + 1 :])
        return Asker.of(file.removesuffix(".py"), test, label=label)

    def _tolerances(self) -> dict[str, float]:
        """Return the tolerances of the configuration file, overridden by those of the markers."""
        tolerances = dict(map(_tolerance, self._item.config.getini("lme4_tolerances")))
        markers = list(self._item.iter_markers("lme4_tolerance"))
        for marker in reversed(markers):  # the closest comes last
            if marker.args:
                raise pytest.UsageError(
                    "lme4_tolerance takes names: @pytest.mark.lme4_tolerance(beta=1e-4)"
                )
            tolerances |= marker.kwargs
        return tolerances

    def _report(self, outcome: dict[str, Any], before: int | None = None) -> None:
        """Attach an outcome to the test's report, which xdist passes to the summary."""
        if before is not None:
            outcome["recordings"] = [
                [str(change.path), change.kind, list(change.lines), change.data]
                for change in self._source.changes[before:]
            ]
            name = self._name()
            outcome["asked by"] = [str(self._folder()), name.stem, name.tag, name.test]
        self._item.user_properties.append((_EVENT, json.dumps(outcome)))


_SOURCES: pytest.StashKey[dict[Path, Any]] = pytest.StashKey()


def _outcome(comparison: pm.Comparison) -> dict[str, Any]:
    engine = comparison.reference.engine
    return {
        "verdict": comparison.verdict,
        "ok": comparison.ok,
        "sentence": comparison.sentence,
        "formula": comparison.fit.formula,
        "ours": comparison.fit.engine.name,
        "lme4": f"lme4 {engine.versions.get('lme4', '?')}, R {engine.versions.get('R', '?')}, "
        f"{engine.source}",
    }


def _tolerance(entry: str) -> tuple[str, float]:
    """Return name and value of an entry of the configuration file."""
    name, _, value = entry.partition("=")
    try:
        return name.strip(), float(value)
    except ValueError:
        raise pytest.UsageError(
            f"lme4_tolerances: 'quantity = number' is expected, not {entry!r}"
        ) from None


class _Summary:
    """Collects verdicts and recordings, and writes the summary at the end of the session."""

    def __init__(self, config: pytest.Config) -> None:
        self.root = config.rootpath
        self.recording = config.getoption("lme4") == "record"
        self.tests: dict[tuple[Any, str], list[dict[str, Any]]] = {}

    @property
    def events(self) -> list[dict[str, Any]]:
        """The outcomes of all tests, in the order in which the tests ended."""
        return [event for events in self.tests.values() for event in events]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Store the outcomes of a test after its teardown; a repeated test replaces them."""
        outcomes = [str(value) for name, value in report.user_properties if name == _EVENT]
        if report.when == "teardown" and outcomes:
            events = [{**json.loads(event), "test": report.nodeid} for event in outcomes]
            self.tests[getattr(report, "node", None), report.nodeid] = events

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Set the exit status to failure if a recording was overwritten with other data."""
        if self._lost() and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write the section, if any test has used lme4."""
        if not self.tests:
            return
        stats = terminalreporter.stats
        reports = (*stats.get("failed", ()), *stats.get("error", ()))
        failed = {report.nodeid for report in reports if isinstance(report, pytest.TestReport)}
        terminalreporter.section("lme4 parity")
        for line in (*self._verdicts(failed), *self._recordings()):
            terminalreporter.write_line(line)

    def _verdicts(self, failed: set[str]) -> Iterator[str]:
        """Yield the counts of verdicts; one that is not ok counts as failed if its test failed."""
        judged = [event for event in self.events if "verdict" in event]
        bad = [event for event in judged if not event["ok"]]
        failing = [event for event in bad if event["test"] in failed]
        expected = [event for event in bad if event["test"] not in failed]
        kinds = {"": [event for event in judged if event["ok"]]}
        kinds |= {": FAILED": failing, ": not ok, as its test expects": expected}
        counts = [
            f"{count} {verdict}{remark}"
            for remark, events in kinds.items()
            for verdict, count in Counter(event["verdict"] for event in events).most_common()
        ]
        if counts:
            yield ", ".join(counts)
        for event in failing:
            yield f"  {event['test']}: {event.get('sentence') or event['why']}"
        for source, count in Counter(e["lme4"] for e in judged if "lme4" in e).most_common():
            yield f"against {source}: {count}"

    def _recordings(self) -> Iterator[str]:
        """Yield lines about the recordings: new and changed ones, overwritten and unused ones."""
        if not self.recording:
            return
        written: dict[str, tuple[str, list[str]]] = {}
        for path, kind, lines, _ in self._written():
            if written.get(path, ("unchanged", []))[0] == "unchanged":  # tests may share a file
                written[path] = (kind, lines)
        counts = Counter(kind for kind, _ in written.values())
        yield "recordings: " + ", ".join(f"{n} {kind}" for kind, n in counts.most_common())
        for path, (kind, lines) in sorted(written.items()):
            if kind != "unchanged":
                yield f"  {kind:<8}  {self._shown(Path(path))}"
                yield from (f"            {line}" for line in lines)
        for path in self._lost():
            yield (
                f"  LOST: {self._shown(Path(path))} was written for two tables, and holds the last "
                f"one; record again, and give checks of one test names of their own"
            )
        for path in self._stale({Path(path) for path in written}):
            yield f"  no test that ran asked for {self._shown(path)}; delete it if none does"

    def _written(self) -> Iterator[list[Any]]:
        """Yield path, kind of change, descriptions of changes, and checksum of the data."""
        return (written for event in self.events for written in event.get("recordings", ()))

    def _lost(self) -> list[str]:
        """Return the files that were written more than once with different data."""
        tables: dict[str, set[str]] = {}
        for path, _, _, data in self._written():
            tables.setdefault(path, set()).add(data)
        return sorted(path for path, data in tables.items() if len(data) > 1)

    def _stale(self, written: set[Path]) -> list[Path]:
        """Return recordings that belong to tests of this session but were not used."""
        from pymackay.reference.asker import Asker

        askers = {tuple(event["asked by"]) for event in self.events if "asked by" in event}
        all_files = {
            path for folder, *name in askers for path in Asker(*name).recordings(Path(folder))
        }
        return sorted(all_files - written)

    def _shown(self, path: Path) -> Path:
        return path.relative_to(self.root) if path.is_relative_to(self.root) else path
