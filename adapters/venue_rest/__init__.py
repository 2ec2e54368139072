"""What a venue is asked by REST, each question in its own file, all through `adapters.rest_gate`."""
