"""Compiled indicators, each defined once, as a step from one bar to the next.

Every kernel has the shape `name(inputs..., outputs..., state, parameters..., start, stop)`: it reads bars
[start, stop) of its inputs, writes the same bars of its outputs, and carries everything else in `state`, a
float64 array that starts as zeros and has `name_state_size(parameters...)` elements (counts in it are whole
numbers, exact below 2**53). A whole column is one call, a live bar is one call, and any cut of the same bars
gives the same bits, because there is no other code.

A bar with an input that is not finite is skipped: its outputs are NaN and the state stays as it was. So the
NaNs at the front of one indicator do no harm to an indicator of that indicator.
"""
