"""Tensors of numpy, torch, jax and cupy: what an operator takes and gives back in each of them.

Nothing here imports a framework: a tensor arrives from one that is imported already. A type is looked at once
and then found by itself.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any, Optional, Sequence

from ._dtypes import ML_DTYPES, full_name, numpy_dtype
from ._errors import Unsupported


class Framework:
    """Any tensor that speaks DLPack. It can be read and written; outputs must be given."""

    name = "DLPack"
    can_write = True  # whether a tensor can be changed once it is made

    def argument(self, tensor: Any, written: bool, who: str) -> Any:
        """What the native call takes for `tensor`; `who` names operator and argument in errors."""
        return tensor

    def stream(self) -> Optional[int]:
        """The caller's current stream, where tvm-ffi does not find it by itself."""
        return None

    def current_stream(self, device_index: int) -> int:
        """The caller's current stream of a CUDA device, as CUDA's handle."""
        return self.stream() or 0

    def empty(self, shape: Sequence[int], like: Any, dtype: Optional[str] = None) -> Any:
        """A tensor to write into, on the device of `like`, of its dtype or of Strobe's name for another."""
        raise TypeError(f"out: expected one to be given, since {type(like).__name__} tensors cannot be made here")

    def empty_like(self, tensor: Any) -> Any:
        return self.empty(tensor.shape, tensor)

    def from_list(self, values: Sequence[int], like: Any) -> Any:
        """Whole numbers as int32, on the device of `like`."""
        raise TypeError(f"expected a tensor of numpy, torch, jax or cupy, got {type(like).__name__}")

    def from_bytes(self, values: bytes, like: Any) -> Any:
        """Bytes as uint8, on the device of `like`."""
        raise TypeError(f"expected a tensor of numpy, torch, jax or cupy, got {type(like).__name__}")

    def multiples(self, step: int, count: int, like: Any) -> Any:
        """0, step, 2 * step, … as int32 in host memory."""
        return self.to_host(self.from_list(list(range(0, step * count, step)), like))

    def result(self, tensor: Any) -> Any:
        """The caller's own kind of tensor from what `empty` gave."""
        return tensor

    def to_host(self, tensor: Any) -> Any:
        """The same values in host memory, waiting for the device if that is where they are."""
        return tensor

    def convert(self, tensor: Any, dtype: str, who: str) -> Any:
        """The values as i32 or f32, where they are numbers of another width; the tensor itself otherwise.

        Raises ValueError where whole numbers in host memory do not fit i32; those on a device are not looked at.
        """
        if self.name == "DLPack" or not _is_convertible(tensor, dtype):
            return tensor
        converted = self.astype(tensor, full_name(dtype))
        if dtype == "i32" and not self.on_cuda(tensor) and not bool((converted == tensor).all()):
            raise ValueError(f"{who}: expected whole numbers of 32 bits, got larger ones")
        return converted

    def astype(self, tensor: Any, dtype: str) -> Any:
        return tensor.astype(dtype)

    def on_cuda(self, tensor: Any) -> bool:
        return bool(tensor.__dlpack_device__()[0] == 2)


def _is_convertible(tensor: Any, dtype: str) -> bool:
    kind = str(getattr(tensor, "dtype", "")).rpartition(".")[2]
    whole = kind.startswith(("int", "uint"))
    return kind != full_name(dtype) and (whole or (dtype == "f32" and "float" in kind))


class Torch(Framework):
    name = "torch"

    def __init__(self) -> None:
        self._dtypes: dict[str, Any] = {}  # by Strobe's names

    def current_stream(self, device_index: int) -> int:
        return int(sys.modules["torch"]._C._cuda_getCurrentRawStream(device_index))

    def argument(self, tensor: Any, written: bool, who: str) -> Any:
        if tensor.requires_grad and sys.modules["torch"].is_grad_enabled():
            raise ValueError(
                f"{who}: expected a tensor without gradient, got one that requires grad; "
                "Strobe's operators have no backward pass: call them under torch.no_grad(), or detach the tensor"
            )
        return tensor

    def empty(self, shape: Sequence[int], like: Any, dtype: Optional[str] = None) -> Any:
        # A tuple: torch takes twice as long for a torch.Size.
        if dtype is None:
            return like.new_empty(tuple(shape))
        return like.new_empty(tuple(shape), dtype=self._dtypes.get(dtype) or self._dtype(dtype))

    def _dtype(self, name: str) -> Any:
        self._dtypes[name] = getattr(sys.modules["torch"], full_name(name))
        return self._dtypes[name]

    def empty_like(self, tensor: Any) -> Any:
        return sys.modules["torch"].empty_like(tensor)

    def from_list(self, values: Sequence[int], like: Any) -> Any:
        torch = sys.modules["torch"]
        return torch.tensor(values, dtype=torch.int32, device=like.device)

    def from_bytes(self, values: bytes, like: Any) -> Any:
        torch = sys.modules["torch"]
        return torch.frombuffer(bytearray(values), dtype=torch.uint8).to(like.device)

    def multiples(self, step: int, count: int, like: Any) -> Any:
        torch = sys.modules["torch"]
        return torch.arange(0, step * count, step, dtype=torch.int32, device="cpu")

    def to_host(self, tensor: Any) -> Any:
        return tensor.cpu() if tensor.is_cuda else tensor

    def astype(self, tensor: Any, dtype: str) -> Any:
        return tensor.to(getattr(sys.modules["torch"], dtype))

    def on_cuda(self, tensor: Any) -> bool:
        return bool(tensor.is_cuda)


class _Writable:
    """Stands for a read-only array that nobody is going to write to."""

    def __init__(self, array: Any) -> None:
        interface = dict(array.__array_interface__)
        interface["data"] = (interface["data"][0], False)
        self.__array_interface__ = interface
        self.owner = array


_DLTENSOR_DTYPE_OFFSET = 20  # of a DLTensor, with which a DLManagedTensor begins


class Numpy(Framework):
    """numpy exports neither read-only arrays nor ml_dtypes by DLPack; both go as what they are made of."""

    name = "numpy"

    def argument(self, tensor: Any, written: bool, who: str) -> Any:
        numpy = sys.modules["numpy"]
        array = tensor
        if not array.flags.writeable:
            if written:
                raise ValueError(f"{who}: expected an array that may be written, got a read-only one")
            array = array.view(f"u{array.itemsize}") if array.dtype.name in ML_DTYPES else array
            array = numpy.asarray(_Writable(array))
        if tensor.dtype.name not in ML_DTYPES:
            return array
        code, bits = ML_DTYPES[tensor.dtype.name]
        capsule = array.view(f"u{bits // 8}").__dlpack__()
        pointer = ctypes.pythonapi.PyCapsule_GetPointer
        pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        dtype = (ctypes.c_uint8 * 2).from_address(pointer(capsule, b"dltensor") + _DLTENSOR_DTYPE_OFFSET)
        dtype[0], dtype[1] = code, bits
        import tvm_ffi

        return tvm_ffi.from_dlpack(capsule)

    def empty(self, shape: Sequence[int], like: Any, dtype: Optional[str] = None) -> Any:
        return sys.modules["numpy"].empty(shape, like.dtype if dtype is None else numpy_dtype(dtype))

    def from_list(self, values: Sequence[int], like: Any) -> Any:
        return sys.modules["numpy"].array(values, dtype="int32")

    def from_bytes(self, values: bytes, like: Any) -> Any:
        return sys.modules["numpy"].frombuffer(bytearray(values), dtype="uint8")

    def on_cuda(self, tensor: Any) -> bool:
        return False


class Jax(Framework):
    """jax arrays never change: outputs are written as numpy arrays and handed over."""

    name = "jax"
    can_write = False

    def argument(self, tensor: Any, written: bool, who: str) -> Any:
        if _framework_name(type(tensor)) == "numpy":  # what `empty` gave
            return _NUMPY.argument(tensor, written, who)
        if written:
            raise TypeError(f"{who}: expected a tensor that may be written, got a jax array; leave the output away")
        if type(tensor).__name__.endswith("Tracer"):
            raise TypeError(f"{who}: expected an array, got {type(tensor).__name__}, which jax.jit traces")
        if self.on_cuda(tensor):
            raise Unsupported(f"{who}: expected an array on the CPU, got a jax array on a GPU")
        return tensor

    def empty(self, shape: Sequence[int], like: Any, dtype: Optional[str] = None) -> Any:
        return _NUMPY.empty(shape, like, dtype)

    def from_list(self, values: Sequence[int], like: Any) -> Any:
        return _NUMPY.from_list(values, like)

    def from_bytes(self, values: bytes, like: Any) -> Any:
        return _NUMPY.from_bytes(values, like)

    def result(self, tensor: Any) -> Any:
        return sys.modules["jax"].numpy.asarray(tensor)


class Cupy(Framework):
    name = "cupy"

    def stream(self) -> Optional[int]:
        return int(sys.modules["cupy"].cuda.get_current_stream().ptr)

    def empty(self, shape: Sequence[int], like: Any, dtype: Optional[str] = None) -> Any:
        return sys.modules["cupy"].empty(shape, like.dtype if dtype is None else numpy_dtype(dtype))

    def from_list(self, values: Sequence[int], like: Any) -> Any:
        return sys.modules["cupy"].array(values, dtype="int32")

    def from_bytes(self, values: bytes, like: Any) -> Any:
        return sys.modules["cupy"].array(bytearray(values), dtype="uint8")

    def to_host(self, tensor: Any) -> Any:
        return tensor.get()


_NUMPY = Numpy()
_BY_NAME = {"torch": Torch(), "numpy": _NUMPY, "jax": Jax(), "jaxlib": Jax(), "cupy": Cupy(), "DLPack": Framework()}
_BY_TYPE: dict[type, Optional[Framework]] = {}


def _framework_name(kind: type) -> Optional[str]:
    for base in kind.__mro__:  # a subclass of torch.Tensor is one
        package = base.__module__.partition(".")[0]
        if package in _BY_NAME and (hasattr(kind, "__dlpack__") or package in ("jax", "jaxlib")):
            return package
    return "DLPack" if hasattr(kind, "__dlpack__") else None


def find_framework(value: Any) -> Optional[Framework]:
    """The framework of a tensor; None for what is no tensor."""
    kind = type(value)
    if kind not in _BY_TYPE:
        name = _framework_name(kind)
        _BY_TYPE[kind] = None if name is None else _BY_NAME[name]
    return _BY_TYPE[kind]


def framework_of(value: Any, who: str) -> Framework:
    """The framework of a tensor. Raises TypeError that names the argument."""
    framework = find_framework(value)
    if framework is None:
        raise TypeError(f"{who}: expected a tensor, got {'nothing' if value is None else type(value).__name__}")
    return framework
