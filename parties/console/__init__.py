"""The node's console: a few pages for its operator, served by the node's own process, for nobody else."""
