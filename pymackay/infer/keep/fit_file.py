"""`save` and `load_fit`: a fit in a file of an open format, JSON and arrays in one zip."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import zipfile
import zlib
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from pymackay._files import refused, whole_file
from pymackay._resources import __version__
from pymackay.arguments import flag
from pymackay.errors import ArgumentError, RecordingError
from pymackay.incoming.parts import check_shapes, check_type, content_sha256
from pymackay.infer.keep.codec import Decoder, Encoder
from pymackay.infer.keep.general_file import decode_general, encode_general
from pymackay.infer.keep.model_file import decode_model, encode_model
from pymackay.infer.keep.residual_file import decode_residual, encode_residual
from pymackay.infer.kinds import any_kind
from pymackay.infer.problem import check_fit
from pymackay.model.stream.kept_sums import decode_sums, drop_rows, encode_sums
from pymackay.results import Fit, GroupTables, HeldArrays
from pymackay.solve.assemble import Problem, evaluate_at, without_rows
from pymackay.solve.choose import free_memory, remake_solver
from pymackay.solve.marginal.problem import ResidualProblem
from pymackay.solve.pirls.problem import GeneralProblem

FORMAT = "pymackay fit"
# 3: generalised models; 2: without rows; 1: with them, so that earlier versions read it
VERSION = 4  # residual structures
_GENERAL = 3
MANIFEST = "manifest.json"
_CHANGED = (
    "is damaged, or was changed after it was saved: it does not match its checksum; save the fit "
    "again"
)
_LARGEST_MANIFEST = 2**30  # bytes; labels of ten million rows need a third of this

_SOURCES = ("condvar_source", "pev_source", "evaluate_source")
_FIELDS = tuple(
    field.name for field in dataclasses.fields(Fit) if field.name not in (*_SOURCES, "problem")
)


@any_kind
def save(fit: Fit, path: str | os.PathLike[str], *, rows: bool = True) -> Path:
    """Save a fit, with everything that its methods need.

    The file is a zip archive: ``manifest.json`` holds the format's name and version and every
    number, name and table, with a checksum of its content and the CRC-32 of every other member;
    each array is a member ``arrays/<name>.npy``, to which the manifest refers. With `rows` the file
    holds the response and the model's columns, and thus the data. It is written in one step: an
    interrupted save leaves no incomplete file.

    Parameters
    ----------
    fit : Fit
        Of any engine. For fits of other engines, `condvar` and `pev` are computed and saved; for
        fits of this package they are computed after loading, when first used.
    path : path-like
        An existing file is replaced.
    rows : bool
        False saves the cross-products instead of the rows: the file is smaller and has no data.
        The loaded fit is like one of a Parquet file: predictions for new rows, tests and intervals
        are the same; methods that need the rows raise an error.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    DataError
        If the format does not support a part of the fit, such as rows labelled by intervals.
    ArgumentError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import pymackay as pm
    >>> fit = pm.lmer("Reaction ~ Days + (Days | Subject)", pm.load_data("sleepstudy"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = fit.save(f"{folder}/sleep.fit")
    ...     again = pm.load_fit(path)
    >>> again.beta.equals(fit.beta), again.predict().equals(fit.predict())
    (True, True)
    """
    check_fit(fit, "save")
    rows = flag("rows", rows)
    encoder = Encoder()
    if isinstance(fit.problem, GeneralProblem):
        manifest = _manifest_of(fit, _GENERAL, encoder)
        manifest["general"] = encode_general(fit.problem, encoder, rows=rows)
        return _write(Path(path), manifest, encoder.arrays)
    if isinstance(fit.problem, ResidualProblem):
        manifest = _manifest_of(fit, VERSION, encoder)
        manifest["residual"] = encode_residual(fit.problem, encoder, rows=rows)
        return _write(Path(path), manifest, encoder.arrays)
    problem = fit.problem if isinstance(fit.problem, Problem) else None
    if problem is None or not (rows and len(problem.model.y)):
        fit = _shortened(fit, problem, rows=rows)
    version = 1 if problem is None or (rows and len(problem.model.y)) else 2
    manifest = _manifest_of(fit, version, encoder)
    if problem is not None:
        kept = rows and len(problem.model.y)
        model = problem.model if kept else drop_rows(problem.model)
        manifest["model"] = encode_model(model, encoder)
        manifest["solver"] = encoder.encode(problem.solver.recipe())
        if not kept:
            manifest["sums"] = encoder.encode(encode_sums(problem.solver.bases))
    else:
        manifest["variances"] = {
            name: encoder.encode(dict(source()))
            for name, source in (("condvar", fit.condvar_source), ("pev", fit.pev_source))
            if source is not None
        }
    return _write(Path(path), manifest, encoder.arrays)


def _manifest_of(fit: Fit, version: int, encoder: Encoder) -> dict[str, Any]:
    """Return the manifest with the fields of a fit; those that are later where it has them."""
    later = ("general", "free_par", "residual_covariance")  # earlier versions lack them
    names = [name for name in _FIELDS if name not in later or getattr(fit, name) is not None]
    return {
        "format": FORMAT,
        "version": version if fit.general is None else _GENERAL,
        "pymackay": __version__,
        "fit": {name: encoder.encode(getattr(fit, name)) for name in names},
    }


def _shortened(fit: Fit, problem: Problem | None, *, rows: bool) -> Fit:
    """Return the fit without residuals, fitted values and row names, unless `rows` are saved."""
    if problem is None and rows:
        return fit
    if problem is None:
        raise ArgumentError(
            f"rows=False needs the model's cross-products, but this fit was made by {fit.engine} "
            f"and does not hold them; save it with rows=True."
        )
    nothing = pd.Series(np.zeros(0), index=pd.RangeIndex(0))
    summary = drop_rows(problem.model).summary()
    return fit.replace(fitted=nothing, residuals=nothing, model=summary)


def load_fit(path: str | os.PathLike[str]) -> Fit:
    """Load a fit that `Fit.save` saved.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    Fit
        Equal to the saved fit; its methods return the same.

    Raises
    ------
    RecordingError
        If the file is missing, has another format (a pickle is never read), is damaged, incomplete
        or changed, needs more memory than is free, or has a newer version.

    Examples
    --------
    >>> import tempfile
    >>> import pymackay as pm
    >>> fit = pm.lmer("Yield ~ 1 + (1 | Batch)", pm.load_data("Dyestuff"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     again = pm.load_fit(fit.save(f"{folder}/dyestuff.fit"))
    >>> again.criterion == fit.criterion
    True
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(archive)
    except RecordingError as error:
        raise RecordingError(f"{path} cannot be used: {error}") from error
    except OSError as error:
        raise RecordingError(
            f"{path} cannot be read ({error.strerror or error}); give a file that fit.save wrote"
        ) from error
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, zlib.error) as error:
        raise RecordingError(f"{path} {_what_else(path)}") from error
    except MemoryError as error:
        raise RecordingError(
            f"{path} cannot be used: it asks for more memory than there is; load it on a machine "
            f"with more, or save the fit again if it is damaged"
        ) from error
    except Exception as error:  # any error that a wrong part can cause
        raise RecordingError(
            f"{path} is damaged: what it holds does not make a fit ({type(error).__name__}: "
            f"{error}); save the fit again"
        ) from error


def _write(path: Path, manifest: dict[str, Any], arrays: dict[str, np.ndarray]) -> Path:
    with (
        refused(f"path: {path}"),
        whole_file(path) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name, values in arrays.items():
            with archive.open(_member(name), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, values, allow_pickle=False)
        manifest["members"] = {info.filename: info.CRC for info in archive.infolist()}
        manifest["content_sha256"] = content_sha256(manifest)
        archive.writestr(MANIFEST, json.dumps(manifest, allow_nan=False))
    return path


def _member(name: str) -> str:
    return f"arrays/{name}.npy"


def _read(archive: zipfile.ZipFile) -> Fit:
    manifest = _manifest(archive)
    checksums = manifest.get("members", {})
    decoder = Decoder(lambda name: _read_array(archive, _member(name), checksums))
    values = {name: decoder.decode(item) for name, item in manifest["fit"].items()}
    unknown = set(values) - set(_FIELDS)
    if unknown:
        raise RecordingError(f"it holds {', '.join(sorted(unknown))}, which this version lacks")
    values |= {name: GroupTables(values[name]) for name in ("varcorr", "ranef")}
    if "general" in manifest:
        fit = decode_general(manifest["general"], values, decoder)
        check_type(fit, Fit, "the fit")
        check_shapes(fit)
    elif "residual" in manifest:
        fit = decode_residual(manifest["residual"], values, decoder)
        check_type(fit, Fit, "the fit")
        check_shapes(fit)
    elif "model" not in manifest:
        variances = {name: decoder.decode(item) for name, item in manifest["variances"].items()}
        fit = Fit(**values, **_given(variances))
        check_type(fit, Fit, "the fit")
    else:
        model = decode_model(manifest["model"], decoder)
        check_shapes(Fit(**{**values, "model": model.summary()}))
        sums = None
        if "sums" in manifest:
            sums = decode_sums(decoder.decode(manifest["sums"]), model)
        recipe = decoder.decode(manifest["solver"])
        solver = remake_solver(model, recipe, reml=values["reml"], sums=sums)
        problem = Problem(model, solver)
        fit = Fit(**values, **_computed(problem, values["theta"].to_numpy(), values["sigma"]))
        check_type(fit, Fit, "the fit")
        check_shapes(fit)
        if sums is not None:
            fit = without_rows(fit, sums.n)
    _check_sum(manifest)
    return fit


def _check_sum(manifest: dict[str, Any]) -> None:
    """Raise an error if the content was changed after saving; the first files had no checksum."""
    if "content_sha256" not in manifest:
        return
    if manifest["content_sha256"] != content_sha256(manifest):
        raise RecordingError(f"its manifest {_CHANGED}")


def _open(archive: zipfile.ZipFile, name: str, largest: float) -> IO[bytes]:
    """Open a member, after checks that fit.save can have written it and of its size."""
    try:
        member = archive.getinfo(name)
    except KeyError:
        raise RecordingError(f"its member {name} is missing; save the fit again") from None
    if member.flag_bits & 0x1:
        raise RecordingError(f"its member {name} is encrypted, which fit.save does not do")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise RecordingError(f"its member {name} is compressed in a way that fit.save does not use")
    if member.file_size > largest:
        raise RecordingError(
            f"its member {name} has {member.file_size / 2**30:.1f} GiB, and there is room for "
            f"{largest / 2**30:.1f}; load it on a machine with more memory, or save the fit again "
            f"if it is damaged"
        )
    return archive.open(member)


def _read_array(archive: zipfile.ZipFile, name: str, sums: dict[str, int]) -> np.ndarray:
    """Read an array, after a check that its header agrees with the number of bytes."""
    with _open(archive, name, free_memory()) as member:
        if sums and sums.get(name) != archive.getinfo(name).CRC:
            raise RecordingError(f"its member {name} {_CHANGED}")
        version = np.lib.format.read_magic(member)
        reader = {(1, 0): np.lib.format.read_array_header_1_0}.get(
            version, np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = reader(member)
        asked = math.prod(shape) * dtype.itemsize
        there = archive.getinfo(name).file_size - member.tell()
    if dtype.kind not in "biuf" or asked != there:
        raise RecordingError(
            f"its member {name} is damaged: its header asks for {shape} numbers of type {dtype}, "
            f"{asked} bytes, and there are {there}; save the fit again"
        )
    with archive.open(name) as member:
        return np.asarray(np.lib.format.read_array(member, allow_pickle=False))


def _manifest(archive: zipfile.ZipFile) -> dict[str, Any]:
    if MANIFEST not in archive.namelist():
        raise RecordingError(f"it has no {MANIFEST}, so fit.save did not write it")
    with _open(archive, MANIFEST, _LARGEST_MANIFEST) as member:
        manifest = json.loads(member.read())
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise RecordingError("its manifest is not that of a fit, so fit.save did not write it")
    version = manifest.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise RecordingError(f"its format has the version {version!r}, which never was")
    if version > VERSION:
        raise RecordingError(
            f"its format has version {version} (written by pymackay {manifest.get('pymackay')}), "
            f"but this pymackay, {__version__}, reads up to {VERSION}; upgrade pymackay"
        )
    return manifest


def _what_else(path: Path) -> str:
    """Return a description of a file that is not a zip archive."""
    with path.open("rb") as file:
        start = file.read(2)
    if start[:1] == b"\x80":
        return (
            "looks like a pickle, which is not read, because reading one can run any program; save "
            "the fit with fit.save"
        )
    return "is no archive that fit.save wrote, or is cut off; save the fit again"


def _given(variances: dict[str, Any]) -> dict[str, Any]:
    """Return the sources of error variances for those in the file."""
    return {f"{name}_source": HeldArrays(arrays) for name, arrays in variances.items()}


def _computed(problem: Problem, theta: np.ndarray, sigma: float) -> dict[str, Any]:
    """Return the problem, and the functions that compute from it at the fit's own variances."""
    return {
        "condvar_source": partial(_errors, problem, theta, sigma, "condvar"),
        "pev_source": partial(_errors, problem, theta, sigma, "pev"),
        "evaluate_source": partial(evaluate_at, problem),
        "problem": problem,
    }


def _errors(problem: Problem, theta: np.ndarray, sigma: float, name: str) -> dict[str, np.ndarray]:
    """Return `condvar` or `pev` at a fit's own `theta` and `sigma`."""
    here = evaluate_at(problem, theta)
    scale = (sigma / here.sigma) ** 2
    return {group: scale * array for group, array in getattr(here, name).items()}
