"""Every fill rule as a table that a person can check by hand; the numbers come from the rules, not from code.

A row is: options | position held | orders | bars | what happens | why.

    options  what differs from the defaults: touch, trigger, next_open, adaptive, ohlc, olhc, fifo, close_to_close,
             latency=bars, share=fraction of volume, bps=, ticks=, atr=factor/length, spread_bps=, spread_ticks=
    orders   `buy 10 limit 99 ioc`, `sell 5 stop_limit 95 94` (stop, then limit), named a, b, c ... in order; asked
             at the close of bar 0, or of bar n with `@n`. `gtd=1c` expires at bar 1's close, `gtd=1+` between
             bars 1 and 2. `cancel a @1` asks at the close of bar 1.
    bars     `open high low close`, and `v20` for a volume of 20 lots, `v?` for an unknown one. The first is bar 1;
             bar 0 stood at 100 all through.
    happens  `1o a 10@98 maker`: at the open of bar 1 order a bought 10 at 98 as maker. `1c`: inside bar 1 or at
             its close. The slippage model follows where it is not the plain one (taker bps, maker none).
             `ambiguous=1`: one bar was counted as ambiguous. `-`: nothing.
"""

# A row of a table is one line, however long.
# ruff: noqa: E501

from __future__ import annotations

TABLES = {
    "market": """
                          |   0 | buy 10                              | 103 105 101 104                   | 1o a 10@103 taker                | decided at the close, filled at the next open, wherever it is
                          |   0 | sell 10                             | 97 105 95 104                     | 1o a -10@97 taker                | a sell alike
                          |   0 | buy 10 ioc                          | 103 105 101 104                   | 1o a 10@103 taker                | there is always volume at the open where no share is set
                          |   0 | sell 10 fok                         | 103 105 101 104                   | 1o a -10@103 taker               | the same for all or nothing
      close_to_close      |   0 | buy 10                              | 103 105 101 104                   | 0c a 10@100 taker                | at the very close that decided it
      close_to_close      |   0 | sell 10 @1                          | 103 105 101 104                   | 1c a -10@104 taker               | the close of the bar at which it was asked
      latency=1           |   0 | buy 10                              | 103 105 101 104 ; 107 108 106 107 | 2o a 10@107 taker                | one bar later than the next open
      latency=2           |   0 | buy 10                              | 103 105 101 104 ; 107 108 106 107 | -                                | would arrive at the open of bar 3
      close_to_close latency=1 | 0 | buy 10                           | 103 105 101 104 ; 107 108 106 107 | 1c a 10@104 taker                | one bar later than this close
      close_to_close latency=2 | 0 | buy 10                           | 103 105 101 104 ; 107 109 106 109 | 2c a 10@109 taker                | two bars later than this close
                          |   0 | buy 10, sell 4                      | 103 105 101 104                   | 1o a 10@103 taker, 1o b -4@103 taker | orders of one open fill in the order they were given
                          |  10 | sell 25                             | 103 105 101 104                   | 1o a -25@103 taker               | one fill may turn a long into a short
    """,
    "limit": """
                          |   0 | buy 10 limit 99                     | 102 103 100 101                   | -                                | not reached
                          |   0 | buy 10 limit 99                     | 102 103 99 101                    | -                                | a touch is not a fill
                          |   0 | buy 10 limit 99                     | 102 103 98 101                    | 1c a 10@99 maker                 | traded through: at the limit
                          |   0 | sell 10 limit 101                   | 98 100 97 99                      | -                                | not reached
                          |   0 | sell 10 limit 101                   | 98 101 97 99                      | -                                | a touch is not a fill
                          |   0 | sell 10 limit 101                   | 98 102 97 99                      | 1c a -10@101 maker               | traded through: at the limit
      touch               |   0 | buy 10 limit 99                     | 102 103 99 101                    | 1c a 10@99 maker                 | a touch is enough
      touch               |   0 | sell 10 limit 101                   | 98 101 97 99                      | 1c a -10@101 maker               | a touch is enough
      touch               |   0 | buy 10 limit 99                     | 102 103 100 101                   | -                                | one tick short is not a touch
                          |   0 | buy 10 limit 99                     | 97 103 96 101                     | 1o a 10@97 taker                 | arrives at an open below it: takes that price
                          |   0 | sell 10 limit 101                   | 104 105 100 101                   | 1o a -10@104 taker               | arrives at an open above it
                          |   0 | buy 10 limit 99                     | 99 103 99 101                     | -                                | arrives at an open at its limit: a touch
                          |   0 | buy 10 limit 99                     | 99 103 98 101                     | 1c a 10@99 maker                 | rests at the open, is traded through inside
      touch               |   0 | buy 10 limit 99                     | 99 103 98 101                     | 1o a 10@99 taker                 | with touch the open at its limit already fills it
                          |   0 | buy 10 limit 99                     | 102 103 100 101 ; 95 97 94 96     | 2o a 10@95 maker                 | was resting when the market gapped over it: the open, as maker
                          |   0 | sell 10 limit 101                   | 98 100 97 99 ; 106 107 105 106    | 2o a -10@106 maker               | a sell alike
                          |   0 | buy 10 limit 99                     | 102 103 100 101 ; 99 101 99 100   | -                                | an open at the limit only touches
      touch               |   0 | buy 10 limit 99                     | 102 103 100 101 ; 99 101 99 100   | 2o a 10@99 maker                 | and with touch fills
                          |   0 | buy 10 limit 99                     | 97 103 90 101                     | 1o a 10@97 taker                 | gap and through in one bar: filled once, at the open
      latency=1           |   0 | buy 10 limit 99                     | 102 103 90 101 ; 102 103 98 101   | 2c a 10@99 maker                 | bar 1 passed before it arrived
      close_to_close      |   0 | buy 10 limit 101                    | 102 103 102 103                   | 0c a 10@100 taker                | the close is through its limit: takes the close
      close_to_close      |   0 | buy 10 limit 100                    | 102 103 102 103                   | -                                | the close only touches it
      close_to_close touch |  0 | buy 10 limit 100                    | 102 103 102 103                   | 0c a 10@100 taker                | with touch the close fills it
      close_to_close      |   0 | buy 10 limit 98                     | 95 103 94 103                     | 1o a 10@95 maker                 | it rested from the close on, so the gap meets a resting order
      close_to_close latency=1 | 0 | buy 10 limit 98                 | 99 103 90 103 ; 99 103 97 103     | 2c a 10@98 maker                 | arrives at the close of bar 1, after its low
                          |   0 | buy 10 limit 99, buy 5 limit 99     | 102 103 98 101                    | 1c a 10@99 maker, 1c b 5@99 maker | the same limit: first in, first out
    """,
    "stop": """
                          |   0 | buy 10 stop 105                     | 102 104 101 103                   | -                                | not reached
                          |   0 | buy 10 stop 105                     | 102 105 101 103                   | 1c a 10@105 taker                | a touch triggers
                          |   0 | buy 10 stop 105                     | 102 109 101 103                   | 1c a 10@105 taker                | traded past it: at the trigger
                          |   0 | sell 10 stop 95                     | 98 99 96 97                       | -                                | not reached
                          |   0 | sell 10 stop 95                     | 98 99 95 97                       | 1c a -10@95 taker                | a touch triggers
                          |   0 | sell 10 stop 95                     | 98 99 90 97                       | 1c a -10@95 taker                | traded past it: at the trigger
                          |   0 | buy 10 stop 105                     | 107 109 106 108                   | 1o a 10@107 taker                | gapped past it: the open is worse, and is what was there
                          |   0 | sell 10 stop 95                     | 92 93 90 91                       | 1o a -10@92 taker                | gapped past it
                          |   0 | buy 10 stop 105                     | 105 109 104 108                   | 1o a 10@105 taker                | opens at the trigger
                          |   0 | buy 10 stop 105                     | 102 104 101 103 ; 108 109 107 108 | 2o a 10@108 taker                | was resting when the market gapped over it
      trigger             |   0 | buy 10 stop 105                     | 107 109 106 108                   | 1o a 10@105 taker                | as if the trigger's price had been there
      trigger             |   0 | sell 10 stop 95                     | 98 99 97 98 ; 92 93 90 91         | 2o a -10@95 taker                | the same for a resting one
      trigger             |   0 | buy 10 stop 105                     | 102 105 101 103                   | 1c a 10@105 taker                | inside the bar nothing differs
      next_open           |   0 | buy 10 stop 105                     | 102 105 101 103 ; 99 100 98 99    | 2o a 10@99 taker                 | triggered inside bar 1: a market order at the next open, better or worse
      next_open           |   0 | sell 10 stop 95                     | 92 93 90 91 ; 88 89 87 88         | 2o a -10@88 taker                | triggered at the open of bar 1: the next open is that of bar 2
      next_open           |   0 | buy 10 stop 105                     | 102 104 101 103 ; 108 109 107 108 ; 110 111 109 110 | 3o a 10@110 taker | gapped over at the open of bar 2
                          |   0 | buy 10 stop 105 ioc                 | 102 104 101 103 ; 102 106 101 103 | 2c a 10@105 taker                | an untriggered stop rests, whatever its time in force
                          |   0 | buy 10 stop 105 fok                 | 102 104 101 103 ; 102 106 101 103 | 2c a 10@105 taker                | the same for all or nothing
                          |   0 | buy 10 stop 98                      | 99 100 97 99                      | 1o a 10@99 taker                 | already past its trigger when it arrives: the open
      latency=1           |   0 | buy 10 stop 105                     | 102 109 101 103 ; 102 104 101 103 | -                                | bar 1 reached it before it arrived
      close_to_close      |   0 | buy 10 stop 98                      | 99 100 97 99                      | 1o a 10@99 taker                 | already past its trigger at the close, but tested from the next bar on
      close_to_close      |   0 | buy 10 stop 105                     | 102 105 101 103                   | 1c a 10@105 taker                | nothing differs inside a bar
      close_to_close latency=1 | 0 | sell 10 stop 95                 | 98 99 90 97 ; 97 98 95 97         | 2c a -10@95 taker                | arrives at the close of bar 1, after its low
    """,
    "stop-limit": """
                          |   0 | buy 10 stop_limit 105 106           | 102 104 101 103                   | -                                | not triggered
                          |   0 | buy 10 stop_limit 105 106           | 102 104 90 91                     | -                                | the limit alone does not matter before the trigger
                          |   0 | buy 10 stop_limit 105 106           | 102 107 101 105                   | 1c a 10@106 taker none           | triggered, and the close is through the limit: at the limit, no slippage
                          |   0 | buy 10 stop_limit 105 106           | 102 107 101 106                   | -                                | triggered, the close only touches the limit
      touch               |   0 | buy 10 stop_limit 105 106           | 102 107 101 106                   | 1c a 10@106 taker none           | with touch that is enough
                          |   0 | buy 10 stop_limit 105 106           | 102 109 101 107                   | -                                | triggered; the low may have come before the trigger, the close is past the limit
                          |   0 | buy 10 stop_limit 105 106           | 102 109 101 107 ; 107 108 105 107 | 2c a 10@106 maker                | rests as a limit order from then on
                          |   0 | buy 10 stop_limit 105 106           | 102 109 101 107 ; 103 108 102 107 | 2o a 10@103 maker                | and is gapped through as one
                          |   0 | buy 10 stop_limit 105 106           | 102 109 101 107 ; 106 108 106 107 | -                                | and not filled by a touch
                          |   0 | sell 10 stop_limit 95 94            | 98 99 93 95                       | 1c a -10@94 taker none           | a sell alike: the close is above its limit
                          |   0 | sell 10 stop_limit 95 94            | 98 99 92 93 ; 93 95 92 93         | 2c a -10@94 maker                | closed past the limit; filled when traded through
                          |   0 | buy 10 stop_limit 105 106 ioc       | 102 104 101 103 ; 102 109 101 107 | 2c a canceled ioc                | waits for its trigger, then has that bar only
                          |   0 | buy 10 stop_limit 105 106 fok       | 102 109 101 107                   | 1c a canceled fok                | the same
                          |   0 | buy 10 stop_limit 105 106 ioc       | 102 109 101 104                   | 1c a 10@106 taker none           | filled in its bar
                          |   0 | buy 10 stop_limit 105 110           | 107 109 106 108                   | 1c a 10@110 taker none           | triggered at the open, tested at that bar's close: its limit, not the open
                          |   0 | buy 10 stop_limit 105 106           | 107 109 101 107                   | -                                | triggered at the open above its limit, the low does not count in this bar
                          |   0 | buy 10 stop_limit 105 106           | 107 109 101 107 ; 104 105 103 104 | 2o a 10@104 maker                | a resting limit from the next bar on
                          |   0 | buy 10 stop_limit 105 106           | 102 104 101 103 ; 107 109 101 107 | -                                | a resting one triggered at the open of bar 2
                          |   0 | sell 10 stop_limit 95 94 fok        | 92 99 91 93                       | 1c a canceled fok                | triggered at the open, the close is past its limit
      close_to_close      |   0 | buy 10 stop_limit 99 101            | 102 103 100 102                   | -                                | past its trigger at the close of bar 0, but triggered at the open of bar 1
      close_to_close      |   0 | buy 10 stop_limit 99 101            | 102 103 100 100                   | 1c a 10@101 taker none           | the same, with a close through the limit
      next_open           |   0 | buy 10 stop_limit 105 106           | 102 107 101 105                   | 1c a 10@106 taker none           | the stop options speak of stops, not of stop-limits
    """,
    "same bar": """
                          |  10 | sell 10 stop 95 reduce_only, sell 10 limit 105 reduce_only | 100 106 94 100 | 1c a -10@95 taker, 1c b canceled reduce_only, ambiguous=1 | pessimistic: the stop loss came first
                          |  10 | sell 10 limit 105 reduce_only, sell 10 stop 95 reduce_only | 100 106 94 100 | 1c b -10@95 taker, 1c a canceled reduce_only, ambiguous=1 | whichever was given first
                          | -10 | buy 10 stop 105 reduce_only, buy 10 limit 95 reduce_only   | 100 106 94 100 | 1c a 10@105 taker, 1c b canceled reduce_only, ambiguous=1 | a short alike
      ohlc                |  10 | sell 10 stop 95 reduce_only, sell 10 limit 105 reduce_only | 100 106 94 100 | 1c b -10@105 maker, 1c a canceled reduce_only, ambiguous=1 | the high came first
      olhc                |  10 | sell 10 stop 95 reduce_only, sell 10 limit 105 reduce_only | 100 106 94 100 | 1c a -10@95 taker, 1c b canceled reduce_only, ambiguous=1 | the low came first
      adaptive            |  10 | sell 10 stop 95 reduce_only, sell 10 limit 105 reduce_only | 100 106 93 100 | 1c b -10@105 maker, 1c a canceled reduce_only, ambiguous=1 | the high is nearer to the open, so it came first
      adaptive            |  10 | sell 10 stop 95 reduce_only, sell 10 limit 105 reduce_only | 100 107 94 100 | 1c a -10@95 taker, 1c b canceled reduce_only, ambiguous=1 | the low is nearer
      adaptive            |  10 | sell 10 stop 95 reduce_only, sell 10 limit 105 reduce_only | 100 106 94 100 | 1c b -10@105 maker, 1c a canceled reduce_only, ambiguous=1 | equally near: the high first
      fifo                |  10 | sell 10 limit 105 reduce_only, sell 10 stop 95 reduce_only | 100 106 94 100 | 1c a -10@105 maker, 1c b canceled reduce_only, ambiguous=1 | first in, first out
                          |   0 | buy 10 limit 95, buy 10 stop 105                           | 100 106 94 100 | 1c b 10@105 taker, 1c a 10@95 maker, ambiguous=1          | flat: stops before limits
                          |  10 | sell 10 limit 105, buy 10 limit 95                         | 100 106 94 100 | 1c b 10@95 maker, 1c a -10@105 maker, ambiguous=1         | what grows the position hurts before what closes it at a profit
                          |   0 | sell 10 stop 95 reduce_only, buy 10 stop 105               | 100 106 94 100 | 1c b 10@105 taker, 1c a -10@95 taker, ambiguous=1         | nothing to reduce at first; after b there is
                          |  10 | buy 5 stop 105, sell 10 stop 95                            | 100 106 94 100 | 1c b -10@95 taker, 1c a 5@105 taker, ambiguous=1          | of two stops the one that loses first
                          |  10 | sell 5 stop 95, sell 5 stop 97                             | 100 101 94 100 | 1c a -5@95 taker, 1c b -5@97 taker                        | one class: by age, and not ambiguous
      ohlc                |  10 | sell 5 stop 95, sell 5 stop 97                             | 100 101 94 100 | 1c b -5@97 taker, 1c a -5@95 taker                        | along the path the nearer is met first
      ohlc                |   0 | sell 5 limit 104, buy 5 stop 102, buy 5 limit 98           | 100 105 96 100 | 1c b 5@102 taker, 1c a -5@104 maker, 1c c 5@98 maker, ambiguous=1 | up to the high, then down
      olhc                |   0 | sell 5 limit 104, buy 5 stop 102, buy 5 limit 98           | 100 105 96 100 | 1c c 5@98 maker, 1c b 5@102 taker, 1c a -5@104 maker, ambiguous=1 | down to the low, then up
      ohlc                |   0 | sell 5 limit 103, buy 5 stop 103                           | 100 105 96 100 | 1c a -5@103 maker, 1c b 5@103 taker                       | the same price: by age
                          |  10 | sell 10 stop 95 reduce_only, sell 10 limit 105 reduce_only | 93 106 92 100  | 1o a -10@93 taker, 1c b canceled reduce_only              | the gap decided: the open came first, not ambiguous
                          |  10 | sell 10 stop 95 reduce_only, sell 10 limit 105 reduce_only | 107 108 94 100 | 1o b -10@107 taker, 1c a canceled reduce_only             | the other gap
                          |  10 | sell 10 stop 95 reduce_only, sell 10 limit 105 reduce_only | 100 105 94 100 | 1c a -10@95 taker                                         | the limit was only touched, so it is not in question
      touch               |  10 | sell 10 stop 95 reduce_only, sell 10 limit 105 reduce_only | 100 105 94 100 | 1c a -10@95 taker, 1c b canceled reduce_only, ambiguous=1 | with touch it is
                          |   0 | buy 1 stop 105, buy 1 limit 95, sell 1 stop 95, sell 1 limit 105 | 100 106 94 100 | 1c a 1@105 taker, 1c c -1@95 taker, 1c b 1@95 maker, 1c d -1@105 maker, ambiguous=1 | counted once a bar
                          |   0 | buy 1 stop 105, sell 1 stop 95                             | 100 106 94 100 ; 100 106 94 100 | 1c a 1@105 taker, 1c b -1@95 taker, ambiguous=1 | nothing is left to be ambiguous in bar 2
                          |   0 | buy 5 stop_limit 105 106, sell 5 stop 95                   | 100 106 94 100 | 1c a 5@106 taker none, 1c b -5@95 taker, ambiguous=1      | a stop-limit is a stop until it triggers
      next_open           |   0 | buy 5 stop 105, sell 5 stop 95                             | 100 106 94 100 ; 101 102 99 100 | 2o a 5@101 taker, 2o b -5@101 taker, ambiguous=1 | both wait, both fill at the next open, by age
    """,
    "time in force": """
                          |   0 | buy 10 limit 99 ioc                 | 100 103 98 101                    | 1o a canceled ioc                | not there on arrival: gone, whatever the bar does
                          |   0 | buy 10 limit 99 ioc                 | 98 103 97 101                     | 1o a 10@98 taker                 | there on arrival
                          |   0 | buy 10 limit 99 ioc                 | 99 103 97 101                     | 1o a canceled ioc                | a touch is not a fill
      touch               |   0 | buy 10 limit 99 ioc                 | 99 103 97 101                     | 1o a 10@99 taker                 | with touch it is
                          |   0 | sell 10 limit 101 fok               | 100 103 98 101                    | 1o a canceled fok                | not there on arrival
                          |   0 | sell 10 limit 101 fok               | 102 103 98 101                    | 1o a -10@102 taker               | there on arrival
      close_to_close      |   0 | buy 10 limit 99 ioc                 | 98 103 97 101                     | 0c a canceled ioc                | arrives at the close, which is above it
      close_to_close      |   0 | buy 10 limit 101 fok                | 98 103 97 101                     | 0c a 10@100 taker                | arrives at the close, which is below it
                          |   0 | buy 10 limit 99 gtd=1c              | 100 103 98 101                    | 1c a 10@99 maker                 | alive until the close: what is met inside still fills
                          |   0 | buy 10 limit 99 gtd=1c              | 100 103 99 101 ; 97 98 96 97      | 1c a expired                     | expires at the close of bar 1
                          |   0 | buy 10 limit 99 gtd=1+              | 100 103 99 101 ; 97 98 96 97      | 2o a expired                     | expired between the bars: the gap does not fill it
                          |   0 | buy 10 limit 99 gtd=2o              | 100 103 99 101 ; 97 98 96 97      | 2o a expired                     | at its very time it is no longer there
                          |   0 | buy 10 stop 105 gtd=1c              | 100 103 99 101 ; 107 108 106 107  | 1c a expired                     | a stop alike
                          |   0 | buy 5 limit 99 gtd=1+, buy 5 limit 98 gtd=1c, buy 5 limit 97 gtd=1+ | 100 103 99 101 ; 100 101 99 100 | 1c b expired, 2o a expired, 2o c expired | by time, then by age
      latency=1           |   0 | buy 10 gtd=1c                       | 100 103 99 101 ; 97 98 96 97      | 1c a expired                     | an order on its way expires too
                          |   0 | buy 10 limit 99 gtd=0c              | 100 103 99 101                    | 0c a rejected invalid            | its time is already over
                          |   0 | buy 10 limit 99 gtd                 | 100 103 99 101                    | 0c a rejected invalid            | good till when?
                          |   0 | buy 10 limit 99 expire=2c           | 100 103 99 101                    | 0c a rejected invalid            | GTC with a date contradicts itself
                          |   0 | buy 0                               | 100 103 99 101                    | 0c a rejected invalid            | nothing is ordered
                          |   0 | buy 10 limit 0                      | 100 103 99 101                    | 0c a rejected invalid            | a limit order without a limit
                          |   0 | buy 10 stop_limit 105 0             | 100 103 99 101                    | 0c a rejected invalid            | a stop-limit without its limit
    """,
    "cancel": """
                          |   0 | buy 10 limit 99, cancel a           | 100 103 98 101                    | 0c a canceled requested          | at once, before it arrives
                          |   0 | buy 10 limit 99, cancel a @1        | 100 103 99 101 ; 100 101 90 95    | 1c a canceled requested          | at once
                          |   0 | buy 10 limit 99, cancel a @1        | 100 103 98 101 ; 100 101 90 95    | 1c a 10@99 maker                 | too late
      latency=1           |   0 | buy 10 limit 99, cancel a           | 100 101 90 95 ; 97 101 90 95      | 2o a canceled requested          | the cancel is as slow as the order, and comes just before it
      latency=1           |   0 | buy 10 limit 99, cancel a @1        | 100 101 90 95 ; 100 101 98 100    | 2c a 10@99 maker                 | filled while the cancel was on its way
      latency=1           |   0 | buy 10 limit 95, cancel a @1        | 100 101 99 99 ; 100 101 98 100 ; 90 91 89 90 | 3o a canceled requested | a cancel that is due comes before what fills at that open
      latency=1           |   0 | buy 10 limit 95, cancel a @1, cancel a @2 | 100 101 99 99 ; 100 101 98 100 ; 90 91 89 90 ; 90 91 89 90 | 3o a canceled requested | asking twice changes nothing
    """,
    "post-only": """
                          |   0 | buy 10 limit 99 post_only           | 100 103 98 101                    | 1c a 10@99 maker                 | rests, and makes
                          |   0 | buy 10 limit 99 post_only           | 99 103 98 101                     | 1o a rejected post_only          | would meet the market on arrival
                          |   0 | buy 10 limit 99 post_only           | 98 103 97 101                     | 1o a rejected post_only          | would take
                          |   0 | sell 10 limit 101 post_only         | 101 103 98 101                    | 1o a rejected post_only          | a sell alike
                          |   0 | sell 10 limit 101 post_only gtd=2c  | 100 101 98 101 ; 100 102 99 101   | 2c a -10@101 maker               | with a date
                          |   0 | sell 10 limit 101 post_only         | 100 101 98 101 ; 105 106 104 105  | 2o a -10@105 maker               | rested before the gap, so it made
      close_to_close      |   0 | buy 10 limit 100 post_only          | 100 103 98 101                    | 0c a rejected post_only          | arrives at the close of 100
      close_to_close      |   0 | buy 10 limit 99 post_only           | 100 103 98 101                    | 1c a 10@99 maker                 | below the close: rests
                          |   0 | buy 10 post_only                    | 100 103 98 101                    | 0c a rejected invalid            | a market order cannot make
                          |   0 | buy 10 limit 99 post_only ioc       | 100 103 98 101                    | 0c a rejected invalid            | resting and at once contradict each other
                          |   0 | buy 10 stop_limit 105 106 post_only | 100 103 98 101                    | 0c a rejected invalid            | only plain limit orders
    """,
    "reduce-only": """
                          |  10 | sell 4 reduce_only                  | 103 105 101 104                   | 1o a -4@103 taker                | reduces
                          |  10 | sell 15 reduce_only                 | 103 105 101 104                   | 1o a -10@103 taker, 1o a canceled reduce_only | only what is held; the rest is dropped
                          |   0 | sell 10 reduce_only                 | 103 105 101 104                   | 1o a canceled reduce_only        | nothing to reduce
                          |  10 | buy 10 reduce_only                  | 103 105 101 104                   | 1o a canceled reduce_only        | would add
                          | -10 | buy 15 reduce_only                  | 103 105 101 104                   | 1o a 10@103 taker, 1o a canceled reduce_only | a short alike
                          |  10 | sell 15 reduce_only fok             | 103 105 101 104                   | 1o a canceled fok                | all of it cannot be filled
                          |  10 | sell 15 reduce_only ioc             | 103 105 101 104                   | 1o a -10@103 taker, 1o a canceled reduce_only | of both reasons the first
                          |  10 | sell 10, sell 10 limit 105 reduce_only | 103 106 101 104                | 1o a -10@103 taker, 1c b canceled reduce_only | found out when it would fill
                          |  10 | sell 10, sell 10 limit 105 reduce_only | 103 104 101 104                | 1o a -10@103 taker               | not before
                          |  10 | sell 6 limit 104 reduce_only, sell 6 limit 105 reduce_only | 103 106 101 104 | 1c a -6@104 maker, 1c b -4@105 maker, 1c b canceled reduce_only | the second finds 4
    """,
    "volume": """
      share=0.5           |   0 | buy 10                              | 103 105 101 104 v10 ; 107 108 106 107 v100 | 1o a 5@103 taker, 2o a 5@107 taker | half the bar's volume, the rest at the next open
      share=0.5           |   0 | buy 10                              | 103 105 101 104 v11 ; 107 108 106 107 v100 | 1o a 5@103 taker, 2o a 5@107 taker | rounded down to whole lots
      share=0.5           |   0 | buy 10                              | 103 105 101 104 v0 ; 107 108 106 107 v100  | 2o a 10@107 taker       | no volume, no fill
      share=0.5           |   0 | buy 10                              | 103 105 101 104 v?                | 1o a 10@103 taker                | an unknown volume is no limit
      share=0.5           |   0 | buy 10 ioc                          | 103 105 101 104 v10               | 1o a 5@103 taker, 1o a canceled ioc | what is there
      share=0.5           |   0 | buy 10 ioc                          | 103 105 101 104 v1                | 1o a canceled ioc                | half of one lot is none
      share=0.5           |   0 | buy 10 fok                          | 103 105 101 104 v10               | 1o a canceled fok                | all or nothing
      share=0.5           |   0 | buy 10 fok                          | 103 105 101 104 v20               | 1o a 10@103 taker                | all
      share=0.5           |   0 | buy 4, buy 4                        | 103 105 101 104 v10 ; 107 108 106 107 v10 | 1o a 4@103 taker, 1o b 1@103 taker, 2o b 3@107 taker | orders share one bar's volume
      share=0.5           |   0 | buy 10 limit 99                     | 102 103 98 101 v10 ; 102 103 98 101 v10 | 1c a 5@99 maker, 2c a 5@99 maker | the rest of a limit order rests
      share=0.5           |   0 | buy 10 limit 99                     | 102 103 98 101 v10 ; 97 98 96 97 v10 | 1c a 5@99 maker, 2o a 5@97 maker | and can be gapped through
      share=0.5           |   0 | buy 10 stop 105                     | 102 105 101 103 v10 ; 99 100 98 99 v10 | 1c a 5@105 taker, 2o a 5@99 taker | the rest of a triggered stop is a market order
      share=0.5           |   0 | buy 10 stop 105                     | 102 105 101 103 v0 ; 99 100 98 99 v20 | 2o a 10@99 taker         | triggered without volume: a market order all the same
      share=0.5           |   0 | buy 10 stop 105 ioc                 | 102 105 101 103 v10 ; 99 100 98 99 v10 | 1c a 5@105 taker, 1c a canceled ioc | from its trigger on the time in force counts
      share=0.5           |   0 | buy 10 stop_limit 105 106           | 102 107 101 105 v10 ; 107 108 105 107 v10 | 1c a 5@106 taker none, 2c a 5@106 maker | the rest of a stop-limit is a limit order
      share=0.5           |   0 | buy 5, buy 5 limit 99               | 102 103 98 101 v10 ; 102 103 98 101 v10 | 1o a 5@102 taker, 2c b 5@99 maker | what the open took is gone inside
      share=0.5           |   0 | buy 5 limit 99 ioc, buy 5           | 102 103 98 101 v10                | 1o a canceled ioc, 1o b 5@102 taker | what does not fill takes no volume
      share=0.5           |  10 | sell 10 stop 95 reduce_only, sell 10 limit 105 reduce_only | 100 106 94 100 v10 ; 94 95 93 94 v100 | 1c a -5@95 taker, 2o a -5@94 taker, ambiguous=1 | the limit finds no volume left and rests
      close_to_close latency=1 share=0.5 | 0 | buy 10                 | 103 105 101 104 v10 ; 107 108 106 107 v100 | 1c a 5@104 taker, 2o a 5@107 taker | at the close what the bar has left; the rest at the next open
      share=0.5           |  10 | sell 15 reduce_only                 | 103 105 101 104 v10 ; 107 108 106 107 v100 | 1o a -5@103 taker, 2o a -5@107 taker, 2o a canceled reduce_only | dropped only when the position is gone
    """,
    "slippage": """
      bps=10              |   0 | buy 10                              | 100 105 99 104                    | 1o a 10@101 taker                | 0.1 of a tick: rounded against the trader to a whole one
      bps=10              |   0 | sell 10                             | 100 105 99 104                    | 1o a -10@99 taker                | a sell alike
      bps=100             |   0 | buy 10                              | 200 205 199 204                   | 1o a 10@202 taker                | exactly 2 ticks
      bps=101             |   0 | sell 10                             | 100 105 99 104                    | 1o a -10@98 taker                | 1.01 ticks are 2
      ticks=3             |   0 | buy 10                              | 100 105 99 104                    | 1o a 10@103 taker ticks          | fixed
      ticks=3             |   0 | sell 10                             | 2 5 1 4                           | 1o a -10@1 taker ticks           | no price is below one tick
      spread_bps=100      |   0 | buy 10                              | 100 105 99 104                    | 1o a 10@101 taker spread         | half of 1 tick is half a tick: rounded to 1
      spread_bps=400      |   0 | buy 10                              | 100 105 99 104                    | 1o a 10@102 taker spread         | half of 4 ticks
      spread_ticks=3      |   0 | sell 10                             | 100 105 99 104                    | 1o a -10@98 taker spread         | half of 3 ticks, rounded up
      spread_ticks=2 bps=110 | 0 | buy 10                             | 100 105 99 104                    | 1o a 10@103 taker spread         | half the spread, plus 1.1 ticks rounded to 2
      spread_bps=100 bps=50 | 0 | buy 10                              | 100 105 99 104                    | 1o a 10@102 taker spread         | each part is rounded: 1 + 1
      spread_bps=0 bps=110 | 0 | buy 10                               | 100 105 99 104                    | 1o a 10@102 taker                | no spread known: bps, and it says so
      atr=0.5/3 bps=110   |   0 | buy 10                              | 100 105 99 104                    | 1o a 10@102 taker                | two bars complete of three: bps until then
      atr=1.5/2 bps=110   |   0 | buy 10 @1                           | 100 104 99 104 ; 100 101 99 100   | 2o a 10@104 taker atr            | true ranges 0 0 5: mean of the first two 0, then (0 + 5) / 2 = 2.5; 3.75 ticks are 4
      atr=1/3             |   0 | buy 10 @1                           | 100 106 97 104 ; 100 101 99 100   | 2o a 10@103 taker atr            | (0 + 0 + 9) / 3 = 3 ticks
      atr=1/3             |   0 | sell 10 @1                          | 103 104 103 104 ; 104 105 103 104 | 2o a -10@102 taker atr           | the gap counts: true range 104 - 100, mean 4/3, rounded to 2
      ticks=3             |   0 | buy 10 limit 101                    | 100 105 99 104                    | 1o a 10@101 taker ticks          | a limit order never pays more than its limit
      ticks=3             |   0 | buy 10 limit 110                    | 100 105 99 104                    | 1o a 10@103 taker ticks          | and pays the slippage up to it
      ticks=3             |   0 | sell 10 limit 99                    | 100 105 98 104                    | 1o a -10@99 taker ticks          | a sell alike
      ticks=3             |   0 | buy 10 limit 99                     | 100 105 98 104                    | 1c a 10@99 maker                 | who makes does not slip
      ticks=3             |   0 | buy 10 limit 99                     | 100 105 99 104 ; 95 96 94 95      | 2o a 10@95 maker                 | nor at a gap
      ticks=3             |   0 | buy 10 stop 105                     | 100 105 99 104                    | 1c a 10@108 taker ticks          | a stop takes: trigger, then slippage
      ticks=3             |   0 | buy 10 stop 105                     | 107 108 106 107                   | 1o a 10@110 taker ticks          | worse of open and trigger, then slippage
      trigger ticks=3     |   0 | buy 10 stop 105                     | 107 108 106 107                   | 1o a 10@108 taker ticks          | trigger, then slippage
      next_open ticks=3   |   0 | sell 10 stop 95                     | 100 101 94 96 ; 99 100 98 99      | 2o a -10@96 taker ticks          | next open, then slippage
      ticks=3             |   0 | buy 10 stop_limit 105 106           | 102 107 101 105                   | 1c a 10@106 taker none           | a stop-limit in its own bar is at its limit already
      close_to_close ticks=3 | 0 | sell 10                            | 100 105 99 104                    | 0c a -10@97 taker ticks          | slippage at the close too
    """,
}
