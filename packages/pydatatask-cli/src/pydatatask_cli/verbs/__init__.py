"""The verbs of the command. Each module is loaded when one of its verbs is used."""
