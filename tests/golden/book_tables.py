"""Every rule of the core on a tape as a table that a person can check by hand; the numbers come from the rules.

A row is: options | what happens on the tape, and what is asked for | what comes of it | why.

    options  what differs from the defaults: nobook, nofeed (venue times are not used), entry=ns, response=ns,
             table=ts:entry:response,..., lateness=ns, offset=ns, at=ns (time of the first record), power=n, log,
             trigger=mark or book, bps=, ticks=, maker= and taker= (bps), cash=, leverage=, isolated, drawdown=, close
             (at the end), sample=ns, tf=ns (bars), timer=ns, watch=event,... (what the strategy is called for). Shown
             besides: times, shown (the book as BOOK outputs have it), left (the book at the end).
    tape     items that ` ; ` parts. Records come 10 ns after each other, the first at 0 (a whole hour); `+n` lets n ns
             more pass. `~n`: the venue's time is n ns behind; `~-`: the venue gives none.
             `book 99:5 98:7 / 101:4`: a snapshot, bids / asks. `set 99:3 / 101:0`: a delta that chains, unless it says
             id=, prev=, first=. `open`: its last record is missing. `print 99 5 sold` (bought, unknown),
             `quote 99:5 / 101:4`, `mark 100`, `funding 0.01 at=ns`, `gap`, `gap all`, `gap downtime`, `clock`, `end`.
             `buy 10 limit 99 ioc`, `sell 5 stop_limit 95 94` (stop, then limit), `gtd=ns`, `target 5`, `cancel a`,
             `cancel_all`: asked for between two records. Orders are named a, b, c ... At last comes a `clock`.
    comes    `a 5@101 depth`: order a bought 5 at 101. What a model is not always, is said: `through bounded`.
             `ahead=3`: what stood before it in the queue. `[99 5 101 4 #7 10]`: bid, size, ask, size, update id, age.
             `bar 0 100 103 99 101 v7 n3`: start, open, high, low, close, volume, prints. `!order:5 @7`: the strategy
             is called at 7 and knows of a position of 5. `left 99:5 / 101:1`: the book at the end. `-`: nothing.
"""

# A row of a table is one line, however long.
# ruff: noqa: E501

from __future__ import annotations

TABLES = {
    "walk": """
        | book 99:5 98:7 / 101:4 102:6 ; buy 4 | a 4@101 depth | the whole best level
        | book 99:5 98:7 / 101:4 102:6 ; buy 7 | a 4@101 depth, a 3@102 depth | one fill for each level that it takes from
        | book 99:5 98:7 / 101:4 102:6 ; sell 8 | a -5@99 depth, a -3@98 depth | a sell walks down the bids
        | book 99:5 98:7 / 101:4 102:6 ; buy 12 | a 4@101 depth, a 6@102 depth, a canceled no_liquidity | the book holds 10: what remains has nobody to trade with
        | book 99:5 98:7 / 101:4 102:6 ; buy 12 ioc | a 4@101 depth, a 6@102 depth, a canceled ioc | as limits know it
        | book 99:5 98:7 / 101:4 102:6 ; buy 12 fok | a canceled fok | all or nothing: nothing
        | book 99:5 98:7 / 101:4 102:6 ; buy 10 fok | a 4@101 depth, a 6@102 depth | all of it is there, over two levels
        bps=100 | book 99:5 / 101:4 ; buy 4 | a 4@101 depth | levels are prices: no slippage on top
        | book 99:5 / 101:4 ; set / 101:0 ; buy 3 | a canceled no_liquidity | nobody sells
        | book 99:5 / 101:4 102:6 ; buy 7 limit 101 | a 4@101 depth | walks up to its limit, the rest rests
        | book 99:5 / 101:4 102:6 ; buy 7 limit 101 ioc | a 4@101 depth, a canceled ioc | the rest does not rest
        | book 99:5 / 101:4 102:6 ; buy 7 limit 101 fok | a canceled fok | only 4 are within its limit
        | book 99:5 / 101:4 102:6 ; buy 4 limit 101 fok | a 4@101 depth | exactly what is within its limit
        | book 99:5 / 101:4 102:6 ; buy 3 limit 105 | a 3@101 depth | the level's price, not its limit
        | book 99:5 98:7 / 101:4 ; sell 5 limit 99 | a -5@99 depth | a level at the limit is within it
        | book 99:5 / 101:4 ; buy 3 limit 100 | - | nobody sells at 100: rests
        | book 99:5 / 101:4 ; buy 3 limit 100 ioc | a canceled ioc | nothing within its limit
        | book 99:5 / 101:4 ; buy 3 limit 100 fok | a canceled fok | nothing within its limit
        | book 99:3 98:3 / 101:4 ; buy 4 ; sell 9 | a 4@101 depth, b -3@99 depth, b -3@98 depth, b canceled no_liquidity | over flat into a short: one order, one walk
        cash=500 | book 99:5 / 101:4 102:6 ; buy 6 | a 4@101 depth, a canceled margin | 404 is there, 608 is not: each level is checked by itself
        cash=100 | book 99:5 / 101:4 ; buy 4 | a canceled margin | 404 with a money of 100
        cash=100 | book 99:5 / 101:4 ; buy 4 limit 99 | a rejected margin | a limit is checked when it arrives
        taker=100 | book 99:5 / 101:400 ; buy 100 | a 100@101 depth fee=101 | 1 % of 10,100
        maker=-100 | book 99:5 / 101:4 ; buy 100 limit 100 ; print 99 100 sold | a 100@100 through fee=-100 | a rebate of 1 % of 10,000
        shown entry=5 | book 99:5 / 101:4 id=7 ; buy 4 | a 4@101 depth [99 5 101 4 #7 5] | the book just before the fill, 5 ns old
        shown entry=5 | book 99:5 / 101:4 102:1 id=7 ; buy 5 | a 4@101 depth [99 5 101 4 #7 5], a 1@102 depth [99 5 102 1 #7 5] | the second fill finds the first level gone
    """,
    "taken stays taken": """
        left | book 99:5 / 101:4 102:6 ; buy 3 | a 3@101 depth, left 99:5 / 101:1 102:6 | our fill takes from the level
        left | book 99:5 / 101:4 102:6 ; buy 4 | a 4@101 depth, left 99:5 / 102:6 | or all of it
        | book 99:5 / 101:4 102:6 ; buy 3 ; buy 3 | a 3@101 depth, b 1@101 depth, b 2@102 depth | the second order finds what the first has left
        | book 99:5 / 101:4 102:6 ; buy 3 ; set / 102:9 ; buy 3 | a 3@101 depth, b 1@101 depth, b 2@102 depth | another level was set: this one stays as it is
        | book 99:5 / 101:4 102:6 ; buy 3 ; set / 101:4 ; buy 3 | a 3@101 depth, b 3@101 depth | the level was set again: the venue says 4
        | book 99:5 / 101:4 102:6 ; buy 3 ; book 99:5 / 101:4 ; buy 4 | a 3@101 depth, b 4@101 depth | a snapshot sets every level
        | book 99:5 / 101:4 102:6 ; buy 4 ; print 101 5 bought ; buy 1 | a 4@101 depth, b 1@102 depth | a print sets no level
    """,
    "reduce only and targets": """
        | book 99:5 / 101:4 ; buy 4 ; sell 6 reduce_only | a 4@101 depth, b -4@99 depth, b canceled reduce_only | closes what there is, the rest would turn it
        | book 99:5 / 101:4 ; sell 3 reduce_only | a canceled reduce_only | nothing to reduce
        | book 99:5 98:7 / 101:4 ; buy 4 ; sell 6 fok reduce_only | a 4@101 depth, b -4@99 depth, b canceled reduce_only | the book holds all 6: its rest goes for another reason
        | book 99:3 98:7 / 101:4 ; buy 4 ; sell 6 reduce_only | a 4@101 depth, b -3@99 depth, b -1@98 depth, b canceled reduce_only | looked at anew at each level
        | book 99:5 / 101:4 ; buy 4 ; clock ; target 1 | a 4@101 depth, b -3@99 depth | from 4 to 1
        | book 99:5 / 101:4 ; target -2 | a -2@99 depth | from 0 to −2
        | book 99:5 / 101:4 ; target 0 | - | nothing to do
        | book 99:5 / 101:9 ; buy 4 ; target 4 | a 4@101 depth, b 4@101 depth | a is still on its way: the ledger stands at 0
    """,
    "queue by trades only": """
        | book 99:5 98:7 / 101:4 ; buy 3 limit 99 ; print 99 5 sold | - | all that stood ahead is gone, and no more
        | book 99:5 98:7 / 101:4 ; buy 3 limit 99 ; print 99 6 sold | a 1@99 queue ahead=5 | one more than stood ahead
        | book 99:5 98:7 / 101:4 ; buy 3 limit 99 ; print 99 9 sold | a 3@99 queue ahead=5 | four more, of which it wants three
        | book 99:5 98:7 / 101:4 ; buy 3 limit 99 ; print 99 5 sold ; print 99 2 sold | a 2@99 queue ahead=0 | first in line after the first print
        | book 99:5 98:7 / 101:4 ; buy 3 limit 99 ; print 99 9 bought | - | a buyer takes no buy order
        | book 99:5 98:7 / 101:4 ; buy 3 limit 99 ; print 99 6 unknown | a 1@99 queue ahead=5 | at the best bid: somebody sold
        | book 99:5 98:7 / 101:4 ; sell 3 limit 101 ; print 101 6 unknown | a -2@101 queue ahead=4 | at the best ask: somebody bought
        | book 99:5 / 101:4 ; buy 3 limit 100 ; print 100 4 unknown | - | between bid and ask nobody can tell
        | book 99:5 / 101:4 ; buy 3 limit 100 ; print 100 4 sold | a 3@100 queue ahead=0 | alone at its price
        | book 99:5 / 101:4 ; buy 3 limit 99 ; set 99:2 / ; print 99 3 sold | a 1@99 queue ahead=2 | the level is smaller than what stood ahead
        | book 99:5 / 101:4 ; buy 3 limit 99 ; set 99:9 / ; print 99 6 sold | a 1@99 queue ahead=5 | what comes later stands behind
        | book 99:5 / 101:4 ; buy 3 limit 99 ; set 99:9 / ; set 99:6 / ; print 99 6 sold | a 1@99 queue ahead=5 | whoever left may have stood behind
        | book 99:5 / 101:4 ; buy 3 limit 99 ; set 99:0 / ; print 99 2 sold | a 2@99 queue ahead=0 | the level is gone
        | book 99:5 / 101:4 ; buy 3 limit 99 ; book 99:2 / 101:4 ; print 99 3 sold | a 1@99 queue ahead=2 | a snapshot with a smaller level
        | book 99:5 / 101:4 ; buy 3 limit 99 ; book 99:8 / 101:4 ; print 99 6 sold | a 1@99 queue ahead=5 | a snapshot with a larger one
        | book 99:5 / 101:4 ; buy 3 limit 99 ; book 98:7 / 101:4 ; print 99 1 sold | a 1@99 queue ahead=0 | a snapshot without its level
        | book 99:5 / 101:4 ; buy 3 limit 99 ; buy 2 limit 99 ; print 99 9 sold | a 3@99 queue ahead=5, b 2@99 queue ahead=5 | our own orders do not stand before each other
        | book 99:5 / 101:4 ; buy 3 limit 99 ; buy 2 limit 99 ; print 99 6 sold | a 1@99 queue ahead=5, b 1@99 queue ahead=5 | and what is left of the print suffices
        | book 99:0 / 101:4 ; print 100 1 bought ; buy 3 limit 99 ; buy 2 limit 99 ; print 99 4 sold | a 3@99 queue ahead=0, b 1@99 queue ahead=0 | no more than the print's size together, first come first
        | book 99:5 / 101:4 ; sell 3 limit 101 ; print 101 6 bought | a -2@101 queue ahead=4 | sells alike
        | book 99:5 / 101:4 ; buy 6 limit 101 ; print 101 2 sold | a 4@101 depth, a 2@101 queue ahead=0 | took four as a taker, then is the first bid at 101
        | book 99:5 / 101:4 ; buy 3 limit 99 ; print 99 6 sold ; print 99 2 sold | a 1@99 queue ahead=5, a 2@99 queue ahead=0 | partly filled it stays the first
    """,
    "queue by probability": """
        power=1 | book 99:12 / 101:4 ; buy 3 limit 99 ; set 99:20 / ; set 99:10 / ; print 99 30 sold | a 3@99 queue ahead=6 | behind 8, ahead 12: p = 8/20; 12 − 0.6·10 = 6
        power=2 | book 99:12 / 101:4 ; buy 3 limit 99 ; set 99:20 / ; set 99:10 / ; print 99 30 sold | a 3@99 queue ahead=5 | p = 64/208 = 0.3077; 12 − 6.923 = 5.077
        power=3 | book 99:12 / 101:4 ; buy 3 limit 99 ; set 99:20 / ; set 99:10 / ; print 99 30 sold | a 3@99 queue ahead=4 | p = 512/2240 = 0.2286; 12 − 7.714 = 4.286
        log | book 99:12 / 101:4 ; buy 3 limit 99 ; set 99:20 / ; set 99:10 / ; print 99 30 sold | a 3@99 queue ahead=7 | p = ln 9/(ln 9 + ln 13) = 0.4614; 12 − 5.386 = 6.614
        | book 99:12 / 101:4 ; buy 3 limit 99 ; set 99:20 / ; set 99:10 / ; print 99 30 sold | a 3@99 queue ahead=10 | by trades only: no more can stand ahead than there are
        power=1 | book 99:12 / 101:4 ; buy 3 limit 99 ; set 99:20 / ; print 99 5 sold ; set 99:10 / ; print 99 30 sold | a 3@99 queue ahead=5 | ahead 7 after the print; 5 of the 10 were printed: p = 13/20; 7 − 0.35·5 = 5.25
        power=1 | book 99:12 / 101:4 ; buy 3 limit 99 ; set 99:20 / ; print 99 5 sold ; set 99:15 / ; print 99 30 sold | a 3@99 queue ahead=7 | all of the change was printed
        power=1 | book 99:12 / 101:4 ; buy 3 limit 99 ; print 99 5 sold ; set 99:9 / ; print 99 30 sold | a 3@99 queue ahead=7 | two came after the five were printed: behind
        power=1 | book 99:3 / 101:4 ; buy 3 limit 99 ; set 99:6 / ; set 99:5 / ; print 99 9 sold | a 3@99 queue ahead=2 | p = 1/2: 2.5 is rounded to even
        power=1 | book 99:1 / 101:4 ; buy 3 limit 99 ; set 99:2 / ; set 99:1 / ; print 99 9 sold | a 3@99 queue ahead=0 | p = 1/2: 0.5 is rounded to even
        power=1 | book 99:5 / 101:4 ; buy 3 limit 99 ; set 99:9 / ; print 99 30 sold | a 3@99 queue ahead=5 | what comes stands behind
        power=1 | book 99:5 / 101:4 ; buy 3 limit 99 ; set 99:2 / ; print 99 30 sold | a 3@99 queue ahead=2 | nobody behind: p = 0, all that leave stood ahead
        power=2 | book 99:5 / 101:4 ; buy 3 limit 100 ; set 100:0 / ; print 100 1 sold | a 1@100 queue ahead=0 | nobody ahead and nobody behind: p = 1
        power=3 | book 99:5 / 101:4 ; buy 3 limit 99 ; book 99:4 / 101:4 ; print 99 5 sold | a 1@99 queue ahead=4 | a snapshot knows no probability
    """,
    "through": """
        | book 99:5 98:7 / 101:4 ; buy 3 limit 99 ; print 98 2 sold | a 2@99 through | somebody sold lower: at its own price, as much as was sold
        | book 99:5 98:7 / 101:4 ; buy 3 limit 99 ; print 98 9 sold | a 3@99 through | all of it
        | book 99:5 98:7 / 101:4 ; buy 3 limit 98 ; buy 3 limit 99 ; print 97 4 sold | b 3@99 through, a 1@98 through | the best price first, four in all
        | book 99:5 98:7 / 101:4 ; buy 3 limit 99 ; buy 3 limit 99 ; print 98 4 sold | a 3@99 through, b 1@99 through | the same price: the older first
        | book 99:5 98:7 / 101:4 ; buy 2 limit 99 ; buy 3 limit 98 ; print 98 10 sold | a 2@99 through, b 3@98 queue ahead=7 | through the first; 10 printed at the second are 3 more than stood ahead
        | book 99:5 / 101:4 ; sell 3 limit 101 ; print 102 5 bought | a -3@101 through | sells alike
        | book 99:5 / 101:4 ; sell 3 limit 101 ; print 98 5 sold | - | a seller takes no sell order
        | book 99:5 / 101:4 ; sell 3 limit 101 ; print 98 5 unknown | - | below the bid: somebody sold
        left | book 99:5 98:7 / 101:4 ; buy 3 limit 99 ; set 99:0 / 99:2 | a 2@99 through, left 98:7 / 101:4 | the book comes to its price: takes what is there, and it is gone
        left | book 99:5 98:7 / 101:4 ; buy 3 limit 99 ; set 99:0 / 99:9 | a 3@99 through, left 98:7 / 99:6 101:4 | and leaves the rest
        left | book 99:5 98:7 / 101:4 ; buy 3 limit 98 ; buy 3 limit 99 ; set 99:0 98:0 / 97:4 | b 3@99 through, a 1@98 through, left / 101:4 | the best price first; never better than their own
        left | book 99:5 / 101:4 ; buy 9 limit 99 ; set 99:0 / 97:2 99:3 | a 5@99 through, left / 101:4 | one fill from all levels within its price
        | book 99:5 / 101:4 103:5 ; sell 3 limit 101 ; set 102:2 / 101:0 | a -2@101 through | bids come to a sell
        left watch=gap | book 99:5 / 101:4 ; buy 3 limit 100 ; set 101:3 / | !gap, left invalid | a book that crosses itself fills nobody
    """,
    "post only": """
        | book 99:5 / 101:4 ; buy 3 limit 101 post_only | a rejected post_only | would take
        | book 99:5 / 101:4 ; buy 3 limit 102 post_only | a rejected post_only | would take too
        | book 99:5 / 101:4 ; buy 3 limit 100 post_only | - | rests
        | book 99:5 / 101:4 ; sell 3 limit 99 post_only | a rejected post_only | would take
        | book 99:5 / 101:4 ; sell 3 limit 100 post_only | - | rests
        | book 99:5 / 101:4 ; set / 101:0 ; buy 3 limit 105 post_only | - | nobody sells
        entry=5 lateness=20 | book 99:5 / 101:4 ; buy 3 limit 100 post_only ; set 99:0 / 100:4 ~6 ; +20 ; clock | a rejected post_only | the ask came down while it travelled
        nobook | quote 99:5 / 101:5 ; print 100 1 sold ; buy 3 limit 101 post_only | a rejected post_only | the quote's ask
        nobook | quote 99:5 / 101:5 ; print 100 1 sold ; buy 3 limit 100 post_only | - | below the quote's ask
        | book 99:5 / 101:4 ; buy 3 limit 100 ioc post_only | a rejected invalid | one or the other
    """,
    "stops": """
        | book 99:5 / 101:4 ; buy 3 stop 101 ; print 101 1 bought | a 3@101 depth | the last price reaches it: walks as a market order
        | book 99:5 / 101:4 ; buy 3 stop 101 ; print 100 1 bought | - | not reached
        | book 99:5 / 101:4 ; sell 3 stop 99 ; print 99 1 sold | a -3@99 depth | a sell alike
        | book 99:5 / 101:4 ; print 101 1 bought ; buy 3 stop 101 | a 3@101 depth | reached already when it arrives
        | book 99:5 / 101:4 ; buy 3 stop 100 | a 3@101 depth | no print yet: the mark, (99 + 101) / 2
        | book 99:5 / 101:4 102:6 ; buy 20 stop 101 ; print 101 1 bought | a 4@101 depth, a 6@102 depth, a canceled no_liquidity | the book does not hold it
        | book 99:5 / 101:4 102:6 ; buy 6 stop_limit 101 101 ; print 101 1 bought | a 4@101 depth | a limit from then on: the rest rests
        | book 99:5 / 101:4 102:6 ; buy 6 stop_limit 101 101 ioc ; print 101 1 bought | a 4@101 depth, a canceled ioc | or does not
        | book 99:5 / 101:4 102:6 ; buy 6 stop_limit 101 101 fok ; print 101 1 bought | a canceled fok | all or nothing
        | book 99:5 / 101:4 ; buy 6 stop_limit 101 101 ; print 101 1 bought ; print 100 9 sold | a 4@101 depth, a 2@101 through | rests at 101, and is traded through
        | book 99:5 / 101:4 ; buy 3 stop 105 ioc ; print 101 1 bought | - | waits for its trigger, whatever its time in force
        | book 99:5 / 101:4 102:6 ; buy 3 stop 102 ; buy 3 stop 101 ; print 102 1 bought | b 3@101 depth, a 1@101 depth, a 2@102 depth | the lower trigger was met first
        | book 99:5 / 101:4 ; sell 3 stop 98 ; buy 3 stop 98 ; print 98 1 sold | b 3@101 depth, a -3@99 depth | the buy was reached on arrival, at 100
        trigger=mark | book 99:5 / 101:4 ; buy 3 stop 101 ; print 101 1 bought | a 3@101 depth | no MARK so far: prints are the mark
        trigger=mark | book 99:5 / 101:4 ; mark 100 ; buy 3 stop 101 ; print 101 1 bought | - | prints do not move the mark any more
        trigger=mark | book 99:5 / 101:4 ; mark 100 ; buy 3 stop 101 ; mark 101 | a 3@101 depth | the mark does
        trigger=mark | book 99:5 / 101:4 ; mark 100 ; buy 3 stop 101 ; mark 100.499999 | - | rounds to 100
        trigger=mark | book 99:5 / 101:4 ; mark 100 ; buy 3 stop 101 ; mark 100.5 | a 3@101 depth | rounds to 101
        trigger=book | book 99:5 / 101:4 102:6 ; buy 3 stop 102 ; set / 101:0 | a 3@102 depth | the best ask reaches it
        trigger=book | book 99:5 / 101:4 102:6 ; buy 3 stop 102 ; print 105 1 bought | - | prints are not the book
        trigger=book | book 99:5 98:2 / 101:4 ; sell 1 stop 98 ; set 99:0 / | a -1@98 depth | the best bid, for a sell
        trigger=book | book 99:5 / 101:4 102:6 103:8 ; buy 6 stop 102 ; buy 1 stop 103 ; set / 101:0 | a 6@102 depth, b 1@103 depth | the first lifts the ask to the second's trigger
        trigger=book nobook | quote 99:5 / 101:5 ; print 100 1 sold ; buy 3 stop 102 ; quote 99:5 / 102:5 | a 3@102 spread | the quote's ask
        trigger=book nobook | print 100 1 sold ; buy 3 stop 101 ; print 101 1 bought | a 3@101 bps | neither book nor quote: prints
        trigger=mark | book 99:5 / 101:4 ; mark 100 ; buy 3 stop 101 ; gap ; mark 101 ; book 99:5 / 104:4 | a 3@104 depth | triggered without a book: waits for the next
        trigger=mark | book 99:5 / 101:4 ; mark 100 ; buy 6 stop_limit 101 104 ; gap ; mark 101 ; book 99:5 / 104:4 ; print 103 9 sold | a 4@104 depth, a 2@104 through | the same, and rests as a limit
    """,
    "latency": """
        times entry=5 | book 99:5 / 101:4 ; buy 4 | @5 a 4@101 depth | travels for 5
        times offset=100 entry=5 | book 99:5 / 101:4 ; buy 4 | @5 a 4@101 depth | whatever the venue's clock shows
        times entry=5 lateness=20 | book 99:5 / 101:4 102:6 ; buy 4 ; set / 101:0 ~6 ; +20 ; clock | @5 a 4@102 depth | the level went at 4, the order came at 5, the word of both later
        times entry=5 lateness=20 | book 99:5 / 101:4 102:6 ; buy 4 ; set / 101:0 ~4 ; +20 ; clock | @5 a 4@101 depth | the level went at 6
        times entry=5 lateness=20 | book 99:5 / 101:4 102:6 ; buy 4 ; set / 101:0 ~5 ; +20 ; clock | @5 a 4@101 depth | at one time: the order first
        times entry=5 | book 99:5 / 101:4 102:6 ; buy 4 ; set / 101:0 ~6 | @5 a 4@101 depth | without lateness nobody waits for the word
        times entry=5 lateness=20 nofeed | book 99:5 / 101:4 102:6 ; buy 4 ; set / 101:0 ~6 | @5 a 4@101 depth | without feed latency the level goes when it is received, at 10
        times entry=5 lateness=20 | book 99:5 / 101:4 102:6 ; buy 4 ; set / 101:0 ~- | @5 a 4@101 depth | the venue gives no time: received at 10
        times entry=5 lateness=20 offset=100 | book 99:5 / 101:4 102:6 ; buy 4 ; set / 101:0 ~6 ; +20 ; clock | @5 a 4@102 depth | an offset moves both
        times entry=15 | book 99:5 / 101:4 102:6 ; buy 4 ; clock ; clock | @15 a 4@101 depth | the clock brings it at 15, not at the first tick
        times table=0:20:0,10:0:0 | book 99:5 / 101:4 102:6 ; buy 4 ; clock ; buy 2 ; +20 ; clock | @20 a 4@101 depth, @20 b 2@102 depth | sent at 10 without latency, but not before what was sent at 0
        times table=0:0:0,40:10:0 | book 99:5 / 101:4 ; clock ; buy 4 | @12 a 4@101 depth | at 10: 2.5, rounded to even
        times table=0:0:0,40:10:0 | book 99:5 / 101:4 ; clock ; clock ; clock ; buy 4 | @38 a 4@101 depth | at 30: 7.5, rounded to even
        times table=5:3:0,40:10:0 | book 99:5 / 101:4 ; buy 4 | @3 a 4@101 depth | before the first row: the first row
        times table=-9:3:0,-5:7:0 | book 99:5 / 101:4 ; buy 4 | @7 a 4@101 depth | after the last row: the last row
        times entry=15 | book 99:5 / 101:4 ; buy 3 limit 99 ; +20 ; clock ; cancel a ; print 98 9 sold ; clock | @40 a 3@99 through | the cancel would come at 45
        times entry=5 | book 99:5 / 101:4 ; buy 3 limit 99 ; +20 ; clock ; cancel a ; print 98 9 sold | @35 a canceled requested | the cancel came at 35
        times | book 99:5 / 101:4 ; buy 3 limit 99 ; clock ; cancel a ; cancel a | @10 a canceled requested | asked twice, canceled once
        times entry=5 | book 99:5 / 101:4 ; buy 3 limit 99 ; buy 3 limit 98 ; sell 1 limit 105 ; clock ; cancel_all | @15 a canceled requested, @15 b canceled requested, @15 c canceled requested | oldest first
        times entry=5 lateness=20 | book 99:5 / 101:4 ; buy 3 limit 99 gtd=8 ; +20 ; clock | @8 a expired | at its time, known when nothing earlier can come
        times entry=9 lateness=20 | book 99:5 / 101:4 ; buy 3 limit 99 gtd=8 ; +20 ; clock | @8 a expired | expires on its way
        times entry=8 lateness=20 | book 99:5 / 101:4 ; buy 3 limit 101 gtd=8 ; +20 ; clock | @8 a expired | at one time: the expiry first
        times | book 99:5 / 101:4 ; buy 3 limit 99 gtd=0 | @0 a rejected invalid | not later than now
    """,
    "reports": """
        times response=7 watch=order | book 99:5 / 101:4 ; buy 4 | @0 a 4@101 depth, !order:0 @7, !order:4 @7 | active, then filled, both known 7 later
        times watch=order | book 99:5 / 101:4 ; buy 4 | @0 a 4@101 depth, !order:0 @0, !order:4 @0 | at once
        times entry=5 lateness=20 watch=order | book 99:5 / 101:4 ; buy 4 ; set / 101:0 ~4 | @5 a 4@101 depth, !order:0 @10, !order:4 @10 | happened at 5; nobody could know before the record at 10
        times entry=5 lateness=20 watch=order | book 99:5 / 101:4 ; buy 4 ; +20 ; clock | @5 a 4@101 depth, !order:0 @25, !order:4 @25 | or before the clock at 25
        times watch=order | book 99:5 / 101:4 ; buy 0 | @0 a rejected invalid, !order:0 @0 | refused before it was sent: known now
        times response=7 watch=order | book 99:5 / 101:4 ; buy 4 ; buy 0 | @0 b rejected invalid, @0 a 4@101 depth, !order:0 @0, !order:0 @7, !order:4 @7 | no latency for what never left
        times table=0:0:9,10:0:0 watch=order | book 99:5 / 101:4 102:6 ; buy 4 ; clock ; buy 2 | @0 a 4@101 depth, @10 b 2@102 depth, !order:0 @9, !order:4 @9, !order:4 @10, !order:6 @10 | answers keep their order
        times response=30 watch=order,print | book 99:5 / 101:4 ; buy 4 ; print 101 1 bought | @0 a 4@101 depth, !print:0 @10 | the print is known before the fill
    """,
    "gaps and chains": """
        | buy 3 | a rejected no_price | no price yet
        | book 99:5 / ; buy 3 | a rejected no_price | one side has no middle
        | print 100 1 sold ; buy 3 | a rejected book_invalid | a price, but no book yet
        | book 99:5 / 101:4 ; gap ; buy 3 | a rejected book_invalid | the book is lost
        | book 99:5 / 101:4 ; buy 4 ; gap ; sell 4 ; book 99:5 / 101:4 | a 4@101 depth, b -4@99 depth | what reduces may be sent, and waits for a book
        | book 99:5 / 101:4 ; buy 4 ; gap ; sell 5 | a 4@101 depth, b rejected book_invalid | more than reduces
        times entry=15 | book 99:5 / 101:4 ; buy 4 ; gap ; clock ; book 99:5 / 103:4 | @15 a 4@103 depth | on its way when the book was lost: waits there for the next
        times entry=15 | book 99:5 / 101:4 ; buy 4 ; gap ; cancel a ; +20 ; clock ; book 99:5 / 103:4 | @25 a canceled requested | cancels do not wait
        times | book 99:5 / 101:4 ; buy 3 limit 99 gtd=15 ; gap ; clock | @15 a expired | nor does expiry
        | book 99:5 / 101:4 ; buy 3 limit 99 ; gap ; print 98 9 sold | - | nobody knows what that print met
        | book 99:5 / 101:4 ; buy 3 limit 99 ; gap ; book 99:5 / 101:4 ; print 98 9 sold | a 3@99 through | it still rests when the book is back
        | book 99:5 / 101:4 ; buy 3 limit 99 ; gap ; book 97:5 / 98:4 | a 3@99 through | the new book has moved onto it
        left | book 99:5 / 101:4 ; gap all | left invalid | all books, this one too
        times entry=15 | book 99:5 / 101:4 ; buy 4 ; +100 ; gap downtime ; book 99:5 / 103:4 | @15 a 4@103 depth | on its way when the recorder stopped: it met a book that nobody saw, the next must do
        left | book 99:5 / 101:4 id=5 ; set 99:1 / id=5 prev=4 | left 99:5 / 101:4 | stale: the snapshot has it already
        left watch=gap | book 99:5 / 101:4 id=5 ; set 99:1 / id=9 prev=7 first=8 | !gap, left invalid | 6 and 7 are missing
        left | book 99:5 / 101:4 id=10 ; set 99:1 / id=15 prev=8 first=9 | left 99:1 / 101:4 | right after a snapshot it may reach back
        left | book 99:5 / 101:4 id=10 ; set 99:1 / id=15 prev=11 first=12 | left invalid | but not miss one: 11
        left | book 99:5 / 101:4 id=10 ; set 99:1 / id=15 prev=10 first=11 ; set 99:2 / id=20 prev=14 first=15 | left invalid | later it must chain
        left | book 99:5 / 101:4 id=10 ; set 99:1 / id=15 prev=-1 | left 99:1 / 101:4 | a venue without previous ids
        left | book 99:5 / 101:4 id=10 ; set 99:1 / id=0 | left 99:1 / 101:4 | a venue without ids
        left watch=gap | book 99:5 / 101:4 ; set 99:1 / open ; clock | left invalid | broken off: the rest never came, and nobody said so
        left | book 99:5 / 101:4 ; set 99:1 / id=1 open ; clock | left 99:5 / 101:4 | broken off, but stale: nothing was applied
        left | book 99:5 / open ; clock ; book 99:5 / 101:4 | left 99:5 / 101:4 | a broken snapshot, then a whole one
        left | book 99:5 / 101:4 ; gap ; set 99:1 / | left invalid | deltas do not bring it back
        left watch=gap | book 101:5 / 101:4 | !gap, left invalid | a snapshot that crosses itself
        left | book 99:5 / 101:4 ; set / id=2 | left 99:5 / 101:4 | a message of ids only
        left | book 99:5 / 101:4 ; set / id=2 prev=1 ; set 99:1 / id=3 prev=2 | left 99:1 / 101:4 | counts in the chain
        watch=book | book 99:5 / 101:4 ; set 99:1 98:2 / 102:3 | !book:0, !book:0 | once for each message, not for each level
        watch=print,gap | book 99:5 / 101:4 ; print 100 1 sold ; gap ; print 100 1 sold | !print:0, !gap:0 | prints are not told while the book is lost
    """,
    "without a book": """
        nobook | print 100 1 sold ; buy 5 | a 5@100 bps | only the mark is known: assumed
        nobook bps=100 | print 100 1 sold ; buy 5 | a 5@101 bps | 1 % worse
        nobook ticks=3 | print 100 1 sold ; sell 5 | a -5@97 ticks | three ticks worse
        nobook | print 100 1 sold ; quote 99:1 / 102:1 ; buy 5 | a 5@102 spread | the quote's ask, the whole size
        nobook | print 100 1 sold ; quote 99:1 / 102:1 ; sell 5 | a -5@99 spread | the quote's bid
        nobook bps=100 | print 100 1 sold ; quote 99:1 / 102:1 ; buy 5 | a 5@104 spread | 1.02, rounded up
        nobook bps=100 | print 100 1 sold ; quote 99:1 / 102:1 ; buy 5 limit 103 | a 5@103 spread | held at its limit
        nobook | print 100 1 sold ; quote 99:1 / 102:1 ; buy 5 limit 101 ; print 100 2 sold | a 2@101 through bounded | rests below the quote; traded through
        nobook | print 100 1 sold ; buy 5 limit 99 ; print 98 2 sold | a 2@99 through bounded | rests below the mark; traded through
        nobook | print 100 1 sold ; buy 5 limit 99 ; print 99 9 sold | - | nobody knows the queue
        nobook | print 100 1 sold ; buy 5 limit 99 ; print 98 2 unknown | - | nor the side
        nobook | print 100 1 sold ; buy 5 limit 100 | a 5@100 bps | the mark is within its limit
        nobook | print 100 1 sold ; buy 5 limit 99 fok | a canceled fok | it is not
        nobook | print 100 1 sold ; buy 5 limit 99 ; quote 96:1 / 98:3 | a 3@99 through bounded | the quote crosses it: as much as is quoted
        nobook | print 100 1 sold ; quote 99:1 / 102:1 ; gap ; buy 5 | a 5@100 bps | the quote is forgotten
        nobook | book 99:5 / 101:4 ; buy 5 | a 5@100 bps | a book that is not to be used gives its middle at most
        nobook shown | print 100 1 sold ; quote 99:1 / 102:7 ; buy 5 | a 5@102 spread [99 1 102 7 #0 -1] | the quote stands for the book, without an age
    """,
    "funding": """
        at=-15 | book 99:5 / 101:4 ; buy 4 ; print 100 1 sold ; print 100 1 sold ; sell 4 ; funding 0.01 at=0 | a 4@101 depth, b -4@99 depth, funding 4 pays 4 | held at the hour, sold before the word came: 1 % of 400
        at=-15 | book 99:5 / 101:4 ; print 100 1 sold ; print 100 1 sold ; buy 4 ; funding 0.01 at=0 | a 4@101 depth | bought after the hour
        at=-15 | book 99:5 / 101:4 ; buy 4 ; +15 ; funding 0.01 at=0 | a 4@101 depth, funding 4 pays 4 | the first record past the hour
        at=-15 entry=15 lateness=50 | book 99:5 / 101:4 ; buy 4 ; +10 ; print 100 1 sold ; funding 0.01 at=0 | a 4@101 depth | came to the venue at the very hour: too late to pay
        at=-15 entry=14 lateness=50 | book 99:5 / 101:4 ; buy 4 ; +10 ; print 100 1 sold ; funding 0.01 at=0 | a 4@101 depth, funding 4 pays 4 | one ns before it
        at=-15 | book 99:5 / 101:4 ; buy 4 ; +20 ; print 100 1 sold ; funding 0.01 at=7 | a 4@101 depth, funding 4 pays 4 | no hour: what is held now
        at=-15 | book 99:5 / 101:4 ; sell 4 ; print 100 1 sold ; +10 ; funding 0.01 at=0 | a -4@99 depth, funding -4 pays -4 | a short is paid
        at=-15 | book 99:5 / 101:4 ; buy 4 ; print 100 1 sold ; +10 ; funding 0.01 at=0 ; funding 0.01 at=0 | a 4@101 depth, funding 4 pays 4 | once
        at=-15 | book 99:5 / 101:4 ; buy 4 ; print 100 1 sold ; +10 ; funding 0.01 at=0 of=200 | a 4@101 depth, funding 4 pays 8 | at the venue's mark
    """,
    "bars": """
        tf=20 lateness=5 times | print 100 1 sold ; print 103 2 bought ; print 101 1 sold | bar 0 100 103 100 103 v3 n2 @20 | a print of the next bar closes it
        tf=20 times | print 100 1 sold ; +10 ; clock | bar 0 100 100 100 100 v1 n1 @20 | the clock closes it at its end
        tf=20 lateness=5 times | print 100 1 sold ; +20 ; clock | bar 0 100 100 100 100 v1 n1 @25 | or later, by what is waited for
        tf=20 lateness=5 offset=7 times | print 100 1 sold ; +10 ; clock | bar 0 100 100 100 100 v1 n1 @18 | a print of 7, the venue's 20 is our 13
        tf=20 lateness=90 times | print 100 1 sold ; +50 ; print 105 1 sold | bar 0 100 100 100 100 v1 n1 @60, bar 20 100 100 100 100 v0 n0 @60, bar 40 100 100 100 100 v0 n0 @60 | bars without prints stand at the last close
        tf=100 | print 100 1 sold ; +95 ; clock ; print 99 1 sold ~20 ; +90 ; clock | bar 0 100 100 100 100 v1 n1, bar 100 99 99 99 99 v1 n1 | a print that comes too late counts where we are
        tf=20 lateness=5 times | print 100 1 sold ; print 103 2 bought ; print 101 1 sold ~- | bar 0 100 103 100 103 v3 n2 @20 | without a venue's time, when it was received
        tf=20 lateness=5 nofeed times | print 100 1 sold ; print 103 2 bought ; print 101 1 sold ~1 ; clock | bar 0 100 103 100 101 v4 n3 @25 | bars are the venue's, with feed latency or without
        tf=20 | print 100 1 sold ; +100 ; gap downtime ; print 101 1 bought | - | what was begun before the pause is forgotten
        tf=20 | print 100 1 sold ; gap ; clock | bar 0 100 100 100 100 v1 n1 | a gap forgets nothing
        tf=20 watch=bar | print 100 1 sold ; +10 ; clock | bar 0 100 100 100 100 v1 n1 | made without a book, but not told
        tf=20 watch=bar times | book 99:5 / 101:4 ; print 100 1 sold ; clock | bar 0 100 100 100 100 v1 n1 @20, !bar:0 @20 | told when it closes
        timer=25 watch=timer times | book 99:5 / 101:4 ; +50 ; clock | !timer:0 @25, !timer:0 @50 | at multiples of its interval; at 0 there was no book yet
        timer=25 watch=timer times | book 99:5 / 101:4 ; +50 ; gap downtime ; book 99:5 / 101:4 ; clock | !timer:0 @75 | not for the time that nobody recorded
    """,
    "forced": """
        close | book 99:5 / 101:4 ; buy 4 ; end | a 4@101 depth, b -4@99 depth | closed by a walk
        close bps=100 | book 99:3 / 101:4 ; buy 4 ; end | a 4@101 depth, b -3@99 depth, b -1@99 bps | the bids hold three; one at the mark of 100, 1 % worse
        close | book 99:5 / 101:4 ; buy 4 ; gap ; end | a 4@101 depth, b -4@100 bps | no book to walk: the mark
        close | book 99:5 / 101:4 ; buy 3 limit 99 ; end | a canceled end | orders go first
        nobook close | print 100 1 sold ; quote 99:1 / 102:1 ; buy 5 ; end | a 5@102 spread, b -5@99 spread | the quote
        cash=100 leverage=10 | book 99:5 / 101:4 ; buy 4 ; print 77 1 sold | a 4@101 depth | 100 − 96 = 4 is more than 0.5 % of 308
        cash=100 leverage=10 | book 99:5 / 101:4 ; buy 4 ; print 76 1 sold | a 4@101 depth, risk liquidation, forced -4@76 | 100 − 100 = 0
        cash=100 leverage=10 | book 99:5 / 101:4 ; buy 4 ; mark 76 | a 4@101 depth, risk liquidation, forced -4@76 | by the mark alike
        cash=100 leverage=10 | book 99:5 / 101:4 ; buy 4 ; mark 100 ; print 76 1 sold | a 4@101 depth | once there is a MARK, prints do not liquidate
        cash=100 leverage=10 | book 99:5 / 101:4 ; buy 4 ; gap ; print 76 1 sold | a 4@101 depth, risk liquidation, forced -4@76 | a lost book does not protect
        cash=100 leverage=10 | book 99:5 / 101:4 ; buy 4 ; sell 1 limit 110 ; mark 76 | a 4@101 depth, risk liquidation, b canceled liquidation, forced -4@76 | orders go first
        cash=1000 leverage=10 isolated | book 99:5 / 101:4 ; buy 4 ; mark 92 | a 4@101 depth | its margin of 40 − 36 = 4 is more than 0.5 % of 368
        cash=1000 leverage=10 isolated | book 99:5 / 101:4 ; buy 4 ; mark 91 | a 4@101 depth, risk liquidation, forced -4@91 | 40 − 40 = 0
        cash=1000 leverage=10 isolated | book 99:5 / 101:4 ; buy 4 ; mark 80 | a 4@101 depth, risk liquidation, forced -4@91 | the price at which its margin is gone; the insurance fund bears the rest
        cash=1000 leverage=10 drawdown=0.1 sample=50 times | book 99:5 98:2 / 101:4 ; buy 4 ; print 70 1 sold ; +40 ; clock | @0 a 4@101 depth, @50 risk max_drawdown, @50 b -4@99 depth | 124 of 1,000 lost, seen at the sample, flattened there by a walk
        cash=1000 leverage=10 drawdown=0.1 sample=50 times | book 99:5 / 101:4 ; buy 4 ; print 70 1 sold ; gap ; +40 ; clock ; book 90:9 / 91:1 | @0 a 4@101 depth, @50 risk max_drawdown, @80 b -4@90 depth | without a book it waits for the next
        cash=1000 leverage=10 drawdown=0.1 sample=50 bps=100 | book 99:3 / 101:4 ; buy 4 ; print 70 1 sold ; +40 ; clock | a 4@101 depth, risk max_drawdown, b -3@99 depth, b -1@69 bps | what the bids do not hold goes at the mark of 70, 1 % worse
        cash=1000 leverage=10 drawdown=0.1 sample=50 times entry=55 | book 99:5 / 101:4 ; buy 4 ; +50 ; print 70 1 sold ; buy 1 ; +20 ; clock ; clock | @55 a 4@101 depth, @100 risk max_drawdown, @100 b canceled halted, @100 c -4@99 depth | an order on its way is canceled when the account halts
    """,
}
