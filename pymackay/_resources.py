"""The version of the package, and where the files that come with it are."""

from __future__ import annotations

from pathlib import Path

from pymackay.errors import PymackayError

__version__ = "0.1.0"

_PACKAGE = Path(__file__).resolve().parent


def data_path(*parts: str) -> Path:
    """Return the path of a file under ``data/``.

    Parameters
    ----------
    *parts : str
        Path below the folder, none for the folder itself.

    Raises
    ------
    PymackayError
        If the folder is not there, which means a damaged installation.

    Examples
    --------
    >>> data_path("datasets.json").name
    'datasets.json'
    """
    return _folder("data").joinpath(*parts)


def r_reference_path(*parts: str) -> Path:
    """Return the path of a file under ``r_reference/``: R scripts, recordings, the installer.

    Parameters and errors are those of `data_path`.

    Examples
    --------
    >>> r_reference_path("install_r.sh").name
    'install_r.sh'
    """
    return _folder("r_reference").joinpath(*parts)


def _folder(name: str) -> Path:
    """Find a folder: a wheel puts it inside the package, a checkout has it beside the package."""
    installed, checkout = _PACKAGE / f"_{name}", _PACKAGE.parent / name
    for folder in (installed, checkout):
        if folder.is_dir():
            return folder
    raise PymackayError(
        f"the folder {name}/ that comes with pymackay is neither at {installed} nor at "
        f"{checkout}: the installation is damaged. Install pymackay again with pip."
    )
