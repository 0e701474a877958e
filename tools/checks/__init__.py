"""What `./tools/test` checks, and in which order."""
