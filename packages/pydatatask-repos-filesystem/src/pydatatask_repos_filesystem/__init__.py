"""File and directory repositories for pydatatask."""
