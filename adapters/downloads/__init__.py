"""Bars, mark prices and funding from a venue's REST into the stored files: what is missing, and no more."""
