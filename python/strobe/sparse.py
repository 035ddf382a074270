"""Block-sparse attention: queries see some blocks of dense keys only.

It runs as batched attention, in which a block of rows is a request and a block of columns a page of the keys. What is
not let through is not read; a row that sees nothing gets out 0 and lse -inf. The columns that a row block sees count as
if they stood side by side, its own rows at their end: so a causal mask and positions on the fly see them.
"""

from __future__ import annotations

import math
from typing import Any, Optional, Union

from ._attention import options, refuse
from ._frameworks import Framework, framework_of
from .prefill import BatchPrefillWithPagedKVCacheWrapper

Tensor = Any
Result = Union[Tensor, tuple[Tensor, Tensor]]


class _Sparse:
    """A plan over pages of dense keys."""

    def __init__(self, float_workspace_buffer: Tensor, backend: str = "auto") -> None:
        self._pages = BatchPrefillWithPagedKVCacheWrapper(float_workspace_buffer, "NHD", backend=backend)

    def reset_workspace_buffer(
        self,
        float_workspace_buffer: Tensor,
        int_workspace_buffer: Optional[Tensor] = None,
        vector_sparse_indices_buffer: Optional[Tensor] = None,
        vector_sparse_indptr_buffer: Optional[Tensor] = None,
    ) -> None:
        """Names another buffer, as for the other wrappers."""
        self._pages.reset_workspace_buffer(float_workspace_buffer)

    def run_return_lse(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """`run` with return_lse=True."""
        return self.run(*args, **{**kwargs, "return_lse": True})  # type: ignore[attr-defined,no-any-return]

    def _replan(
        self,
        pos_encoding_mode: str = "NONE",
        use_fp16_qk_reduction: bool = False,
        logits_soft_cap: Optional[float] = None,
        sm_scale: Optional[float] = None,
        rope_scale: Optional[float] = None,
        rope_theta: Optional[float] = None,
    ) -> None:
        """Gives a plan the attributes of FlashInfer's old `forward`."""
        if hasattr(self, "_shape"):
            asked = options(pos_encoding_mode, -1, logits_soft_cap, sm_scale, rope_scale, rope_theta)
            self._pages._check_planned().replan(**asked)

    def end_forward(self) -> None:
        """Nothing to do; FlashInfer's old name."""


def _expect(condition: bool, where: str, expectation: str) -> None:
    if not condition:
        raise ValueError(f"{where}: expected {expectation}")


class BlockSparseAttentionWrapper(_Sparse):
    """Blocks of one size, the same for all heads, as a block-compressed sparse row matrix.

    >>> import numpy as np
    >>> wrapper = BlockSparseAttentionWrapper(np.empty(1, np.uint8))
    >>> wrapper.plan(  # row block 0 sees column block 1, row block 1 sees both
    ...     np.int32([0, 1, 3]), np.int32([1, 0, 1]), M=4, N=4, R=2, C=2, num_qo_heads=1, num_kv_heads=1, head_dim=64,
    ...     q_data_type="float32", o_data_type="float32",
    ... )
    >>> v = np.float32([1, 3, 5, 7]).reshape(4, 1, 1) * np.ones((4, 1, 64), np.float32)
    >>> q = np.zeros((4, 1, 64), np.float32)
    >>> wrapper.run(q, v, v)[:, 0, 0].tolist()
    [6.0, 6.0, 4.0, 4.0]
    """

    def plan(
        self,
        indptr: Tensor,
        indices: Tensor,
        M: int,
        N: int,
        R: int,
        C: int,
        num_qo_heads: int,
        num_kv_heads: int,
        head_dim: int,
        mask: Optional[Tensor] = None,
        packed_mask: Optional[Tensor] = None,
        causal: bool = False,
        pos_encoding_mode: str = "NONE",
        use_fp16_qk_reduction: bool = False,
        logits_soft_cap: Optional[float] = None,
        sm_scale: Optional[float] = None,
        rope_scale: Optional[float] = None,
        rope_theta: Optional[float] = None,
        q_data_type: Any = "float16",
        kv_data_type: Any = None,
        o_data_type: Any = "float16",
        non_blocking: bool = True,
        block_mask: Optional[Tensor] = None,
    ) -> None:
        """Says which blocks are seen.

        Args:
            indptr: int32 [ceil(M / R) + 1]: row block i sees the blocks indices[indptr[i]:indptr[i + 1]].
            indices: int32 [num_blocks]: block columns, below N / C.
            M, N: queries and keys; N is a multiple of C.
            R, C: rows and columns of a block.
            mask: bool [num_blocks, R, C]: what is seen within each block.
            packed_mask: the same by row block, [rows, columns that it sees], as `segment_packbits` packs it.
            o_data_type: of outputs; float16 by default, as FlashInfer has it.
        """
        where = "BlockSparseAttentionWrapper.plan"
        refuse(where, block_mask=block_mask)
        framework = framework_of(indptr, f"{where}: indptr")
        starts = framework.to_host(indptr).tolist()
        blocks = framework.to_host(indices).tolist()
        rows = [min(R, M - begin) for begin in range(0, M, R)]
        _expect(R > 0 and C > 0 and N % C == 0, where, f"N to be a multiple of C, got N = {N}, C = {C}, R = {R}")
        _expect(
            len(starts) == len(rows) + 1 and starts[0] == 0 and starts[-1] == len(blocks), where,
            f"an indptr of {len(rows) + 1} numbers from 0 to {len(blocks)}, got {len(starts)} to {starts[-1:]}",
        )  # fmt: skip
        outside = [block for block in blocks if not 0 <= block < N // C]
        _expect(not outside, where, f"indices in [0, {N // C}), got {outside[:1]}")
        ends = [0]
        for size in rows:
            ends.append(ends[-1] + size)
        seen = [end > begin for begin, end in zip(starts, starts[1:])]
        self._shape = (M, N, C)
        self._pages.plan(
            framework.from_list(ends, indptr), indptr, indices, framework.from_list([C * s for s in seen], indptr),
            num_qo_heads, num_kv_heads, head_dim, C,
            custom_mask=None if mask is None or packed_mask is not None else _by_rows(mask, starts, rows),
            packed_custom_mask=packed_mask, causal=causal, pos_encoding_mode=pos_encoding_mode, sm_scale=sm_scale,
            logits_soft_cap=logits_soft_cap, rope_scale=rope_scale, rope_theta=rope_theta, q_data_type=q_data_type,
            kv_data_type=kv_data_type, o_data_type=o_data_type,
        )  # fmt: skip

    def run(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        scale_q: Optional[Tensor] = None,
        scale_k: Optional[Tensor] = None,
        scale_v: Optional[Tensor] = None,
        out: Optional[Tensor] = None,
        lse: Optional[Tensor] = None,
        return_lse: bool = False,
        enable_pdl: Optional[bool] = None,
    ) -> Result:
        """Attends as planned: `q` is [M, num_qo_heads, head_dim], `k` and `v` are [N, num_kv_heads, head_dim]."""
        where = "BlockSparseAttentionWrapper.run"
        refuse(where, scale_q=scale_q, scale_k=scale_k, scale_v=scale_v)
        if not hasattr(self, "_shape"):
            raise ValueError(f"{where}: expected plan to be called before it")
        rows, columns, size = self._shape
        for name, tensor, tokens in (("q", q, rows), ("k", k, columns), ("v", v, columns)):
            _expect(tensor.shape[0] == tokens, where, f"{tokens} rows of {name} as planned, got {tensor.shape[0]}")
        pages = [x.reshape(-1, size, *x.shape[1:]) for x in (k, v)]
        return self._pages.run(q, pages, out=out, lse=lse, return_lse=return_lse)

    begin_forward = plan

    def forward(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        scale_q: Optional[Tensor] = None,
        scale_k: Optional[Tensor] = None,
        scale_v: Optional[Tensor] = None,
        *attributes: Any,
        **named: Any,
    ) -> Tensor:
        """FlashInfer's old form, which gives attributes of the plan again: pos_encoding_mode, use_fp16_qk_reduction,
        logits_soft_cap, sm_scale, rope_scale, rope_theta."""
        self._replan(*attributes, **named)
        return self.run(q, k, v, scale_q, scale_k, scale_v)


def _by_rows(mask: Tensor, starts: list[int], rows: list[int]) -> Tensor:
    """Masks of blocks [num_blocks, R, C] as those of row blocks, [rows, columns that it sees], flattened."""
    framework: Framework = framework_of(mask, "BlockSparseAttentionWrapper.plan: mask")
    per_row = [(end - begin) * mask.shape[2] for begin, end in zip(starts, starts[1:])]
    flat = framework.empty((sum(n * size for n, size in zip(per_row, rows)),), mask)
    at = 0
    for begin, end, n, size in zip(starts, starts[1:], per_row, rows):
        flat[at : at + n * size] = mask[begin:end, :size].swapaxes(0, 1).reshape(-1)
        at += n * size
    return framework.result(flat)


class VariableBlockSparseAttentionWrapper(_Sparse):
    """Blocks of any sizes, for each KV head its own.

    >>> import numpy as np
    >>> wrapper = VariableBlockSparseAttentionWrapper(np.empty(1, np.uint8))
    >>> wrapper.plan(  # one row block of 2; columns in blocks of 1 and 3, of which the second is seen
    ...     np.bool_([[[0, 1]]]), np.int32([[2]]), np.int32([[1, 3]]), 1, 1, 64, q_data_type="float32",
    ... )
    >>> v = np.float32([1, 3, 5, 7]).reshape(1, 4, 1) * np.ones((1, 4, 64), np.float32)
    >>> wrapper.run(np.zeros((1, 2, 64), np.float32), v, v)[0, :, 0].tolist()
    [5.0, 5.0]
    """

    def plan(
        self,
        block_mask_map: Tensor,
        block_row_sz: Tensor,
        block_col_sz: Tensor,
        num_qo_heads: int,
        num_kv_heads: int,
        head_dim: int,
        causal: bool = False,
        pos_encoding_mode: str = "NONE",
        use_fp16_qk_reduction: bool = False,
        logits_soft_cap: Optional[float] = None,
        sm_scale: Optional[float] = None,
        rope_scale: Optional[float] = None,
        rope_theta: Optional[float] = None,
        non_blocking: bool = True,
        q_data_type: Any = "float16",
        kv_data_type: Any = None,
    ) -> None:
        """Says which blocks are seen.

        Args:
            block_mask_map: bool [num_kv_heads, num_row_blocks, num_column_blocks].
            block_row_sz, block_col_sz: int32 [num_kv_heads, num_row_blocks] and [num_kv_heads, num_column_blocks]; of
                every head they add up to the same queries and keys.
        """
        where = "VariableBlockSparseAttentionWrapper.plan"
        refuse(where, pos_encoding_mode="ALIBI" if pos_encoding_mode == "ALIBI" else None)
        framework = framework_of(block_mask_map, f"{where}: block_mask_map")
        seen, rows, columns = (framework.to_host(x).tolist() for x in (block_mask_map, block_row_sz, block_col_sz))
        _expect(
            num_kv_heads > 0 and num_qo_heads % num_kv_heads == 0, where,
            f"num_qo_heads to be a multiple of num_kv_heads, got {num_qo_heads} and {num_kv_heads}",
        )  # fmt: skip
        for name, sizes in (("block_mask_map", seen), ("block_row_sz", rows), ("block_col_sz", columns)):
            _expect(len(sizes) == num_kv_heads, where, f"{name} of {num_kv_heads} heads, got {len(sizes)}")
        for name, sizes in (("block_row_sz", rows), ("block_col_sz", columns)):
            totals = [sum(head) for head in sizes]
            _expect(len(set(totals)) == 1, where, f"the same sum of {name} for every head, got {totals}")
        tokens = sum(columns[0])
        page = math.gcd(*(size for head in columns for size in head)) or 1  # the largest that all blocks consist of
        ends, starts, indices, last = [0], [0], [], []  # type: ignore[var-annotated]
        for head in range(num_qo_heads):  # a request for each of its row blocks
            of = head // (num_qo_heads // num_kv_heads)
            borders = [of * tokens]
            for size in columns[of]:
                borders.append(borders[-1] + size)
            for row, size in enumerate(rows[of]):
                for column, begin in enumerate(borders[:-1]):
                    if seen[of][row][column]:
                        indices.extend(range(begin // page, borders[column + 1] // page))
                last.append(page if len(indices) > starts[-1] else 0)
                starts.append(len(indices))
                ends.append(ends[-1] + size)
        self._shape = (num_qo_heads, num_kv_heads, sum(rows[0]), tokens, page)
        self._pages.plan(  # type: ignore[call-arg,misc]
            *(framework.from_list(values, block_row_sz) for values in (ends, starts, indices, last)), 1, 1, head_dim,
            page, causal=causal, pos_encoding_mode=pos_encoding_mode, sm_scale=sm_scale,
            logits_soft_cap=logits_soft_cap, rope_scale=rope_scale, rope_theta=rope_theta, q_data_type=q_data_type,
            kv_data_type=kv_data_type,
        )  # fmt: skip

    def run(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        out: Optional[Tensor] = None,
        lse: Optional[Tensor] = None,
        return_lse: bool = False,
        enable_pdl: Optional[bool] = None,
    ) -> Result:
        """Attends as planned: `q` is [num_qo_heads, qo_len, head_dim], `k` and `v` are [num_kv_heads, kv_len,
        head_dim]; out is like q, lse [num_qo_heads, qo_len]."""
        where = "VariableBlockSparseAttentionWrapper.run"
        if not hasattr(self, "_shape"):
            raise ValueError(f"{where}: expected plan to be called before it")
        heads, kv_heads, rows, columns, page = self._shape
        keys = (kv_heads, columns)
        for name, tensor, shape in (("q", q, (heads, rows)), ("k", k, keys), ("v", v, keys)):
            got = tuple(tensor.shape)
            _expect(got[:2] == shape, where, f"{name} of {shape} rows as planned, got {got}")
        framework = framework_of(q, f"{where}: q")
        if out is None:
            out = framework.empty((heads, rows, v.shape[-1]), q)
        if return_lse and lse is None:
            lse = framework.empty((heads, rows), q, "f32")
        pages = [x.reshape(-1, page, 1, x.shape[-1]) for x in (k, v)]
        self._pages.run(
            q.reshape(heads * rows, 1, q.shape[-1]), pages, out=_joined(out, "out", (heads * rows, 1, out.shape[-1])),
            lse=None if lse is None else _joined(lse, "lse", (heads * rows, 1)), return_lse=return_lse,
        )  # fmt: skip
        return (framework.result(out), framework.result(lse)) if return_lse else framework.result(out)

    begin_forward = plan

    def forward(self, q: Tensor, k: Tensor, v: Tensor, *attributes: Any, **named: Any) -> Tensor:
        """FlashInfer's old form, which gives attributes of the plan again: pos_encoding_mode, use_fp16_qk_reduction,
        logits_soft_cap, sm_scale, rope_scale, rope_theta."""
        self._replan(*attributes, **named)
        return self.run(q, k, v)


def _joined(tensor: Tensor, name: str, shape: tuple[int, ...]) -> Tensor:
    """The tensor itself in another shape: what is written there must reach the caller."""
    dense = tensor.is_contiguous() if hasattr(tensor, "is_contiguous") else tensor.flags.c_contiguous
    _expect(dense, f"VariableBlockSparseAttentionWrapper.run: {name}", "a contiguous tensor, got one with gaps")
    return tensor.reshape(shape)
