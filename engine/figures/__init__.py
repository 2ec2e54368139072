"""The figures of a report: closed trades and an equity curve in, one struct of metrics out. Pure."""
