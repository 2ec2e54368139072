"""A paper session: from the feed's records to the tape, the engine, the store and whoever watches.

`paper` builds it and runs its tasks. `sequencer` gives every input its place, `recorder` brings the tape to the disk,
`loop` lets the engine go on, `pump` stores what comes of it, `recovery` takes up where the last process ended.
"""
