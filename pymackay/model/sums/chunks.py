"""`chunks`, under its former address."""

from pymackay.model.sums.by_level import chunks

__all__ = ["chunks"]
