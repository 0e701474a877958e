"""Runs outside the controller: one life cycle for hosts, containers and pods."""
