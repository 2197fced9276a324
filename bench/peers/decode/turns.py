"""Copies of keys and values that are read in turn, so that no cache of the machine answers for memory."""


class Turns:
    """Calls functions one after the other, round and round; `last` is the number of the one called last."""

    def __init__(self, functions):
        self.functions, self.last = functions, -1

    def __call__(self):
        self.last = (self.last + 1) % len(self.functions)
        self.functions[self.last]()
