"""Attention variants: a text of C++ with hooks for queries, keys, logits, masks and outputs, for the CPU and for GPUs.

The text is compiled when a plan first takes it; docs/variants.md has the hooks and what they are given. The wrappers take
a variant by FlashInfer's `jit_args`, in Strobe's spelling or in FlashInfer's (fa2):

>>> import numpy as np, strobe
>>> text = '''
... struct SoftCap {
...   static float logits(const Params& params, const LogitIndex&, float logits) {
...     return params.cap * tanhf(logits / params.cap);
...   }
... };
... '''
>>> f32 = "float32"
>>> jit_args = ("soft_cap", f32, f32, f32, "int32", 8, 8, [], [], ["cap"], ["float"], "SoftCap", text)
>>> wrapper = strobe.BatchPrefillWithRaggedKVCacheWrapper(np.empty(1, np.uint8), jit_args=jit_args)
>>> wrapper.plan(np.int32([0, 1]), np.int32([0, 2]), 1, 1, 8, q_data_type=f32, sm_scale=1.0)
>>> k = np.float32([[[1]], [[-1]]]) * np.ones((2, 1, 8), np.float32)
>>> out = wrapper.run(np.ones((1, 1, 8), np.float32), k, k, 0.5)  # logits 8 and -8 become 0.5 and -0.5
>>> print(out[0, 0, 0].round(4), np.tanh(0.5).round(4))
0.4621 0.4621
"""

from __future__ import annotations

from typing import Any, Sequence, Union

from ._errors import Unsupported
from ._scales import product
from ._frameworks import framework_of
from ._native import module

Tensor = Any

# C++ types of FlashInfer's texts, and frameworks' names -> Strobe's.
_SCALARS = {
    "float": "f32", "double": "f64", "int": "i32", "int32_t": "i32", "int64_t": "i64",
    "float32": "f32", "float64": "f64", "int32": "i32", "int64": "i64",
}  # fmt: skip
_TENSORS = {
    "float": "f32", "int8_t": "i8", "uint8_t": "u8", "int": "i32", "int32_t": "i32", "int64_t": "i64", "bool": "bool",
    "float32": "f32", "int8": "i8", "uint8": "u8", "int32": "i32", "int64": "i64",
}  # fmt: skip
# Tensors that FlashInfer's wrappers fill in by themselves, by the argument of the plan that they come from.
_FROM_PLAN = {
    "maybe_custom_mask": "custom_mask",
    "maybe_mask_indptr": "custom_mask_indptr",
    "maybe_alibi_slopes": "alibi_slopes",
}
_SLOTS_BEFORE_ARGUMENTS = 2


def _types(kind: str, known: dict[str, str], names: Sequence[str], types: Sequence[str]) -> dict[str, str]:
    if len(names) != len(types):
        raise ValueError(f"attention variant: {kind}: expected a type for each of {len(names)} names, got {len(types)}")
    for name in types:
        if name not in known:
            raise ValueError(f"attention variant: {kind}: expected types {', '.join(known)}, got {name!r}")
    return {name: known[type_] for name, type_ in zip(names, types)}


class AttentionVariant:
    """A text that this process knows, with the names and types of its parameters."""

    def __init__(
        self,
        name: str,
        text: str,
        tensor_names: Sequence[str] = (),
        tensor_dtypes: Sequence[str] = (),
        scalar_names: Sequence[str] = (),
        scalar_dtypes: Sequence[str] = (),
    ) -> None:
        """`name` is that of the struct in `text`; types are C++'s or the frameworks' ("uint8_t", "float32")."""
        self.name = name
        self.tensors = _types("tensors", _TENSORS, tensor_names, tensor_dtypes)
        self.scalars = _types("scalars", _SCALARS, scalar_names, scalar_dtypes)
        lists = [",".join(f"{k}:{v}" for k, v in declared.items()) for declared in (self.tensors, self.scalars)]
        self.id: int = module()["strobe_define_attention_variant"](name, text, *lists)

    @classmethod
    def of_jit_args(cls, jit_args: Sequence[Any], backend: str) -> "AttentionVariant":
        """The variant of FlashInfer's (uri, q, kv, o, [idtype,] head_dim_qk, head_dim_vo, tensor_names, tensor_dtypes,
        scalar_names, scalar_dtypes, variant_name, variant_decl)."""
        if backend == "fa3":
            raise Unsupported("jit_args: expected backend 'auto' or 'fa2', since Strobe takes no texts for fa3 kernels")
        if len(jit_args) not in (12, 13):
            raise ValueError(f"jit_args: expected 12 or 13 values as FlashInfer's, got {len(jit_args)}")
        *_, tensor_names, tensor_dtypes, scalar_names, scalar_dtypes, name, text = jit_args
        return cls(name, text, tensor_names, tensor_dtypes, scalar_names, scalar_dtypes)

    def split(self, arguments: Sequence[Any], planned: dict[str, Any]) -> tuple[list[Any], list[Any]]:
        """Tensors and scalars of a run's further arguments; well-known tensors come from the plan."""
        rest = list(arguments)
        tensors = []
        for name in self.tensors:
            if name in _FROM_PLAN:
                tensors.append(planned.get(_FROM_PLAN[name]))
            elif rest:
                tensors.append(rest.pop(0))
            else:
                raise TypeError(f"run: expected {self._signature()} after the tensors of attention, got too few")
        if len(rest) != len(self.scalars):
            raise TypeError(f"run: expected {self._signature()} after the tensors of attention, got {len(arguments)} values")
        return tensors, rest

    def _signature(self) -> str:
        return ", ".join([name for name in self.tensors if name not in _FROM_PLAN] + list(self.scalars)) or "nothing"

    def bound(self, tensors: Sequence[Any], scalars: Sequence[Any], like: Tensor) -> Tensor:
        """The arguments of a run as the native call takes them; they hold no reference to the tensors."""
        framework = framework_of(like, "run: q")
        count = _SLOTS_BEFORE_ARGUMENTS + len(tensors) + len(scalars)
        slots = framework.to_host(framework.empty((count,), like, "i64"))
        given = [
            None if t is None else framework_of(t, f"run: {name}").argument(t, True, f"run: {name}")
            for name, t in zip(self.tensors, tensors)
        ]
        numbers = [s.item() if hasattr(s, "item") else s for s in scalars]
        module()["strobe_variant_arguments"](self.id, slots, len(given), *given, *numbers)
        return slots


class VariantRuns:
    """The variant of a wrapper: what its plans and runs take for it."""

    def __init__(self, jit_args: Sequence[Any], backend: str) -> None:
        self.variant = AttentionVariant.of_jit_args(jit_args, backend)
        self._planned: dict[str, Any] = {}
        self._alibi_heads = 0  # of slopes that the next run makes

    def plan(self, given: dict[str, Any]) -> None:
        """Gives a plan's arguments the variant. A custom mask is the text's own matter where it declares one."""
        given["variant"] = self.variant.id
        self._planned = {}
        if "maybe_custom_mask" in self.variant.tensors and given.get("custom_mask") is not None:
            self._planned = {name: given.pop(name) for name in ("custom_mask", "custom_mask_indptr")}
            given["mask"] = "none"
        if "maybe_alibi_slopes" in self.variant.tensors and given.get("pos_encoding") == "alibi":
            given["pos_encoding"] = "none"
            self._alibi_heads = given["num_qo_heads"]

    EXTRA = ("variant_arguments",)  # what runs take behind the scales

    def values(self, arguments: Sequence[Any], q: Tensor, sinks: Any, scales: Sequence[Any]) -> tuple[Any, Sequence[Any]]:
        """The sinks and what follows them, of a run with `arguments` beside attention's own."""
        if self._alibi_heads:
            self._planned["alibi_slopes"] = _alibi_slopes(self._alibi_heads, q)
            self._alibi_heads = 0
        tensors, scalars = self.variant.split(arguments, self._planned)
        return sinks, (*(scales or (None, None, None)), self.variant.bound(tensors, scalars, q))


# The text of FlashInfer's attention with sinks, by which its callers ask for it in `jit_args`; Strobe has it built in.
SINKS = "// Attention with a sink for each head, which Strobe has built in.\n"


class SinkRuns:
    """Runs of a wrapper that was given SINKS: `run(q, k, v, sinks, sm_scale)`."""

    EXTRA = ()

    def __init__(self) -> None:
        self._sm_scale = 1.0  # the plan's

    def plan(self, given: dict[str, Any]) -> None:
        self._sm_scale = given["sm_scale"] or given["head_dim_qk"] ** -0.5

    def values(self, arguments: Sequence[Any], q: Tensor, sinks: Any, scales: Sequence[Any]) -> tuple[Any, Sequence[Any]]:
        if sinks is not None or len(arguments) != 2:
            raise TypeError(f"run: expected sinks, sm_scale after the tensors of attention, got {len(arguments)} values")
        q_scale, k_scale, v_scale = scales or (None, None, None)
        return arguments[0], (product(q_scale, arguments[1] / self._sm_scale), k_scale, v_scale)


def runs_of(jit_args: Sequence[Any], backend: str) -> Union[VariantRuns, SinkRuns]:
    """What a wrapper does differently for its `jit_args`."""
    return SinkRuns() if jit_args[-1] == SINKS else VariantRuns(jit_args, backend)


def _alibi_slopes(num_heads: int, like: Tensor) -> Tensor:
    """The slopes of Press et al., 2021, which attention itself has, on the device of `like`."""
    power = 1 << (num_heads.bit_length() - 1)
    slopes = framework_of(like, "run: q").empty((num_heads,), like, "f32")
    for head in range(num_heads):
        slopes[head] = 2.0 ** (-8 * (head + 1) / power if head < power else -4 * (2 * (head - power) + 1) / power)
    return slopes


class VariantModule:
    """What FlashInfer's gen_customize_…_module(…).build_and_load() gives: a variant for single requests. The text is
    compiled when a call takes it."""

    def __init__(self, jit_args: Sequence[Any], backend: str) -> None:
        from .prefill import BatchPrefillWithRaggedKVCacheWrapper

        self.name = jit_args[0]
        self._jit_args, self._backend = jit_args, backend
        self._wrapper_class = BatchPrefillWithRaggedKVCacheWrapper
        self._wrapper: Any = None

    def build_and_load(self) -> "VariantModule":
        return self

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, arguments: Sequence[Any], kv_layout: str, mask_mode: int,
        window_left: int, return_lse: bool,
    ) -> Any:  # fmt: skip
        """One request; `q` is [qo_len, num_qo_heads, head_dim]. Mask modes: 0 none, 1 causal, 2 the text's own."""
        hnd = kv_layout == "HND"
        kv_len, num_kv_heads = (k.shape[1], k.shape[0]) if hnd else (k.shape[0], k.shape[1])
        self._wrapper = self._wrapper_class(q, kv_layout, backend=self._backend, jit_args=list(self._jit_args))
        framework = framework_of(q, "single attention: q")
        qo_indptr, kv_indptr = (framework.to_host(framework.from_list([0, n], q)) for n in (q.shape[0], kv_len))
        self._wrapper.plan(
            qo_indptr, kv_indptr, q.shape[1], num_kv_heads, q.shape[2], v.shape[2], causal=mask_mode == 1,
            window_left=window_left, q_data_type=q.dtype, kv_data_type=k.dtype,
        )  # fmt: skip
        return self._wrapper.run(q, k, v, *arguments, return_lse=return_lse)


def customized(generator: str, *args: Any, **kwargs: Any) -> VariantModule:
    """gen_customize_single_decode_module and its kin: those of prefill are given a backend first."""
    values = list(args) + [kwargs[name] for name in _JIT_ARGS if name in kwargs]
    backend = values.pop(0) if "prefill" in generator else "auto"
    return VariantModule(values[:13 if "batch" in generator else 12], backend)


_JIT_ARGS = (
    "backend uri dtype_q dtype_kv dtype_o idtype head_dim_qk head_dim_vo additional_tensor_names additional_tensor_dtypes "
    "additional_scalar_names additional_scalar_dtypes variant_name variant_decl"
).split()
