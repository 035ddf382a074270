"""What FlashInfer's users import from its `utils`: enumerations and questions about the machine."""

from __future__ import annotations

import math
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


def device_support_pdl(device: Any) -> bool:
    """Whether a kernel may begin before the one before it has ended."""
    return get_compute_capability(device)[0] >= 9


def next_positive_power_of_2(x: int) -> int:
    """
    >>> [next_positive_power_of_2(x) for x in (0, 1, 3, 4, 5)]
    [1, 1, 4, 4, 8]
    """
    return 1 if x < 1 else 1 << (x - 1).bit_length()


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


def determine_attention_backend(
    device: Any,
    pos_encoding_mode: int = 0,
    use_fp16_qk_reductions: bool = False,
    use_custom_mask: bool = False,
    dtype_q: Any = None,
    dtype_kv: Any = None,
    head_dim: Optional[int] = None,
) -> str:
    """fa3 (cuda/sm90) or fa2 (cuda/sm80), by the rule that FlashInfer documents."""
    plain = pos_encoding_mode == 0 and not use_fp16_qk_reductions and not use_custom_mask
    return "fa3" if plain and is_sm90a_supported(device) else "fa2"
