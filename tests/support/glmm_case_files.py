"""Parity cases of generalised models on disk, read when they are there."""

from __future__ import annotations

from dataclasses import dataclass

from case_files import Case, case_names, load_case

__all__ = ["GlmmCase", "glmm_case_names", "load_glmm_case"]

_SUPPORTS = {"binomial": "binomial", "poisson": "count", "negbin": "count", "gaussian": "real"}


@dataclass(frozen=True, eq=False)
class GlmmCase(Case):
    """One parity case of a generalised model."""

    @property
    def support(self) -> str:
        """What the family's response may be."""
        return _SUPPORTS.get(self.meta["family"], "positive")


def glmm_case_names() -> list[str]:
    """Return the names of the cases that are there, possibly none."""
    return case_names("glmm")


def load_glmm_case(name: str) -> GlmmCase:
    """Read one case, its columns typed as the case says."""
    return GlmmCase(**vars(load_case(name, "glmm")))
