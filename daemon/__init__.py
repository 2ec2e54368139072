"""Everything that runs: command line, composition root."""
