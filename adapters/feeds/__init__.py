"""Feeds: what cryptofeed's exchange classes say, as messages and records of a tape. Nothing else imports cryptofeed.

`venues` holds as data what differs between exchanges; `instruments` reads their instrument lists; `exchange` builds
one of cryptofeed's exchange objects from a list at hand, without network and without its FeedHandler; `normaliser` is
what that object calls back. `live` runs them over websockets of our own making: `live_plan` says what it will be,
`live_parts` joins it, `connection` and `link` are one websocket, `supervision` says when it may be made, `staleness`
when it is silent, `live_records`, `live_books` and `snapshots` make records and whole books of it. `capture` reads
cryptofeed's raw recordings, `playback` feeds them into the same objects, and `ws_import` makes records of them.
"""
