"""The pipeline: what may start, what starts now, and the one loop that starts it."""
