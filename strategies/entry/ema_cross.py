"""Enter long when the fast EMA crosses above the slow one."""


class EmaCross:
    inputs = {
        "fast": {"type": "int", "default": 12, "min": 1, "max": 500},
        "slow": {"type": "int", "default": 26, "min": 1, "max": 500},
    }

    def __init__(self, fast, slow):
        self.fast = fast
        self.slow = slow

    def should_enter(self, window):
        if window.index < 1:
            return False
        fast = window.ind.ema(window.close, self.fast)
        slow = window.ind.ema(window.close, self.slow)
        return fast[-1] > slow[-1] and fast[-2] <= slow[-2]
