"""Repositories: what they promise, the ones in memory, combinators, and structured data over any blob repository."""
