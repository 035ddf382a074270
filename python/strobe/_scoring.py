"""Masks of multi-item scoring: candidates behind one prefix, in one sequence, that do not see each other."""

from __future__ import annotations

from typing import Sequence


def scoring_mask(qo_len: int, kv_len: int, prefix_len: int, token_positions: Sequence[int]) -> bytes:
    """The mask [qo_len, kv_len] of a request, bit i * kv_len + j of it, little endian.

    The query token at position p sees the keys j <= p that are in the prefix (j < prefix_len), or among the
    token_positions[p - prefix_len] last ones: those of its own item. A delimiter has 0 there.

    >>> mask = scoring_mask(2, 5, 2, [0, 1, 2])
    >>> [[mask[(5 * i + j) // 8] >> (5 * i + j) % 8 & 1 for j in range(5)] for i in range(2)]
    [[1, 1, 0, 1, 0], [1, 1, 0, 1, 1]]
    """
    if kv_len - prefix_len > len(token_positions):
        raise ValueError(
            f"token_pos_in_items_ptr: expected a position for each of the {kv_len - prefix_len} tokens behind the prefix, "
            f"got {len(token_positions)}"
        )

    def row(position: int) -> int:
        if position < prefix_len:
            return (1 << (position + 1)) - 1 if position >= 0 else 0
        own = min(token_positions[position - prefix_len], position + 1)
        return ((1 << prefix_len) - 1) | ((1 << own) - 1) << (position + 1 - own)

    chunks = []
    first = kv_len - qo_len
    for begin in range(first, kv_len, 8):  # eight rows end with a whole byte
        rows = [row(position) << kv_len * i for i, position in enumerate(range(begin, min(begin + 8, kv_len)))]
        chunks.append(sum(rows).to_bytes((kv_len * len(rows) + 7) // 8, "little"))
    return b"".join(chunks)
