"""`save` and `load_fit`: everything comes back, and what is no fit is refused."""

from __future__ import annotations

import dataclasses
import io
import json
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from infer_tables import crossed_table
from mutations import mutations
from tolerances import tol

import pymackay as pm
from pymackay.infer.keep.fit_file import MANIFEST

BASES = (
    "y ~ poly(x, 2) + ns(z, df = 3) + bs(x, df = 4) + o * cut(z, 3) + I(x > mean(x)) "
    "+ (scale(x) | g) + (1 | h)"
)
CASES = [
    pytest.param(BASES, {}, id="bases"),
    pytest.param("log(z) ~ x + offset(o) + (x || g) + (1 | h)", {"weights": "w"}, id="weights"),
    pytest.param("y ~ . - z - w - o + (1 | g:h)", {"reml": False}, id="dot, ML"),
    pytest.param("y ~ f + (1 | g)", {"contrasts": {"f": "contr.sum"}, "offset": "o"}, id="sums"),
]


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    table = crossed_table()
    table["o"] = table["o"].where(table.index != 117, np.nan)
    return table


def _same(a: Any, b: Any, what: str = "fit") -> None:
    """Compare two values to the last bit, whatever they are."""
    assert isinstance(b, type(a)) or isinstance(a, type(b)), what
    if isinstance(a, pd.Series):
        pd.testing.assert_series_equal(a, b, check_exact=True)
    elif isinstance(a, pd.DataFrame):
        pd.testing.assert_frame_equal(a, b, check_exact=True)
    elif isinstance(a, pd.Index):
        pd.testing.assert_index_equal(a, b, exact=True)
    elif isinstance(a, np.ndarray):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype
    elif isinstance(a, tuple):
        assert len(a) == len(b), what
        for k, (one, other) in enumerate(zip(a, b, strict=True)):
            _same(one, other, f"{what}[{k}]")
    elif isinstance(a, dict):
        assert list(a) == list(b), what
        for key in a:
            _same(a[key], b[key], f"{what}[{key!r}]")
    elif dataclasses.is_dataclass(a):
        for field in dataclasses.fields(a):
            _same(getattr(a, field.name), getattr(b, field.name), f"{what}.{field.name}")
    elif isinstance(a, float) and np.isnan(a):
        assert np.isnan(b), what
    else:
        assert a == b, what


def _same_fit(a: pm.Fit, b: pm.Fit) -> None:
    skipped = ("condvar_source", "pev_source", "evaluate_source", "problem")
    for field in dataclasses.fields(a):
        if field.name not in skipped:
            _same(getattr(a, field.name), getattr(b, field.name), field.name)


@pytest.mark.parametrize(("formula", "given"), CASES)
def test_everything_comes_back(
    data: pd.DataFrame, tmp_path: Path, formula: str, given: dict[str, Any]
) -> None:
    fit = pm.lmer(formula, data, **given)
    again = pm.load_fit(fit.save(tmp_path / "fit"))
    _same_fit(fit, again)
    model, stored = fit.problem.model, again.problem.model
    for field in dataclasses.fields(model):
        if field.name not in ("blueprint", "given"):
            _same(getattr(model, field.name), getattr(stored, field.name), field.name)
    new = data.iloc[[5, 2, 3]]
    if given.get("weights") is None:
        _same(fit.predict(new, interval="prediction"), again.predict(new, interval="prediction"))
    _same(fit.predict(new, se_fit=True), again.predict(new, se_fit=True))
    _same(fit.simulate(2, seed=1), again.simulate(2, seed=1))
    for name in ("condvar", "pev"):
        for group, variance in getattr(fit, name).items():
            unit = np.abs(variance).max()
            result = getattr(again, name)[group]
            np.testing.assert_allclose(result, variance, atol=tol("dense algebra") * unit)
    assert again.evaluate(fit.theta).criterion == pytest.approx(fit.criterion, rel=1e-13)
    drawn = fit.simulate(1, seed=2)["sim_1"]
    _same(fit.refit(drawn).theta, again.refit(drawn).theta)
    assert str(fit.summary(ddf="Satterthwaite")) == str(again.summary(ddf="Satterthwaite"))


def test_a_loop_s_fit_keeps_its_own_variances(tmp_path: Path) -> None:
    loop = pm.mackay(
        "Reaction ~ Days + (Days | Subject)",
        pm.load_data("sleepstudy"),
        update="diagonal",
        iterations=5,
    )
    again = pm.load_fit(loop.save(tmp_path / "loop"))
    _same_fit(loop, again)
    assert loop.trace is not None and len(again.trace) == 5
    np.testing.assert_allclose(
        again.pev["Subject"], loop.pev["Subject"], rtol=tol("oracle"), atol=tol("dense algebra")
    )


def test_a_fit_by_the_iterative_solver(tmp_path: Path) -> None:
    fit = pm.lmer(
        "diameter ~ 1 + (1 | plate) + (1 | sample)", pm.load_data("Penicillin"), solver="iterative"
    )
    again = pm.load_fit(fit.save(tmp_path / "fit"))
    _same_fit(fit, again)
    np.testing.assert_allclose(again.pev["plate"], fit.pev["plate"], rtol=tol("oracle"))
    assert type(again.problem.solver) is type(fit.problem.solver)


def test_a_fit_that_keeps_no_rows(data: pd.DataFrame, tmp_path: Path) -> None:
    complete = data.dropna()
    fit = pm.lmer("y ~ x + (1 | g) + (1 | h)", [complete.iloc[:70], complete.iloc[70:]])
    again = pm.load_fit(fit.save(tmp_path / "fit"))
    _same_fit(fit, again)
    np.testing.assert_array_equal(again.pev["g"], fit.pev["g"])


@pytest.mark.parametrize("solver", ["exact", "iterative"])
def test_a_fit_saved_without_rows(data: pd.DataFrame, tmp_path: Path, solver: str) -> None:
    fit = pm.lmer("y ~ x + f + (x | g) + (1 | h)", data, weights="w", offset="z", solver=solver)
    path = fit.save(tmp_path / "short", rows=False)
    again = pm.load_fit(path)
    assert path.stat().st_size < 0.7 * fit.save(tmp_path / "whole").stat().st_size
    with zipfile.ZipFile(path) as archive:
        assert json.loads(archive.read(MANIFEST))["version"] == 2
        lengths = [len(np.load(archive.open(n))) for n in archive.namelist() if n != MANIFEST]
    assert fit.n_obs not in lengths
    assert again.n_obs == fit.n_obs and again.bic == fit.bic
    for name in ("beta", "vcov", "theta", "varcorr", "ranef", "convergence"):
        _same(getattr(fit, name), getattr(again, name), name)
    for ours, theirs in ((fit.pev, again.pev), (fit.condvar, again.condvar)):
        np.testing.assert_allclose(ours["g"], theirs["g"], rtol=tol("oracle"))
    pd.testing.assert_series_equal(fit.predict(data.head(7)), again.predict(data.head(7)))
    pd.testing.assert_frame_equal(fit.coefficients(), again.coefficients())
    with pytest.raises(pm.PymackayError, match=r"not kept\. Pass newdata"):
        again.predict()
    _same_fit(again, pm.load_fit(again.save(tmp_path / "second")))


def test_the_summary_of_a_weighted_fit_without_rows(data: pd.DataFrame, tmp_path: Path) -> None:
    fit = pm.lmer("y ~ x + (1 | g)", data, weights="w")
    summary = pm.load_fit(fit.save(tmp_path / "fit", rows=False)).summary()
    pd.testing.assert_frame_equal(summary.coefficients, fit.summary().coefficients)
    assert summary.scaled_residuals.isna().all()


def test_a_fit_without_cross_products_cannot_leave_its_rows_out(saved: Path) -> None:
    foreign = pm.load_fit(saved).replace(problem=None)
    with pytest.raises(pm.ArgumentError, match="save it with rows=True"):
        foreign.save(saved, rows=False)


@pytest.mark.parametrize("name", ["beta", "A", "C", "D"])
def test_cross_products_of_other_shapes_are_refused(
    data: pd.DataFrame, tmp_path: Path, name: str
) -> None:
    fit = pm.lmer("y ~ x + (x | g)", data)
    path = fit.save(tmp_path / "fit", rows=False)

    def change(manifest: dict[str, Any]) -> None:
        sums = manifest["sums"]["dict"]
        sums[name] = sums["transforms"]["tuple"][0] if name != "A" else sums["R"]

    with pytest.raises(pm.RecordingError, match=r"has the shape .* but the model asks for"):
        pm.load_fit(_unsealed(path, change))


def test_a_recorded_fit_of_lme4(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ref = pm.lme4.lmer(
            "Reaction ~ Days + (Days | Subject)", pm.load_data("sleepstudy"), source="recorded"
        )
    again = pm.load_fit(ref.save(tmp_path / "ref"))
    _same_fit(ref, again)
    if ref.condvar_source is not None:
        np.testing.assert_array_equal(again.condvar["Subject"], ref.condvar["Subject"])
    assert again.problem is None


ROWS = {
    "text": pd.Index([f"row {i}" for i in range(120)], name="label"),
    "text as objects": pd.Index([f"row {i}" for i in range(120)], dtype=object),
    "mixed": pd.Index([i if i % 2 else f"row {i}" for i in range(120)], dtype=object),
    "range": pd.RangeIndex(10, 370, 3),
    "floats": pd.Index(np.linspace(0.0, 1.0, 120)),
    "times": pd.date_range("2024-03-30", periods=120, freq="h", tz="Europe/Berlin"),
    "dates": pd.DatetimeIndex(["2024-03-30", "1999-12-31"] * 60),
    "several": pd.MultiIndex.from_product([list("ab"), range(60)], names=["a", None]),
    "categories": pd.CategoricalIndex(np.tile(list("xy"), 60), ordered=True),
}


@pytest.mark.parametrize("kind", ROWS)
def test_labels_of_rows(tmp_path: Path, kind: str) -> None:
    data = crossed_table().set_axis(ROWS[kind], axis=0)
    fit = pm.evaluate("y ~ x + (1 | g)", data, [1.0])
    again = pm.load_fit(fit.save(tmp_path / "fit"))
    pd.testing.assert_index_equal(again.fitted.index, fit.fitted.index, exact=True)
    pd.testing.assert_index_equal(again.model.rows, fit.model.rows, exact=True)


def test_labels_that_cannot_be_saved(tmp_path: Path) -> None:
    data = crossed_table().set_axis(pd.interval_range(0, 120), axis=0)
    fit = pm.evaluate("y ~ x + (1 | g)", data, [1.0])
    with pytest.raises(pm.DataError, match="reset the index"):
        fit.save(tmp_path / "fit")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    fit = pm.evaluate("y ~ poly(x, 2) + (1 | g)", crossed_table(), [1.0])
    return fit.save(tmp_path / "fit")


def test_the_format_is_open(saved: Path) -> None:
    with zipfile.ZipFile(saved) as archive:
        manifest = json.loads(archive.read(MANIFEST))
        arrays = [name for name in archive.namelist() if name != MANIFEST]
        values = [np.load(archive.open(name), allow_pickle=False) for name in arrays]
    assert manifest["format"] == "pymackay fit" and manifest["version"] == 1
    assert manifest["model"]["formula"] == "y ~ poly(x, 2) + (1 | g)"
    assert len(values) > 5 and all(name.startswith("arrays/") for name in arrays)
    assert list(saved.parent.iterdir()) == [saved]


def _rewritten(path: Path, change: Any = None, without: str = "") -> Path:
    """Return a copy of an archive with a changed manifest, or without a member."""
    other = path.with_name("other")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == MANIFEST and change is not None:
                manifest = json.loads(content)
                change(manifest)
                content = json.dumps(manifest).encode()
            if name != without:
                new.writestr(name, content)
    return other


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(version=99), "has version 99 .* reads up to 4; upgrade"),
        (lambda m: m.update(version="1"), "version '1', which never was"),
        (lambda m: m.update(format="other"), "fit.save did not write it"),
        (lambda m: m.pop("fit"), "is damaged"),
        (lambda m: m["fit"].pop("beta"), "is damaged"),
        (lambda m: m["fit"].update(future=1), "holds future, which this version lacks"),
        (lambda m: m["fit"].update(beta={"module": "os"}), "unknown kind"),
        (lambda m: m["fit"].update(engine={"object": "Popen", "fields": {}}), "kind 'Popen'"),
        (lambda m: m["model"]["blueprint"].update(bars=[7]), "is damaged"),
        (lambda m: m["model"]["blueprint"]["random"].clear(), "random terms are incomplete"),
        (lambda m: m.update(solver={"dict": {"kind": "oracle"}}), "unknown solver 'oracle'"),
    ],
)
def test_manifests_that_make_no_fit(saved: Path, change: Any, message: str) -> None:
    with pytest.raises(pm.RecordingError, match=message):
        pm.load_fit(_rewritten(saved, change))


def test_missing_parts(saved: Path) -> None:
    with pytest.raises(pm.RecordingError, match=r"member arrays/a0000.npy is missing"):
        pm.load_fit(_rewritten(saved, without="arrays/a0000.npy"))
    with pytest.raises(pm.RecordingError, match=r"no manifest\.json"):
        pm.load_fit(_rewritten(saved, without=MANIFEST))
    with pytest.raises(pm.RecordingError, match="cannot be read"):
        pm.load_fit(saved.with_name("nowhere"))
    saved.write_bytes(saved.read_bytes()[:-200])
    with pytest.raises(pm.RecordingError, match="is cut off"):
        pm.load_fit(saved)


def _with_members(path: Path, changes: dict[str, bytes], how: int = zipfile.ZIP_STORED) -> Path:
    """Return a copy of an archive in which members have another content."""
    other = path.with_name("other")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w", how) as new:
        for name in old.namelist():
            new.writestr(name, changes.get(name, old.read(name)))
    return other


def _unsealed(path: Path, change: Any = None) -> Path:
    """Return a copy as the first version wrote it, without checksums, and changed."""

    def without(manifest: dict[str, Any]) -> None:
        for name in ("content_sha256", "members"):
            del manifest[name]
        if change is not None:
            change(manifest)

    return _rewritten(path, without).rename(path.with_name("unsealed"))


def test_a_file_without_checksums_is_read(saved: Path) -> None:
    _same_fit(pm.load_fit(saved), pm.load_fit(_unsealed(saved)))


def test_any_wrong_part_is_refused(saved: Path) -> None:
    with zipfile.ZipFile(saved) as archive:
        manifest = json.loads(archive.read(MANIFEST))
        arrays = {n: archive.read(n) for n in archive.namelist() if n != MANIFEST}
    other = saved.with_name("other")
    for k, (where, changed) in enumerate(mutations(manifest, longest=1)):
        if k % 5 and not where.startswith("content_sha256"):  # each is refused; all take a minute
            continue
        with zipfile.ZipFile(other, "w") as archive:
            for name, content in arrays.items():
                archive.writestr(name, content)
            archive.writestr(MANIFEST, json.dumps(changed))
        if where == "content_sha256: missing":
            _same_fit(pm.load_fit(saved), pm.load_fit(other))
            continue
        with pytest.raises(pm.RecordingError):
            pm.load_fit(other)
            pytest.fail(where)


def _column(values: Any) -> Any:
    return lambda m: m["fit"]["vcov"]["frame"].update(values=values)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m["fit"].update(sigma="x"),
        lambda m: m["fit"].update(reml=1),
        lambda m: m["fit"].update(criterion=True),
        lambda m: m["fit"]["beta"]["series"][0].update(labels=[1, 2, 3]),
        lambda m: m["fit"]["beta"]["series"][0]["labels"].pop(),
        lambda m: m["fit"].update(varcorr={"dict": {}}),
        lambda m: m["fit"]["theta"]["series"].__setitem__(1, {"objects": ["x"]}),
        lambda m: m["fit"]["convergence"]["fields"].update(converged="yes"),
        lambda m: m["fit"]["engine"]["fields"].update(versions=[]),
        lambda m: m["model"].update(messages=None),
        lambda m: m["model"]["blueprint"]["fixed"].update(levels=[]),
        lambda m: m["model"].update(y=m["model"]["X"]),
        lambda m: m["model"].update(X=m["model"]["y"]),
        _column([]),
        _column(["x", "y", "z"]),
        _column([None, None, None]),
    ],
)
def test_a_wrong_part_is_refused_without_checksums_too(saved: Path, change: Any) -> None:
    with pytest.raises(pm.RecordingError):
        pm.load_fit(_unsealed(saved, change))


def _header(shape: tuple[int, ...]) -> bytes:
    header = io.BytesIO()
    how = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, how)
    return header.getvalue()


@pytest.mark.parametrize("sealed", [True, False])
def test_what_asks_for_too_much_is_refused_before_it_is_given(
    saved: Path, monkeypatch: pytest.MonkeyPatch, sealed: bool
) -> None:
    path = saved if sealed else _unsealed(saved)
    terabytes = _with_members(path, {"arrays/a0000.npy": _header((10**12,)) + bytes(80)})
    with pytest.raises(pm.RecordingError, match=r"its member arrays/a0000\.npy is damaged"):
        pm.load_fit(terabytes)
    zeros = _with_members(path, {"arrays/a0000.npy": bytes(2**26)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(pm.RecordingError, match=r"its member arrays/a0000\.npy|is damaged"):
        pm.load_fit(zeros)
    monkeypatch.setattr("pymackay.infer.keep.fit_file.free_memory", lambda: 2.0**25)
    with pytest.raises(pm.RecordingError, match=r"has 0\.1 GiB, and there is room for"):
        pm.load_fit(zeros)
    monkeypatch.setattr("pymackay.infer.keep.fit_file._LARGEST_MANIFEST", 1000)
    with pytest.raises(pm.RecordingError, match=r"its member manifest\.json has"):
        pm.load_fit(path)


@pytest.mark.parametrize("member", ["arrays/a0000.npy", MANIFEST])
def test_members_that_cannot_be_opened(saved: Path, member: str) -> None:
    encrypted = saved.with_name("encrypted")
    content = bytearray(saved.read_bytes())
    with zipfile.ZipFile(saved) as archive:
        place = archive.getinfo(member).header_offset
    entry = content.index(member.encode(), content.index(b"PK\x01\x02")) - 46
    for flags in (place + 6, entry + 8):
        content[flags] |= 1
    encrypted.write_bytes(content)
    with pytest.raises(pm.RecordingError, match="is encrypted"):
        pm.load_fit(encrypted)
    with pytest.raises(pm.RecordingError, match=r"compressed in a way that fit\.save"):
        pm.load_fit(_with_members(saved, {}, zipfile.ZIP_LZMA))
    damaged = bytearray(saved.read_bytes())
    for k in range(place + 60, place + 90):
        damaged[k] ^= 0xFF
    saved.write_bytes(damaged)
    with pytest.raises(pm.RecordingError):
        pm.load_fit(saved)


class _Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("a pickle was run",))


def test_a_pickle_is_never_read(saved: Path) -> None:
    pickled = saved.with_name("pickled")
    pickled.write_bytes(pickle.dumps(_Trap()))
    with pytest.raises(pm.RecordingError, match="looks like a pickle, which is not read"):
        pm.load_fit(pickled)
    inside = np.empty(1, dtype=object)
    inside[0] = _Trap()
    with zipfile.ZipFile(saved) as old:
        names = {name: old.read(name) for name in old.namelist()}
    other = saved.with_name("other")
    with zipfile.ZipFile(other, "w") as new:
        for name, content in names.items():
            if name == "arrays/a0000.npy":
                with new.open(name, "w") as member:
                    np.lib.format.write_array(member, inside, allow_pickle=True)
            else:
                new.writestr(name, content)
    with pytest.raises(pm.RecordingError, match="is damaged"):
        pm.load_fit(other)


def test_where_it_cannot_be_written(saved: Path) -> None:
    fit = pm.load_fit(saved)
    with pytest.raises(pm.ArgumentError, match="cannot be written"):
        fit.save(saved.parent / "no folder" / "fit")
    with pytest.raises(pm.ArgumentError, match="save needs a Fit"):
        pm.Fit.save("a fit", saved)
    before = saved.read_bytes()
    fit.save(saved)
    assert pm.load_fit(saved).beta.equals(fit.beta) and len(before) > 0
