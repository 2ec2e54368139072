"""Captures: what others recorded of a market, read into the records of a tape.

A capture passes through four hands, each in a module of its own: `lines` gives numbered lines of a file however it is
packed; a venue's module (`binance`, `bybit`, `hyperliquid`, `tardis`) reads them into `messages`, in which numbers are
still the venue's own text; `survey` goes through all of them once to learn tick, lot and the clock's offset; and
`transcriber` turns them into records, with `book_sync` holding back what no book could follow.
"""
