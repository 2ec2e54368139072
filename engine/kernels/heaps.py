"""Pairing heaps threaded through the order slots: insert O(1), remove any order O(log n), no memory of their own.

`heap` picks one of the three nodes of a slot (BY_PRICE, BY_TIME, BY_CANCEL), so that an order may stand in
three heaps at once. The least key is on top; equal keys go by order id. -1 is the empty heap. `previous` is the
parent for a first child, the left sibling for the others.
"""

from __future__ import annotations

from typing import Any

from engine.kernels.compile import inner
from engine.kernels.tables import node_at, order_at


@inner
def _meld(core: Any, heap: int, a: int, b: int) -> int:
    """Join two heaps by their roots; returns the new root."""
    first, second = a, b
    key_a, key_b = node_at(core, heap, a).key, node_at(core, heap, b).key
    if key_b < key_a or (key_b == key_a and order_at(core, b).id < order_at(core, a).id):
        first, second = b, a
    top, under = node_at(core, heap, first), node_at(core, heap, second)
    under.next = top.child
    under.previous = first
    if top.child >= 0:
        node_at(core, heap, top.child).previous = second
    top.child = second
    top.next = -1
    top.previous = -1
    return first


@inner
def heap_push(core: Any, heap: int, root: int, slot: int, key: int) -> int:
    """Add a slot; returns the new root."""
    node = node_at(core, heap, slot)
    node.key = key
    node.child = -1
    node.next = -1
    node.previous = -1
    if root < 0:
        return slot
    return _meld(core, heap, root, slot)


@inner
def _meld_children(core: Any, heap: int, first: int) -> int:
    """Join a list of siblings in pairs, then the pairs from right to left."""
    stack = -1
    node = first
    while node >= 0:
        partner = node_at(core, heap, node).next
        following = -1
        if partner >= 0:
            following = node_at(core, heap, partner).next
            node = _meld(core, heap, node, partner)
        node_at(core, heap, node).next = stack
        stack = node
        node = following
    root = -1
    while stack >= 0:
        top = node_at(core, heap, stack)
        following = top.next
        top.next = -1
        top.previous = -1
        root = stack if root < 0 else _meld(core, heap, root, stack)
        stack = following
    return root


@inner
def heap_pop(core: Any, heap: int, root: int) -> int:
    """Take the top away; returns the new root."""
    return _meld_children(core, heap, node_at(core, heap, root).child)


@inner
def heap_remove(core: Any, heap: int, root: int, slot: int) -> int:
    """Take any slot out of its heap; returns the new root."""
    if slot == root:
        return heap_pop(core, heap, root)
    node = node_at(core, heap, slot)
    before = node_at(core, heap, node.previous)
    if before.child == slot:
        before.child = node.next
    else:
        before.next = node.next
    if node.next >= 0:
        node_at(core, heap, node.next).previous = node.previous
    rest = _meld_children(core, heap, node.child)
    if rest < 0:
        return root
    return _meld(core, heap, root, rest)
