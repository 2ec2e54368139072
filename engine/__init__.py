"""The compiled, deterministic engine: pure and synchronous; no clock, no randomness, no input or output."""
