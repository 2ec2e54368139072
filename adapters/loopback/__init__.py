"""An exchange on one's own machine: Binance USD-M's REST and websocket, from a raw capture or from a seeded market.

It is there to try strategies, alarms and the daemon without network: every fault of a venue can be played, by name and
time. It listens on 127.0.0.1 alone, keeps no accounts and takes no orders.
"""
