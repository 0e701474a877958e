"""Data pipelines over any store and any machine."""
