"""What the attention wrappers share: FlashInfer's arguments in Strobe's terms, and a plan that is kept."""

from __future__ import annotations

from typing import Any, Optional, Sequence, Union

from ._dtypes import dtype_name
from ._errors import Unsupported
from ._frameworks import Framework, find_framework, framework_of
from ._kv import both_of_cache, check_layout
from ._native import Plan, declaration
from ._scales import scale

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
    """The plan and runs of an operator; the plan is called by the names of the declaration.

    A run may ask for other attributes than the plan has, a window for instance: then the plan is made again, and once
    more when a run asks for the plan's own.
    """

    RUN = ("q", "k", "v", "out", "lse", "sinks", "run_q_scale", "run_k_scale", "run_v_scale")
    RUN_OF_ONE_CACHE = ("q", "k[1=0/2]+v[1=1/2]", *RUN[3:])  # [num_pages, 2, …]
    HEAD_SCALES = ("q_scales", "k_scales", "v_scales")  # of e4m3
    INDEX_ARRAYS = ("qo_indptr", "kv_indptr", "kv_indices", "last_page_len", "kv_len", "custom_mask_indptr")
    AGAIN = ("mask", "pos_encoding", "window_left", "logits_soft_cap", "sm_scale", "rope_scale", "rope_theta")

    def __init__(self, operator: str, backend: str, framework: Framework, extra: tuple[str, ...] = ()) -> None:
        """Runs take `extra` at their end."""
        self.framework = framework
        self.takes_device = any(a["name"] == "device_type" for a in declaration(operator)["attributes"])
        self._plan = Plan(operator, backend)
        self._by_names: dict[tuple[str, ...], Any] = {}  # the plan by the arguments it is given, in their order
        self._again = self._plan.function("again", self.AGAIN)
        self.run = self._plan.function("run", (*self.RUN, *extra))
        self.run_of_one_cache = self._plan.function("run", (*self.RUN_OF_ONE_CACHE, *extra))
        self._given: dict[str, Any] = {}
        self.ready = False  # whether the last plan succeeded
        self.changed: dict[str, Any] = {}  # what the last run asked for that is not the plan's
        self.pages_of_one = False  # token

    def _stream(self, given: dict[str, Any]) -> Optional[int]:
        """The caller's current stream, which tvm-ffi does not find where all tensors are on the CPU."""
        if given.get("device_type") != "cuda":
            return None
        return self.framework.current_stream(given["device_index"])

    def plan(self, given: dict[str, Any]) -> int:
        """Plans, on the caller's current stream; returns the bytes of workspace. Keeps `given`."""
        names = tuple(given)
        plan = self._by_names.get(names)
        if plan is None:
            plan = self._by_names[names] = self._plan.function("plan", names)
        self.ready = False
        self.changed = {}
        workspace_bytes = int(plan(*given.values(), self._stream(given)))
        self._given, self.ready = given, True
        self.pages_of_one = given.get("page_size") == 1
        return workspace_bytes

    def _make_again(self, given: dict[str, Any]) -> None:
        self.ready = False
        self._again(*[given.get(name) for name in self.AGAIN], self._stream(given))
        self.ready = True

    def replan(self, **attributes: Any) -> None:
        """Gives the plan other attributes."""
        given = {**self._given, **attributes}
        if self.changed or given != self._given:
            self._make_again(given)
            self._given, self.changed = given, {}

    def change(self, attributes: dict[str, Any]) -> None:
        """Plans again for a run with other attributes than those of the plan and of the run before."""
        changed = {name: value for name, value in attributes.items() if self._given[name] != value}
        if changed != self.changed:
            self._make_again({**self._given, **changed})
            self.changed = changed

    def given(self, name: str) -> Any:
        """What the last plan was given."""
        return self._given.get(name)

    def empty_out(self, framework: Framework, q: Tensor, dtype: Optional[str]) -> Tensor:
        """An output for the queries `q`, of Strobe's name of a dtype or of theirs."""
        head_dim = self._given.get("head_dim_vo") or self._given["head_dim_qk"]
        if dtype is None and head_dim == self._given["head_dim_qk"]:
            return framework.empty_like(q)
        return framework.empty((*q.shape[:-1], head_dim), q, dtype)


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
        self._variant: Any = None
        if jit_args is not None:
            from .variants import runs_of

            self._variant = runs_of(jit_args, backend)
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
        self._on = self._device()

    def _device(self) -> tuple[str, int]:
        """Where the tensors of runs will be."""
        buffer = self._float_workspace_buffer
        if buffer is None:
            return "cpu", 0
        kind, index = buffer.__dlpack_device__()
        return ("cuda", int(index)) if kind == 2 else ("cpu", 0)

    def _make_plan(self, given: dict[str, Any]) -> int:
        """Plans; arrays may be on a device, from where they are read, which waits for it."""
        given["kv_layout"] = self._kv_layout
        if self._variant is not None:
            self._variant.plan(given)
        planned = self._planned
        if planned is None:
            planned = self._planned = self._native_plan(given)
        for name in Planned.INDEX_ARRAYS:
            array = given.get(name)
            if array is not None:
                framework = find_framework(array) or framework_of(array, f"{self._operator}: {name}")
                if framework.on_cuda(array):
                    given[name] = framework.to_host(array)
        if planned.takes_device:
            given["device_type"], given["device_index"] = self._on
        return planned.plan(given)

    def _native_plan(self, given: dict[str, Any]) -> Planned:
        buffer = given["kv_indptr"] if self._float_workspace_buffer is None else self._float_workspace_buffer
        framework = framework_of(buffer, f"{self._operator}: kv_indptr")
        extra = Planned.HEAD_SCALES if self._variant is None else self._variant.EXTRA
        return Planned(self._operator, self._native_backend, framework, extra)

    def _graph_capacity(self, batch_size: int, query_tokens: int, qo_len: int, kv_tokens: int) -> dict[str, int]:
        """What plans after a CUDA graph's capture may bring at the most."""
        if self._on[0] == "cpu":
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
        kv: Any,
        out: Optional[Tensor],
        lse: Optional[Tensor],
        return_lse: bool,
        sinks: Optional[Tensor] = None,
        q_scale: Any = None,
        k_scale: Any = None,
        v_scale: Any = None,
        args: Sequence[Any] = (),
        changed: Optional[dict[str, Any]] = None,
    ) -> Union[Tensor, tuple[Tensor, Tensor]]:
        """Runs with the pair `kv`, or the one tensor that holds both. `args` are what a variant takes, or scales by head
        of e4m3; `changed` attributes take the place of the plan's."""
        planned = self._planned
        if planned is None or not planned.ready:
            planned = self._check_planned()
        if changed is not None or planned.changed:
            planned.change(changed or {})
        rest: Sequence[Any] = ()
        if not (q_scale is k_scale is v_scale is None):
            rest = scale(q_scale), scale(k_scale), scale(v_scale)
        if self._variant is not None:
            sinks, rest = self._variant.values(args, q, sinks, rest)
        elif args:
            rest = (*(rest or (None, None, None)), *head_scales(type(self).__name__, args))
        framework = None
        if out is None or (return_lse and lse is None):
            framework = framework_of(q, f"{self._operator}: q")
            if out is None:
                out = planned.empty_out(framework, q, self._out_dtype)
            if return_lse and lse is None:
                lse = framework.empty(q.shape[:-1], q, "f32")
        try:
            if isinstance(kv, (tuple, list)):
                k, v = both_of_cache(kv, self._kv_layout) if planned.pages_of_one else kv
                planned.run(q, k, v, out, lse, sinks, *rest)
            else:
                planned.run_of_one_cache(q, kv, out, lse, sinks, *rest)
        except (TypeError, ValueError):
            if self._paged:
                both_of_cache(kv)  # knows what a cache looks like
            raise
        if framework is not None:
            out, lse = framework.result(out), framework.result(lse) if return_lse else lse
        return (out, lse) if return_lse else out

    _out_dtype: Optional[str] = None  # None: that of q

    def end_forward(self) -> None:
        """Nothing to do; FlashInfer's old name."""


def dtypes(q_data_type: Any, kv_data_type: Any, data_type: Any = None) -> tuple[str, str]:
    """The dtypes of q and of k and v, by FlashInfer's defaults."""
    if q_data_type is None:
        q_data_type = "float16" if data_type is None else data_type
    if kv_data_type is None:
        kv_data_type = q_data_type if data_type is None else data_type
    return dtype_name(q_data_type), dtype_name(kv_data_type)


def head_scales(where: str, scales: Sequence[Any]) -> Sequence[Any]:
    """The scales of e4m3 queries, keys and values by head, as FlashInfer's runs take them behind the tensors."""
    if len(scales) != len(Planned.HEAD_SCALES):
        raise ValueError(
            f"{where}: run: expected scale_q, scale_k and scale_v, f32 tensors of as many elements as heads, behind the "
            f"tensors, or nothing, got {len(scales)} arguments"
        )
    return scales


def out_dtype(o_data_type: Any, q_dtype: str) -> Optional[str]:
    """The dtype of outputs where it is another than that of q: f16 for e4m3, if nothing else is asked for."""
    name = ("f16" if q_dtype == "e4m3" else None) if o_data_type is None else dtype_name(o_data_type)
    return None if name == q_dtype else name
