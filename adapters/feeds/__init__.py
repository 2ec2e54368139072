"""Feeds: what cryptofeed's exchange classes say, as messages and records of a tape. Nothing else imports cryptofeed.

`venues` holds as data what differs between exchanges; `instruments` reads their instrument lists; `exchange` builds one
of cryptofeed's exchange objects from a list at hand, without network and without its FeedHandler; `normaliser` is what
that object calls back. `capture` reads cryptofeed's raw recordings, `playback` feeds them into the same objects, and
`ws_import` makes records of them.
"""
