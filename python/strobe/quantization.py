"""Packing of booleans into bits, as attention masks are stored."""

from __future__ import annotations

from typing import Any, Optional

from ._errors import unsupported
from ._frameworks import framework_of
from ._native import Calls

Tensor = Any

_calls = Calls(
    packbits="packbits(x, y, bitorder)",
    segment_packbits="segment_packbits(x, indptr, packed_indptr, y, bitorder)",
)


def packbits(x: Tensor, bitorder: str = "big", *, out: Optional[Tensor] = None) -> Tensor:
    """The bits of `x` (bool or uint8, [num_elements]; set where it is not 0), eight to a byte.

    `out`, uint8 [ceil(num_elements / 8)], receives the result. The first of eight goes into the highest bit ("big") or the lowest ("little"); bits beyond the last element are 0.
    Attention masks are little.

    >>> import numpy as np
    >>> packbits(np.bool_([1, 0, 0, 0, 0, 0, 0, 0, 1])).tolist()
    [128, 128]
    >>> packbits(np.bool_([1, 0, 0, 0, 0, 0, 0, 0, 1]), bitorder="little").tolist()
    [1, 1]
    """
    framework = framework_of(x, "packbits: x")
    x = x.reshape(-1)
    y = framework.empty(((x.shape[0] + 7) // 8,), x, "u8") if out is None else out
    _calls.packbits(x, y, bitorder)
    return framework.result(y)


def segment_packbits(x: Tensor, indptr: Tensor, bitorder: str = "big") -> tuple[Tensor, Tensor]:
    """Packs each segment [indptr[i], indptr[i + 1]) for itself, so that it begins with a byte of its own.

    Returns the bytes, and where each segment begins in them. `indptr` is int32 [batch_size + 1]; on a GPU it is read
    to the host, which waits for the device.

    >>> import numpy as np
    >>> y, y_indptr = segment_packbits(np.bool_([1, 1, 1, 0, 1]), np.int32([0, 3, 5]), bitorder="little")
    >>> y.tolist(), y_indptr.tolist()
    ([7, 2], [0, 1, 2])
    """
    framework = framework_of(x, "segment_packbits: x")
    host = framework_of(indptr, "segment_packbits: indptr").to_host(indptr).tolist()
    if not host:
        raise ValueError("segment_packbits: indptr: expected shape [batch_size + 1], got [0]")
    starts = [0]
    for begin, end in zip(host, host[1:]):
        starts.append(starts[-1] + max(0, end - begin + 7) // 8)
    packed_indptr = framework.from_list(starts, indptr)
    y = framework.empty((starts[-1],), x, "u8")
    _calls.segment_packbits(x.reshape(-1), indptr, packed_indptr, y, bitorder)
    return framework.result(y), framework.result(packed_indptr)


def _missing(name: str) -> Any:
    return unsupported(f"strobe.quantization.{name}")


block_scale_interleave = _missing("block_scale_interleave")
nvfp4_block_scale_interleave = _missing("nvfp4_block_scale_interleave")
e2m1_and_ufp8sf_scale_to_float = _missing("e2m1_and_ufp8sf_scale_to_float")
fp4_quantize = _missing("fp4_quantize")
mxfp4_dequantize = _missing("mxfp4_dequantize")
mxfp4_dequantize_host = _missing("mxfp4_dequantize_host")
mxfp4_quantize = _missing("mxfp4_quantize")
mxfp8_dequantize_host = _missing("mxfp8_dequantize_host")
mxfp8_grouped_quantize = _missing("mxfp8_grouped_quantize")
mxfp8_quantize = _missing("mxfp8_quantize")
nvfp4_batched_quantize = _missing("nvfp4_batched_quantize")
nvfp4_kv_dequantize = _missing("nvfp4_kv_dequantize")
nvfp4_kv_dequantize_paged = _missing("nvfp4_kv_dequantize_paged")
nvfp4_kv_quantize = _missing("nvfp4_kv_quantize")
nvfp4_quantize = _missing("nvfp4_quantize")
nvfp4_quantize_paged_kv_cache = _missing("nvfp4_quantize_paged_kv_cache")
scaled_fp4_grouped_quantize = _missing("scaled_fp4_grouped_quantize")
shuffle_matrix_a = _missing("shuffle_matrix_a")
shuffle_matrix_sf_a = _missing("shuffle_matrix_sf_a")
silu_and_mul_nvfp4_quantize = _missing("silu_and_mul_nvfp4_quantize")
