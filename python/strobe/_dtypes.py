"""Dtypes under the names that frameworks give them."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Any

# Frameworks' names (torch's and numpy's agree) -> Strobe's.
_NAMES = {
    "float32": "f32",
    "float": "f32",
    "float16": "f16",
    "half": "f16",
    "bfloat16": "bf16",
    "float8_e4m3fn": "e4m3",
    "float8_e5m2": "e5m2",
    "int8": "i8",
    "uint8": "u8",
    "int32": "i32",
    "int": "i32",
    "int64": "i64",
    "long": "i64",
    "bool": "bool",
}
# Strobe's -> numpy's and ml_dtypes'.
_FULL_NAMES = {
    "f32": "float32",
    "f16": "float16",
    "bf16": "bfloat16",
    "e4m3": "float8_e4m3fn",
    "e5m2": "float8_e5m2",
    "i8": "int8",
    "u8": "uint8",
    "i32": "int32",
    "i64": "int64",
    "bool": "bool",
}
# Those that numpy gets from ml_dtypes: DLPack's type code and bits.
ML_DTYPES = {"bfloat16": (4, 16), "float8_e4m3fn": (10, 8), "float8_e5m2": (12, 8)}


@lru_cache(maxsize=None)
def dtype_name(dtype: Any) -> str:
    """Strobe's name ("bf16") of a dtype of any framework, or of its name.

    >>> dtype_name("float16"), dtype_name("torch.bfloat16"), dtype_name("e4m3")
    ('f16', 'bf16', 'e4m3')
    """
    text = dtype if isinstance(dtype, str) else getattr(dtype, "name", None) or str(dtype)
    if isinstance(dtype, type):  # numpy's and ml_dtypes' scalar classes
        text = dtype.__name__
    text = text.rpartition(".")[2]
    name = text if text in _FULL_NAMES else _NAMES.get(text)
    if name is None:
        raise ValueError(f"dtype: expected one of {', '.join(_FULL_NAMES)}, got {text}")
    return name


def full_name(name: str) -> str:
    """The name that frameworks use: "bfloat16" of "bf16"."""
    return _FULL_NAMES[name]


def numpy_dtype(name: str) -> Any:
    """numpy's dtype of Strobe's name."""
    numpy = sys.modules["numpy"]
    full = _FULL_NAMES[name]
    if full in ML_DTYPES:
        import ml_dtypes

        return numpy.dtype(getattr(ml_dtypes, full))
    return numpy.dtype(full)
