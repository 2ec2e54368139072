"""One file or folder for each outside thing."""
