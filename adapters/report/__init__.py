"""Reports of a run: one document with a published schema, pictures and a page made of it."""
