"""Contracts, scheduling and the controller of pydatatask."""
