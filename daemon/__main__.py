"""`python -m daemon`: the command line, where its script is not on the path."""

from daemon.cli import main

main()
