"""One module for each case; each says what it measures and holds a `CASE`."""
