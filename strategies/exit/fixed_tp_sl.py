"""Leave when the close is a fixed part of the entry price better (take profit) or worse (stop loss)."""


class FixedTpSl:
    inputs = {
        "tp": {"type": "float", "default": 0.05, "min": 0.0001, "max": 10.0, "help": "0.05 is 5 %."},
        "sl": {"type": "float", "default": 0.02, "min": 0.0001, "max": 1.0, "help": "0.02 is 2 %."},
    }

    def __init__(self, tp, sl):
        self.tp = tp
        self.sl = sl

    def should_exit(self, window, entry_price):
        change = window.side * (window.price / entry_price - 1)  # side: 1 long, -1 short
        return change >= self.tp or change <= -self.sl
