"""Everything that touches the outside: gRPC, databases, files, clock, command line. ``mpc`` is pure."""

import os

# gRPC's C core writes notes about closed connections to stderr; ours are structured and without values
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
