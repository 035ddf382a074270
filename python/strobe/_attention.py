"""What the attention wrappers share: FlashInfer's arguments in Strobe's terms, and a plan that is kept."""

from __future__ import annotations

from typing import Any, Optional, Sequence, Union

from ._dtypes import dtype_name
from ._errors import Unsupported
from ._frameworks import Framework, framework_of
from ._native import bind_plan, declaration

Tensor = Any

_POS_ENCODINGS = {"NONE": "none", "ROPE_LLAMA": "rope", "ALIBI": "alibi"}
_BACKENDS = {"auto": "auto", "fa2": "cuda/sm80", "fa3": "cuda/sm90"}
_STROBE_BACKENDS = ("cpu", "cuda/sm80", "cuda/sm90")


def backend_name(backend: str) -> str:
    """Strobe's backend of FlashInfer's name (auto, fa2, fa3), or of its own."""
    if backend in _STROBE_BACKENDS:
        return backend
    if backend not in _BACKENDS:
        raise Unsupported(f"backend: expected one of {', '.join([*_BACKENDS, *_STROBE_BACKENDS])}, got {backend!r}")
    return _BACKENDS[backend]


def pos_encoding_name(mode: str) -> str:
    if mode not in _POS_ENCODINGS:
        raise ValueError(f"pos_encoding_mode: expected one of {', '.join(_POS_ENCODINGS)}, got {mode!r}")
    return _POS_ENCODINGS[mode]


def refuse(where: str, **arguments: Any) -> None:
    """Raises Unsupported when one of FlashInfer's arguments that Strobe has nothing for is given."""
    for name, value in arguments.items():
        if value is not None and value is not False:
            raise Unsupported(f"{where}: {name}: expected none, since Strobe has nothing for it, got one")


def options(
    pos_encoding_mode: str = "NONE",
    window_left: int = -1,
    logits_soft_cap: Optional[float] = None,
    sm_scale: Optional[float] = None,
    rope_scale: Optional[float] = None,
    rope_theta: Optional[float] = None,
) -> dict[str, Any]:
    """The attributes that every attention operator has."""
    return {
        "pos_encoding": pos_encoding_name(pos_encoding_mode),
        "window_left": window_left,
        "logits_soft_cap": logits_soft_cap,
        "sm_scale": sm_scale,
        "rope_scale": rope_scale,
        "rope_theta": rope_theta,
    }


def pack_mask(mask: Tensor) -> Tensor:
    """A bool mask as the bits that operators take."""
    from .quantization import packbits

    return packbits(mask, bitorder="little")


class Planned:
    """The plan and run of an operator, bound once, called by the names of the declaration.

    Keeps what the native plan points to but does not copy.
    """

    RUN = ("q", "k", "v", "out", "lse", "sinks")
    RUN_OF_ONE_CACHE = ("q", "k[1=0]", "v[1=1]", "out", "lse", "sinks")  # [num_pages, 2, …]

    def __init__(self, operator: str, backend: str, framework: Framework) -> None:
        self._framework = framework
        declared = declaration(operator)
        arguments = [a["name"] for kind in ("operands", "attributes") for a in declared[kind] if a["phase"] == "plan"]
        self._arguments = {name: None for name in arguments}
        self._plan, self.run, self.run_of_one_cache = bind_plan(
            operator, arguments, self.RUN, self.RUN_OF_ONE_CACHE, backend=backend
        )
        self._given: dict[str, Any] = {}
        self._planned_for: Optional[dict[str, Any]] = None  # what the last run asked for, found to be the plan's

    def plan(self, **given: Any) -> int:
        """Plans, on the caller's current stream; returns the bytes of workspace."""
        self._given = {}
        stream = None
        if given.get("device_type") == "cuda":
            stream = self._framework.current_stream(given["device_index"])
        workspace_bytes = self._plan(*{**self._arguments, **given}.values(), stream)
        self._given = given
        self._planned_for = None
        return workspace_bytes

    def replan(self, **changed: Any) -> None:
        """Plans again where one of the arguments is another than last time."""
        if changed == self._planned_for:
            return
        if any(self._given.get(name) != value for name, value in changed.items()):
            self.plan(**{**self._given, **changed})
        self._planned_for = changed

    def given(self, name: str) -> Any:
        """What the last plan was given."""
        return self._given.get(name)

    @property
    def ready(self) -> bool:
        """Whether the last plan succeeded."""
        return bool(self._given)

    def takes(self, name: str) -> bool:
        """Whether the plan has an argument of this name."""
        return name in self._arguments


class BatchWrapper:
    """A plan over paged or ragged KV behind FlashInfer's wrappers."""

    _operator = "batch_attention_paged"
    _paged = True

    def __init__(
        self,
        float_workspace_buffer: Optional[Tensor],
        kv_layout: str,
        backend: str,
        jit_args: Optional[Sequence[Any]] = None,
    ) -> None:
        from ._kv import check_layout

        refuse(type(self).__name__, jit_args=jit_args)
        self._kv_layout = check_layout(kv_layout)
        self._backend = backend
        self._native_backend = backend_name(backend)
        self._planned: Optional[Planned] = None
        self.reset_workspace_buffer(float_workspace_buffer)

    def reset_workspace_buffer(
        self, float_workspace_buffer: Optional[Tensor], int_workspace_buffer: Optional[Tensor] = None
    ) -> None:
        """Names other buffers. Strobe sizes the workspace of a plan exactly and keeps it in the plan; FlashInfer's
        buffers say where the tensors of `run` will be."""
        self._float_workspace_buffer = float_workspace_buffer
        self._int_workspace_buffer = int_workspace_buffer
        self._pin_memory_int_workspace_buffer = None

    def _device(self) -> tuple[str, int]:
        buffer = self._float_workspace_buffer
        if buffer is None:
            return "cpu", 0
        kind, index = buffer.__dlpack_device__()
        return ("cuda", int(index)) if kind == 2 else ("cpu", 0)

    def _make_plan(self, **given: Any) -> int:
        """Plans; arrays may be on a device, from where they are read, which waits for it."""
        planned = self._native_plan(given["kv_indptr"])
        for name in ("qo_indptr", "kv_indptr", "kv_indices", "last_page_len", "kv_len", "custom_mask_indptr"):
            array = given.get(name)
            if array is not None:
                framework = framework_of(array, f"{self._operator}: {name}")
                host = framework.to_host(array)
                # A run with other scales plans again; the caller may have changed the arrays by then.
                given[name] = framework.copy(host) if host is array else host
        if planned.takes("device_type"):
            given["device_type"], given["device_index"] = self._device()
        return planned.plan(kv_layout=self._kv_layout, **given)

    def _native_plan(self, indptr: Tensor) -> Planned:
        if self._planned is None:
            buffer = indptr if self._float_workspace_buffer is None else self._float_workspace_buffer
            framework = framework_of(buffer, f"{self._operator}: kv_indptr")
            self._planned = Planned(self._operator, self._native_backend, framework)
        return self._planned

    def _graph_capacity(self, batch_size: int, query_tokens: int, qo_len: int, kv_tokens: int) -> dict[str, int]:
        """What plans after a CUDA graph's capture may bring at the most."""
        if self._device()[0] == "cpu":
            return {}
        return {
            "max_batch_size": batch_size,
            "max_query_tokens": query_tokens,
            "max_qo_len": qo_len,
            "max_kv_tokens": kv_tokens,
        }

    def _check_planned(self) -> Planned:
        if self._planned is None or not self._planned.ready:
            raise ValueError(f"{type(self).__name__}: run: expected plan to be called before it")
        return self._planned

    def _run(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        out: Optional[Tensor],
        lse: Optional[Tensor],
        return_lse: bool,
        sinks: Optional[Tensor],
        **changed: Any,
    ) -> Union[Tensor, tuple[Tensor, Tensor]]:
        """Runs with `k` and `v`, which are one tensor when it holds both; `changed` may differ from the plan."""
        planned = self._check_planned()
        planned.replan(**changed)
        framework = framework_of(q, f"{self._operator}: q")
        if out is None:
            out = framework.empty((*q.shape[:-1], v.shape[-1]), q, self._out_dtype)
        if return_lse and lse is None:
            lse = framework.empty(q.shape[:-1], q, "f32")
        (planned.run_of_one_cache if k is v and self._paged else planned.run)(q, k, v, out, lse, sinks)
        return (framework.result(out), framework.result(lse)) if return_lse else framework.result(out)

    _out_dtype: Optional[str] = None  # None: that of q

    def end_forward(self) -> None:
        """Nothing to do; FlashInfer's old name."""


def scale(value: Any) -> float:
    """A scale given as a number or a tensor of one; None is 1."""
    if value is None:
        return 1.0
    return float(value.item() if hasattr(value, "item") else value)


def dtypes(q_data_type: Any, kv_data_type: Any, data_type: Any = None) -> tuple[str, str]:
    """The dtypes of q and of k and v, by FlashInfer's defaults."""
    q = dtype_name(next(d for d in (q_data_type, data_type, "float16") if d is not None))
    return q, dtype_name(next(d for d in (kv_data_type, data_type, q) if d is not None))


def out_dtype(o_data_type: Any, q_dtype: str) -> Optional[str]:
    """The dtype of outputs where it is another than that of q."""
    name = None if o_data_type is None else dtype_name(o_data_type)
    return None if name == q_dtype else name
