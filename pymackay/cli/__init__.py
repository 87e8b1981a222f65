"""The command line, `pymackay`: one file for each command, `group` for what they share."""

from pymackay.cli import compare, fit, fuzz, record, small
from pymackay.cli.group import main

__all__ = ["compare", "fit", "fuzz", "main", "record", "small"]
