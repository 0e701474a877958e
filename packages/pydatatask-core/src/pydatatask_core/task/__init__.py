"""Tasks: one phase of computation, run once for each job."""
