"""The ``heji`` command."""

from parties.cli.main import main

__all__ = ["main"]
