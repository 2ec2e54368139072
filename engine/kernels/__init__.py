"""Compiled code. Imports numpy and numba only."""
