"""The pydatatask command."""
