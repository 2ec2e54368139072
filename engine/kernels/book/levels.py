"""One order book by price: a window of cells around the market, and a table for every price outside it.

Most changes fall near the best prices. Those lie in a circular array of `window` ticks a side, so that setting a
level is one write and finding the next best price a short walk. All other prices stand in an open-addressing table
of the book, so no price is out of bounds. When the market nears the window's edge, the window moves. A book of many
levels is given a wider window (`engine/book_state.py`); how wide it is changes nothing but the speed.
"""

from __future__ import annotations

from typing import Any

from engine.kernels.arithmetic import multiply_wrapping
from engine.kernels.compile import inner, kernel
from engine.kernels.layout import ASK, BID
from engine.kernels.tables import book_at, cell_at, far_at, first_at

_SPREAD = 0x9E3779B97F4A7C15 - 2**64


@inner
def place_of(book: Any, side: int, price: int) -> int:
    """The place in the table of cells of a price inside the window."""
    return book.cell_offset + side * book.window + (price & (book.window - 1))


@inner
def is_near(book: Any, price: int) -> bool:
    """Whether a price lies inside the book's window."""
    return price >= book.base and price - book.base < book.window


@inner
def _far_home(book: Any, key: int) -> int:
    mixed = multiply_wrapping(key, _SPREAD)
    return (mixed ^ (mixed >> 29)) & (book.far_size - 1)


@inner
def far_place(core: Any, index: int, side: int, price: int) -> int:
    """The place in the table of far levels where a price stands, or the empty one where it would."""
    book = book_at(core, index)
    key = 2 * price + side
    place = _far_home(book, key)
    while True:
        found = far_at(core, book.far_offset + place).key
        if found == key or found == 0:
            return book.far_offset + place
        place = (place + 1) & (book.far_size - 1)


@inner
def _far_take(core: Any, index: int, side: int, price: int) -> int:
    """The place of a far level, made where there was none."""
    place = far_place(core, index, side, price)
    row = far_at(core, place)
    if row.key == 0:
        row.key, row.lots, row.first = 2 * price + side, 0, 0
        book_at(core, index).far_used += 1
    return place


@inner
def _far_drop(core: Any, index: int, place: int) -> None:
    """Remove a far level, moving later ones back so that no search breaks off early."""
    book = book_at(core, index)
    mask, offset = book.far_size - 1, book.far_offset
    gap = place - offset
    following = gap
    book.far_used -= 1
    while True:
        following = (following + 1) & mask
        row = far_at(core, offset + following)
        if row.key == 0:
            break
        home = _far_home(book, row.key)
        if ((following - home) & mask) >= ((following - gap) & mask):
            target = far_at(core, offset + gap)
            target.key, target.lots, target.first = row.key, row.lots, row.first
            gap = following
    far_at(core, offset + gap).key = 0


@inner
def lots_at(core: Any, index: int, side: int, price: int) -> int:
    """The size standing at a price."""
    book = book_at(core, index)
    if is_near(book, price):
        return cell_at(core, place_of(book, side, price)).lots
    row = far_at(core, far_place(core, index, side, price))
    return row.lots if row.key != 0 else 0


@inner
def first_order_at(core: Any, index: int, side: int, price: int) -> int:
    """The slot of the first of our orders resting at a price, or -1."""
    book = book_at(core, index)
    if is_near(book, price):
        return first_at(core, place_of(book, side, price)).slot - 1
    row = far_at(core, far_place(core, index, side, price))
    return row.first - 1 if row.key != 0 else -1


@inner
def set_first_order(core: Any, index: int, side: int, price: int, slot: int) -> None:
    """Make an order the first of ours at a price; -1: there is none any more."""
    book = book_at(core, index)
    if is_near(book, price):
        first_at(core, place_of(book, side, price)).slot = slot + 1
        return
    place = _far_take(core, index, side, price)
    row = far_at(core, place)
    row.first = slot + 1
    if row.lots == 0 and row.first == 0:
        _far_drop(core, index, place)


@inner
def _far_behind(core: Any, index: int, side: int, price: int) -> int:
    """The best far level of a side that is worse than a price; 0 where none is."""
    book = book_at(core, index)
    best = 0
    for place in range(book.far_offset, book.far_offset + book.far_size):
        row = far_at(core, place)
        if row.key == 0 or row.lots == 0 or (row.key & 1) != side:
            continue
        found = row.key >> 1
        if side == BID:
            if found < price and found > best:
                best = found
        elif found > price and (best == 0 or found < best):
            best = found
    return best


@inner
def level_behind(core: Any, index: int, side: int, price: int) -> int:
    """The best price of a side that is worse than `price`; 0 where none is."""
    book = book_at(core, index)
    found, is_far_first = 0, False
    if side == BID:
        is_far_first = price > book.base + book.window
        if book.window_bids > 0:
            candidate = min(price, book.base + book.window) - 1
            while candidate >= book.base:
                if cell_at(core, place_of(book, BID, candidate)).lots > 0:
                    found = candidate
                    break
                candidate -= 1
    else:
        is_far_first = price < book.base - 1
        if book.window_asks > 0:
            candidate = max(price, book.base - 1) + 1
            while candidate < book.base + book.window:
                if cell_at(core, place_of(book, ASK, candidate)).lots > 0:
                    found = candidate
                    break
                candidate += 1
    if found > 0 and not is_far_first:
        return found
    far = _far_behind(core, index, side, price) if book.far_used > 0 else 0
    if far == 0 or found == 0:
        return max(far, found)
    return max(far, found) if side == BID else min(far, found)


@kernel
def write_depth(state: Any, index: int, side: int, rows: Any) -> int:
    """Write a side's best levels, best first, into (n, 2) rows of price and size; returns how many there were."""
    core = state[0]
    book = book_at(core, index)
    price = book.best_bid if side == BID else book.best_ask
    count = 0
    while price > 0 and count < rows.shape[0]:
        rows[count, 0], rows[count, 1] = price, lots_at(core, index, side, price)
        count += 1
        price = level_behind(core, index, side, price)
    return count


@inner
def set_level(core: Any, index: int, side: int, price: int, lots: int) -> int:
    """Let a size stand at a price; returns what stood there. Keeps the best prices."""
    book = book_at(core, index)
    is_inside = is_near(book, price)
    if is_inside:
        cell = cell_at(core, place_of(book, side, price))
        before = cell.lots
        cell.lots = lots
    else:
        before = _set_far(core, index, side, price, lots)
    if (before == 0) != (lots == 0):
        change = 1 if before == 0 else -1
        book.level_count += change
        core.level_total += change
        if is_inside:
            if side == BID:
                book.window_bids += change
            else:
                book.window_asks += change
    if side == BID:
        if lots > 0:
            book.best_bid = max(book.best_bid, price)
        elif price == book.best_bid:
            book.best_bid = level_behind(core, index, BID, price)
    elif lots > 0:
        if price < book.best_ask or book.best_ask == 0:
            book.best_ask = price
    elif price == book.best_ask:
        book.best_ask = level_behind(core, index, ASK, price)
    return before


@inner
def _set_far(core: Any, index: int, side: int, price: int, lots: int) -> int:
    place = far_place(core, index, side, price)
    row = far_at(core, place)
    if row.key == 0:
        if lots > 0:
            row.key, row.lots, row.first = 2 * price + side, lots, 0
            book_at(core, index).far_used += 1
        return 0
    before = row.lots
    row.lots = lots
    if lots == 0 and row.first == 0:
        _far_drop(core, index, place)
    return before


@inner
def clear_book(core: Any, index: int) -> None:
    """Empty a book; our own orders stay at their prices."""
    book = book_at(core, index)
    for side in range(2):
        if (book.window_bids if side == BID else book.window_asks) > 0:
            start = book.cell_offset + side * book.window
            for place in range(start, start + book.window):
                cell_at(core, place).lots = 0
    if book.far_used > 0:
        for place in range(book.far_offset, book.far_offset + book.far_size):
            row = far_at(core, place)
            row.lots = 0
            if row.key != 0 and row.first == 0:
                row.key = 0
                book.far_used -= 1
        _rehash(core, index)
    core.level_total -= book.level_count
    book.level_count, book.window_bids, book.window_asks = 0, 0, 0
    book.best_bid, book.best_ask = 0, 0


@inner
def _rehash(core: Any, index: int) -> None:
    """Put what is left of the far levels where searches find it: each entry is lifted out and set anew, twice round."""
    book = book_at(core, index)
    if book.far_used == 0:
        return
    for turn in range(2 * book.far_size):
        row = far_at(core, book.far_offset + (turn & (book.far_size - 1)))
        if row.key == 0:
            continue
        key, lots, first = row.key, row.lots, row.first
        row.key = 0
        target = far_at(core, far_place(core, index, key & 1, key >> 1))
        target.key, target.lots, target.first = key, lots, first


@kernel
def settle_far(state: Any, index: int) -> None:
    """After its table of far levels has grown: put every level where searches find it."""
    _rehash(state[0], index)


@inner
def _move_out(core: Any, index: int, side: int, price: int) -> None:
    book = book_at(core, index)
    place = place_of(book, side, price)
    cell, first = cell_at(core, place), first_at(core, place)
    if cell.lots == 0 and first.slot == 0:
        return
    row = far_at(core, _far_take(core, index, side, price))
    row.lots, row.first = cell.lots, first.slot
    if cell.lots > 0:
        if side == BID:
            book.window_bids -= 1
        else:
            book.window_asks -= 1
    cell.lots, first.slot = 0, 0


@inner
def _move_in(core: Any, index: int, side: int, price: int) -> None:
    place = far_place(core, index, side, price)
    row = far_at(core, place)
    if row.key == 0:
        return
    book = book_at(core, index)
    cell = cell_at(core, place_of(book, side, price))
    cell.lots = row.lots
    first_at(core, place_of(book, side, price)).slot = row.first
    if cell.lots > 0:
        if side == BID:
            book.window_bids += 1
        else:
            book.window_asks += 1
    _far_drop(core, index, place)


@inner
def move_window(core: Any, index: int, base: int) -> None:
    """Let the window begin at another price: levels that leave it go to the far table, levels it reaches come in."""
    book = book_at(core, index)
    before = book.base
    shift = base - before
    count = min(abs(shift), book.window)
    for step in range(count):
        leaving = before + step if shift > 0 else before + book.window - 1 - step
        for side in range(2):
            _move_out(core, index, side, leaving)
    book.base = base
    if book.far_used == 0:
        return
    for step in range(count):
        entering = base + book.window - 1 - step if shift > 0 else base + step
        for side in range(2):
            _move_in(core, index, side, entering)


@inner
def follow_market(core: Any, index: int) -> None:
    """Move the window where the market has come near its edge."""
    book = book_at(core, index)
    low = book.best_bid if book.best_bid > 0 else book.best_ask
    high = book.best_ask if book.best_ask > 0 else book.best_bid
    if low == 0:
        return
    middle = low + (high - low) // 2
    margin = book.window // 8
    if middle < book.base + margin or middle >= book.base + book.window - margin:
        move_window(core, index, max(1, middle - book.window // 2))


@inner
def has_room(core: Any, book: Any) -> bool:
    """Whether one more level, and every one of our orders at its own price, would leave the far table half empty."""
    return book.level_count + core.live_orders + 2 <= book.far_size // 2
