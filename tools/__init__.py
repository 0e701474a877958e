"""What the workspace needs around its members."""
