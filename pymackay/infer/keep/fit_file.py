"""`save` and `load_fit`: a fit in a file of an open format, JSON and arrays in one zip."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pymackay import __version__
from pymackay.errors import ArgumentError, PymackayError, RecordingError
from pymackay.infer.keep.codec import Decoder, Encoder
from pymackay.infer.keep.model_file import decode_model, encode_model
from pymackay.infer.problem import check_fit
from pymackay.results import Fit
from pymackay.solve.assemble import Problem, evaluate_at
from pymackay.solve.choose import remake_solver

__all__ = ["FORMAT", "VERSION", "load_fit", "save"]

FORMAT = "pymackay fit"
VERSION = 1
MANIFEST = "manifest.json"

_SOURCES = ("condvar_source", "pev_source", "evaluate_source")
_FIELDS = tuple(
    field.name for field in dataclasses.fields(Fit) if field.name not in (*_SOURCES, "problem")
)


def save(fit: Fit, path: str | os.PathLike[str]) -> Path:
    """Save a fit, with all that its methods need.

    The file is a zip archive: ``manifest.json`` holds the format's name and version and every
    number, name and table; each array is a member ``arrays/<name>.npy``, which the manifest refers
    to. It holds the response and the model's columns, and so the data. It is written under another
    name and moved when it is complete.

    Parameters
    ----------
    fit : Fit
        Of any engine. What `condvar` and `pev` cost is paid now for a fit that does not hold its
        rows, such as one of another engine; else after loading, when first asked for.
    path : path-like
        An existing file is replaced.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    DataError
        If the fit holds what the format does not have, such as rows labelled by intervals.
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
    encoder = Encoder()
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "pymackay": __version__,
        "fit": {name: encoder.encode(getattr(fit, name)) for name in _FIELDS},
    }
    if isinstance(fit.problem, Problem) and len(fit.problem.model.y):
        manifest["model"] = encode_model(fit.problem.model, encoder)
        manifest["solver"] = encoder.encode(fit.problem.solver.recipe())
    else:
        manifest["variances"] = {
            name: encoder.encode(dict(source()))
            for name, source in (("condvar", fit.condvar_source), ("pev", fit.pev_source))
            if source is not None
        }
    return _write(Path(path), json.dumps(manifest, allow_nan=False), encoder.arrays)


def load_fit(path: str | os.PathLike[str]) -> Fit:
    """Load a fit that `Fit.save` saved.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    Fit
        Equal to the one that was saved, its methods included.

    Raises
    ------
    RecordingError
        If the file is missing, is something else (a pickle is never read), is damaged or
        incomplete, or has a newer version.

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
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, NotImplementedError) as error:
        raise RecordingError(f"{path} {_what_else(path)}") from error
    except PymackayError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError) as error:
        raise RecordingError(
            f"{path} is damaged: what it holds does not make a fit ({error}); save the fit again"
        ) from error


def _write(path: Path, manifest: str, arrays: dict[str, np.ndarray]) -> Path:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(MANIFEST, manifest)
            for name, values in arrays.items():
                with archive.open(_member(name), "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, values, allow_pickle=False)
        temporary.replace(path)
    except OSError as error:
        raise ArgumentError(
            f"path: {path} cannot be written ({error.strerror}); give a file in a folder that "
            f"exists and that you may write to"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return path


def _member(name: str) -> str:
    return f"arrays/{name}.npy"


def _read(archive: zipfile.ZipFile) -> Fit:
    manifest = _manifest(archive)

    def read_array(name: str) -> np.ndarray:
        try:
            content = archive.read(_member(name))
        except KeyError as error:
            raise RecordingError(f"its member {_member(name)} is missing") from error
        return np.asarray(np.lib.format.read_array(io.BytesIO(content), allow_pickle=False))

    decoder = Decoder(read_array)
    values = {name: decoder.decode(item) for name, item in manifest["fit"].items()}
    unknown = set(values) - set(_FIELDS)
    if unknown:
        raise RecordingError(f"it holds {', '.join(sorted(unknown))}, which this version lacks")
    if "model" not in manifest:
        variances = {name: decoder.decode(item) for name, item in manifest["variances"].items()}
        return Fit(**values, **_given(variances))
    model = decode_model(manifest["model"], decoder)
    solver = remake_solver(model, decoder.decode(manifest["solver"]), reml=values["reml"])
    problem = Problem(model, solver)
    return Fit(**values, **_computed(problem, values["theta"].to_numpy(), values["sigma"]))


def _manifest(archive: zipfile.ZipFile) -> dict[str, Any]:
    if MANIFEST not in archive.namelist():
        raise RecordingError(f"it has no {MANIFEST}, so fit.save did not write it")
    manifest = json.loads(archive.read(MANIFEST))
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise RecordingError("its manifest is not that of a fit, so fit.save did not write it")
    version = manifest.get("version")
    if not isinstance(version, int) or version < 1:
        raise RecordingError(f"its format has the version {version!r}, which never was")
    if version > VERSION:
        raise RecordingError(
            f"its format has version {version} (written by pymackay {manifest.get('pymackay')}), "
            f"but this pymackay, {__version__}, reads up to {VERSION}; upgrade pymackay"
        )
    return manifest


def _what_else(path: Path) -> str:
    """Say what a file is that is no zip archive."""
    with path.open("rb") as file:
        start = file.read(2)
    if start[:1] == b"\x80":
        return (
            "looks like a pickle, which is not read, because reading one can run any program; save "
            "the fit with fit.save"
        )
    return "is no archive that fit.save wrote, or is cut off; save the fit again"


def _given(variances: dict[str, Any]) -> dict[str, Any]:
    """Return the sources of error variances that the file holds."""
    return {f"{name}_source": _constant(arrays) for name, arrays in variances.items()}


def _constant(arrays: dict[str, np.ndarray]) -> Callable[[], dict[str, np.ndarray]]:
    return lambda: arrays


def _computed(problem: Problem, theta: np.ndarray, sigma: float) -> dict[str, Any]:
    """Return the problem, and the sources that compute from it at the fit's own variances."""

    def errors(name: str) -> dict[str, np.ndarray]:
        here = evaluate_at(problem, theta)
        scale = (sigma / here.sigma) ** 2
        return {group: scale * array for group, array in getattr(here, name).items()}

    return {
        "condvar_source": lambda: errors("condvar"),
        "pev_source": lambda: errors("pev"),
        "evaluate_source": lambda at: evaluate_at(problem, at),
        "problem": problem,
    }
