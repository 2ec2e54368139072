"""How a running session is watched and commanded: a unix socket, loopback HTTP, and a stream of what happens."""
