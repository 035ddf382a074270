"""What FlashInfer's users import from its `utils`: enumerations and questions about the machine."""

from __future__ import annotations

import math
import re
from enum import Enum
from typing import Any, Optional

from ._dtypes import dtype_name

Tensor = Any


class PosEncodingMode(Enum):
    NONE = 0
    ROPE_LLAMA = 1
    ALIBI = 2


class MaskMode(Enum):
    NON_CAUSAL = 0
    CAUSAL = 1
    CUSTOM = 2
    MULTIITEMSCORING = 3


class TensorLayout(Enum):
    NHD = 0
    HND = 1


class BackendSupportedError(Exception):
    """FlashInfer's error of a backend that does not support a call."""


class GPUArchitectureError(Exception):
    """FlashInfer's error of a GPU that does not support a call."""


class LibraryError(Exception):
    """FlashInfer's error of a library that is missing."""


def get_compute_capability(device: Any) -> tuple[int, int]:
    """(major, minor) of a CUDA device, by torch."""
    import torch

    device = torch.device(device)
    if device.type != "cuda":
        raise ValueError(f"device: expected a CUDA device, got {device}")
    return torch.cuda.get_device_capability(device)


def is_sm90a_supported(device: Any) -> bool:
    """Whether the device is of Hopper's generation."""
    return get_compute_capability(device)[0] == 9


def is_sm100a_supported(device: Any) -> bool:
    return get_compute_capability(device)[0] == 10


def is_sm120a_supported(device: Any) -> bool:
    return get_compute_capability(device)[0] == 12


def is_sm110a_supported(device: Any) -> bool:
    return get_compute_capability(device)[0] == 11


def is_sm121a_supported(device: Any) -> bool:
    return get_compute_capability(device) == (12, 1)


# The same without an instruction set of one chip alone.
is_sm100f_supported = is_sm100a_supported
is_sm120f_supported = is_sm120a_supported
is_sm12x_supported = is_sm120a_supported


def get_device_properties(device: Any) -> Any:
    """torch's."""
    import torch

    return torch.cuda.get_device_properties(device)


def get_device_name(device: Any) -> str:
    return str(get_device_properties(device).name)


def get_device_index(device: Any) -> int:
    """The number of a CUDA device, of the current one where `device` has none."""
    import torch

    index = torch.device(device).index
    return torch.cuda.current_device() if index is None else int(index)


def get_device_sm_count(device: Any) -> int:
    """Streaming multiprocessors of a CUDA device."""
    return int(get_device_properties(device).multi_processor_count)


def get_shared_bytes_per_block_optin(device: Any) -> int:
    """The most shared memory that a block can ask for."""
    return int(get_device_properties(device).shared_memory_per_block_optin)


def device_support_pdl(device: Any) -> bool:
    """Whether a kernel may begin before the one before it has ended."""
    return get_compute_capability(device)[0] >= 9


def next_positive_power_of_2(x: int) -> int:
    """
    >>> [next_positive_power_of_2(x) for x in (0, 1, 3, 4, 5)]
    [1, 1, 4, 4, 8]
    """
    return 1 if x < 1 else 1 << (x - 1).bit_length()


def last_positive_power_of_2(x: int) -> int:
    """
    >>> [last_positive_power_of_2(x) for x in (1, 3, 4, 5)]
    [1, 2, 4, 4]
    """
    return 1 << (x.bit_length() - 1)


def ceil_div(x: int, y: int) -> int:
    return -(-x // y)


def round_up(x: int, y: int) -> int:
    return ceil_div(x, y) * y


def get_alibi_slopes(num_heads: int) -> Tensor:
    """Slopes of Press, Smith and Lewis, 2021, as a torch tensor."""
    import torch

    power = 2 ** int(math.log2(num_heads))
    slopes = [2 ** (-8 * (head + 1) / power) for head in range(power)]
    slopes += [2 ** (-4 * (2 * head + 1) / power) for head in range(num_heads - power)]
    return torch.tensor(slopes, dtype=torch.float32)


def get_indptr(x: Tensor) -> Tensor:
    """0 and the sums of the first elements of `x`, as int32."""
    import torch

    return torch.nn.functional.pad(x.to(torch.int64).cumsum(0).to(torch.int32), (1, 0))


def canonicalize_torch_dtype(dtype: Any) -> Any:
    """A torch dtype, or that of its name."""
    import torch

    from ._dtypes import full_name

    return getattr(torch, full_name(dtype_name(dtype)))


def check_shape_dtype_device(
    x: Tensor, expected_shape: Any, expected_dtype: Any, expected_device: Any, name: str
) -> None:
    """Raises ValueError where `x` differs from what is expected; None expects nothing."""
    expectations = (("shape", expected_shape and tuple(expected_shape), tuple(x.shape)),
                    ("dtype", expected_dtype, x.dtype), ("device", expected_device, x.device))  # fmt: skip
    for what, expected, got in expectations:
        if expected and expected != got:
            raise ValueError(f"{name}: expected {what} {expected}, got {got}")


def version_at_least(version: str, base_version: str) -> bool:
    """Whether a version is another one or later; what follows the numbers does not count.

    >>> version_at_least("12.10", "12.9"), version_at_least("2.4.0+cu121", "2.5")
    (True, False)
    """
    return _numbers(version) >= _numbers(base_version)


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(part) for part in re.match(r"[\d.]*", version)[0].split(".") if part]  # type: ignore[index]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _is_fp8(dtype: Any) -> bool:
    return dtype is not None and dtype_name(dtype) in ("e4m3", "e5m2")


def is_float8(x: Tensor) -> bool:
    return str(x.dtype).rpartition(".")[2] in ("float8_e4m3fn", "float8_e5m2")


def is_fa3_backend_supported(
    pos_encoding_mode: int,
    use_fp16_qk_reductions: bool,
    use_custom_mask: bool,
    dtype_q: Any,
    dtype_kv: Any,
) -> bool:
    """Whether FlashInfer would give such attention to fa3 on Hopper.

    >>> is_fa3_backend_supported(0, False, False, "bfloat16", "bfloat16")
    True
    >>> is_fa3_backend_supported(0, False, False, "bfloat16", "float8_e4m3fn")
    False
    """
    plain = pos_encoding_mode == 0 and not use_fp16_qk_reductions and not use_custom_mask
    return plain and not (_is_fp8(dtype_kv) and not _is_fp8(dtype_q)) and "uint8" not in str(dtype_kv)


def is_fa3_prefill_head_dim_supported(head_dim_qk: int, head_dim_vo: int) -> bool:
    return (head_dim_qk, head_dim_vo) in ((64, 64), (128, 128), (256, 256), (192, 128))


def determine_attention_backend(
    device: Any,
    pos_encoding_mode: int,
    use_fp16_qk_reductions: bool,
    use_custom_mask: bool,
    dtype_q: Any,
    dtype_kv: Any,
    head_dim_qk: Optional[int] = None,
    head_dim_vo: Optional[int] = None,
) -> str:
    """fa3 (cuda/sm90) or fa2 (cuda/sm80), by the rule that FlashInfer documents."""
    qk = 128 if head_dim_qk is None else head_dim_qk
    fa3 = (
        is_sm90a_supported(device)
        and is_fa3_backend_supported(pos_encoding_mode, use_fp16_qk_reductions, use_custom_mask, dtype_q, dtype_kv)
        and is_fa3_prefill_head_dim_supported(qk, qk if head_dim_vo is None else head_dim_vo)
    )
    return "fa3" if fa3 else "fa2"
