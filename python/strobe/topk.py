"""The largest values of rows and their indices; those of scores, moved to where a paged or ragged cache has them.

`input` is [num_rows, max_len], f32, f16 or bf16. Results are exact and always in order, whatever `sorted` and
`deterministic` say: values from the largest down, equal ones by their index; the transforms' indices from the lowest up.
`TopKTieBreak` says which of equal values come first: those of the lower index (`NONE`, `SMALL`) or of the higher (`LARGE`).
NaN comes before +inf.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Optional

from ._frameworks import framework_of
from ._native import Calls

Tensor = Any


class TopKTieBreak(IntEnum):
    """Which of equal values come first."""

    NONE = 0
    SMALL = 1
    LARGE = 2


_calls = Calls(
    top_k="top_k(input, values, indices, last_first)",
    ragged="top_k_ragged_transform(scores, lengths, row_starts, offsets, out, last_first)",
    page_table="top_k_page_table_transform(scores, lengths, row_starts, page_table, row_to_batch, page_table_row_starts, out, "
    "raw_indices, page_size, last_first)",
)


def _last_first(tie_break: int) -> bool:
    return TopKTieBreak(tie_break) is TopKTieBreak.LARGE


def top_k(
    input: Tensor,
    k: int,
    sorted: bool = False,
    deterministic: bool = False,
    tie_break: int = TopKTieBreak.NONE,
    dsa_graph_safe: bool = False,
) -> tuple[Tensor, Tensor]:
    """The k largest values of each row, like `input`, and their indices, int64.

    >>> import numpy as np
    >>> values, indices = top_k(np.float32([[1, 5, 3, 5]]), 3)
    >>> values.tolist(), indices.tolist()
    ([[5.0, 5.0, 3.0]], [[1, 3, 2]])
    """
    framework = framework_of(input, "top_k: input")
    shape = (input.shape[0], k)
    values = framework.empty(shape, input)
    indices = framework.empty(shape, input, "i64")
    _calls.top_k(input, values, indices, _last_first(tie_break))
    return framework.result(values), framework.result(indices)


def top_k_ragged_transform(
    input: Tensor,
    offsets: Tensor,
    lengths: Tensor,
    k: int,
    deterministic: bool = False,
    tie_break: int = TopKTieBreak.NONE,
    dsa_graph_safe: bool = False,
    row_starts: Optional[Tensor] = None,
) -> Tensor:
    """offsets[i] plus the indices of the k largest of the `lengths[i]` scores that row i has from `row_starts[i]` on.

    Returns int32 [num_rows, k]; a row of fewer than k scores gives all of them, and then -1.

    >>> import numpy as np
    >>> scores = np.float32([[1, 5, 3, 9], [4, 2, 0, 0]])
    >>> top_k_ragged_transform(scores, np.int32([0, 10]), np.int32([4, 1]), 2).tolist()
    [[1, 3], [10, -1]]
    """
    framework = framework_of(input, "top_k_ragged_transform: input")
    out = framework.empty((input.shape[0], k), input, "i32")
    _calls.ragged(input, lengths, row_starts, offsets, out, _last_first(tie_break))
    return framework.result(out)


def top_k_page_table_transform(
    input: Tensor,
    src_page_table: Tensor,
    lengths: Tensor,
    k: int,
    row_to_batch: Optional[Tensor] = None,
    deterministic: bool = False,
    tie_break: int = TopKTieBreak.NONE,
    dsa_graph_safe: bool = False,
    row_starts: Optional[Tensor] = None,
    page_table_row_starts: Optional[Tensor] = None,
    *,
    page_size: int = 1,
    out: Optional[Tensor] = None,
    out_raw_indices: Optional[Tensor] = None,
) -> Tensor:
    """src_page_table[row_to_batch[i], page_table_row_starts[i] + x // page_size] * page_size + x % page_size for the indices x of
    the k largest of the `lengths[i]` scores that row i has from `row_starts[i]` on.

    Returns int32 [num_rows, k], `out` where it is given; a row of fewer than k scores gives all of them, and then -1.
    `out_raw_indices` gets x.

    >>> import numpy as np
    >>> top_k_page_table_transform(np.float32([[1, 5, 3, 9]]), np.int32([[7, 4]]), np.int32([4]), 2, page_size=2).tolist()
    [[15, 9]]
    """
    framework = framework_of(input, "top_k_page_table_transform: input")
    result = framework.empty((input.shape[0], k), input, "i32") if out is None else out
    _calls.page_table(
        input, lengths, row_starts, src_page_table, row_to_batch, page_table_row_starts, result, out_raw_indices, page_size,
        _last_first(tie_break),
    )  # fmt: skip
    return framework.result(result) if out is None else out
