"""Everything that touches the outside: gRPC, databases, files, clock, command line. ``mpc`` is pure."""

import logging
import os

# gRPC's C core writes notes about closed connections to stderr; ours are structured and without values
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
# sqlglot warns of statements that it does not know, and quotes them: a query's text belongs into no log
logging.getLogger("sqlglot").disabled = True
