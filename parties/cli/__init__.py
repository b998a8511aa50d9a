"""The ``heji`` command."""

import sys

try:
    from parties.cli.main import main
except KeyboardInterrupt:  # loading everything takes a second, in which Ctrl-C is as good as later
    sys.stderr.write("\nStopped.\n")
    sys.exit(130)

__all__ = ["main"]
