"""Strategy files: shipped ones in builtins, entry and exit; loaded by path, never imported by name."""
