"""Attention wrappers through apply: decode and prefill over pages, prefill over ragged KV.

`plan` always plans the original, too, and keeps what a definition wants: copies of the index arrays, and the scale.
`run` gives that and its tensors to the solution. Caches are NHD: definitions' caches are dense, those of HND are not.
"""

from __future__ import annotations

import functools
import math
from functools import wraps
from typing import Any, Callable, Optional

from .._frameworks import find_framework
from ._catalog import dtype_of

_PLAN = "_strobe_apply_plan"

# Arguments of plan and run that change nothing that a definition says, or that are read below.
_HARMLESS = frozenset(
    """non_blocking fixed_split_size disable_split_kv block_tables seq_lens seq_lens_q max_token_per_sequence
    max_sequence_kv use_fp16_qk_reduction q_data_type kv_data_type data_type o_data_type sm_scale rope_scale rope_theta
    enable_pdl out lse return_lse token_pos_in_items_len causal head_dim_vo num_qo_heads num_kv_heads head_dim
    head_dim_qk page_size""".split()
)
# Values by which an argument says that it asks for nothing.
_NOTHING: dict[str, tuple[Any, ...]] = {
    "pos_encoding_mode": ("NONE",), "window_left": (-1,), "logits_soft_cap": (0, 0.0), "q_len_per_req": (1,),
    "q_scale": (1, 1.0), "k_scale": (1, 1.0), "v_scale": (1, 1.0),
}  # fmt: skip


class _Kind:
    """One wrapper: names of its index arrays in plan -> inputs of definitions, and what its definitions are."""

    def __init__(self, op_type: str, arrays: dict[str, str], causal: bool, paged: bool) -> None:
        self.op_type, self.arrays, self.causal, self.paged = op_type, arrays, causal, paged
        self.tensors = ("q", "k_cache", "v_cache") if paged else ("q", "k", "v")
        self.inputs = frozenset((*self.tensors, *arrays.values(), "sm_scale"))


_PAGES = {"indptr": "kv_indptr", "indices": "kv_indices", "last_page_len": "kv_last_page_len"}
_KINDS = {
    ("decode", "BatchDecodeWithPagedKVCacheWrapper"): _Kind("gqa_paged", _PAGES, causal=False, paged=True),
    ("prefill", "BatchPrefillWithPagedKVCacheWrapper"): _Kind(
        "gqa_paged",
        {"qo_indptr": "qo_indptr", **{f"paged_kv_{ours}": theirs for ours, theirs in _PAGES.items()}},
        causal=True,
        paged=True,
    ),
    ("prefill", "BatchPrefillWithRaggedKVCacheWrapper"): _Kind(
        "gqa_ragged", {"qo_indptr": "qo_indptr", "kv_indptr": "kv_indptr"}, causal=True, paged=False
    ),
}


def _refuse_options(call: dict[str, Any], read: frozenset[str]) -> None:
    from ._adapters import refuse_if

    for name, value in call.items():
        if name in read or name in _HARMLESS or value is None or value is False:
            continue
        refuse_if(not any(value is nothing or value == nothing for nothing in _NOTHING.get(name, ())), name)


class _Plan:
    """What a plan has said, in the terms of definitions."""

    def __init__(self, kind: _Kind, wrapper: Any, call: dict[str, Any]) -> None:
        from ._adapters import refuse_if

        self.kind = kind
        refuse_if(getattr(wrapper, "_kv_layout", "NHD") != "NHD", "a cache in the layout HND")
        refuse_if(getattr(wrapper, "is_cuda_graph_enabled", False), "index buffers of CUDA graphs")
        refuse_if(
            getattr(wrapper, "_variant", None) is not None or getattr(wrapper, "_jit_module", None) is not None,
            "a variant",
        )
        refuse_if(kind.causal and not call.get("causal", False), "a mask other than the causal one")
        _refuse_options(call, frozenset(kind.arrays))
        head_dim = call["head_dim"] if "head_dim" in call else call["head_dim_qk"]
        refuse_if(call.get("head_dim_vo") not in (None, head_dim), "values of another head dimension")
        self.constants = (
            ("num_qo_heads", call["num_qo_heads"]), ("num_kv_heads", call["num_kv_heads"]), ("head_dim", head_dim),
        ) + ((("page_size", call["page_size"]),) if kind.paged else ())  # fmt: skip
        self.out_dtype = call.get("o_data_type")
        sm_scale = call.get("sm_scale")
        self.values = {"sm_scale": 1 / math.sqrt(head_dim) if sm_scale is None else float(sm_scale)}
        arrays = {theirs: call[ours] for ours, theirs in kind.arrays.items()}
        self.has_partial_pages = False
        if kind.paged:
            pages = int(arrays["kv_indptr"][-1])
            arrays["kv_indices"] = arrays["kv_indices"][:pages]
            last = arrays["kv_last_page_len"]
            self.has_partial_pages = bool((last != call["page_size"]).any())
        self.values.update((name, _copy(array)) for name, array in arrays.items())
        self._device: Any = None

    def on_device_of(self, q: Any) -> dict[str, Any]:
        """The arrays where the tensors of runs are; brought there once."""
        device = getattr(q, "device", None)
        if hasattr(q, "is_cuda") and device != self._device:
            self.values = {n: v.to(device) if hasattr(v, "to") else v for n, v in self.values.items()}
            self._device = device
        return self.values


def _copy(array: Any) -> Any:
    """Planning again with other values in the same buffers must not change this plan."""
    return array.clone() if hasattr(array, "clone") else array.copy()


def _definition(plan: _Plan, q: Any) -> Any:
    from ._adapters import session

    kind, partial = plan.kind, plan.has_partial_pages

    def fits(definition: Any) -> bool:
        inputs = definition["inputs"]
        if kind.causal != ("qo_indptr" in inputs) or (kind.causal and "causal" not in definition["name"]):
            return False
        return not partial or "kv_last_page_len" in inputs  # without it, all pages are full

    return session.definition(
        (kind.op_type,), plan.constants, (("q", dtype_of(q)),), kind.inputs, (kind.causal, partial), fits
    )


def _attend(wrapper: Any, kind: _Kind, call: dict[str, Any], original: Callable[[], Any]) -> Any:
    from ._adapters import Refused, refuse_if, route

    plan = getattr(wrapper, _PLAN, None)
    if isinstance(plan, Refused):
        raise plan
    if not isinstance(plan, _Plan):
        raise Refused("no plan that was made while apply was enabled")
    _refuse_options(call, frozenset(("q", "k", "v", "paged_kv_cache")))
    q = call["q"]
    if kind.paged:
        cache = call["paged_kv_cache"]
        k, v = cache if isinstance(cache, (tuple, list)) else (cache[:, 0], cache[:, 1])
    else:
        k, v = call["k"], call["v"]
    refuse_if(
        plan.out_dtype is not None and str(plan.out_dtype).rpartition(".")[2] != dtype_of(q), "another output dtype"
    )
    definition = _definition(plan, q)
    outputs = list(definition["outputs"])
    out, lse, return_lse = call.get("out"), call.get("lse"), call.get("return_lse", False)
    refuse_if(return_lse and "lse" not in outputs, "lse, which the definition does not have")
    given = {**plan.on_device_of(q), **dict(zip(kind.tensors, (q, k, v)))}
    hit, result = route(definition, given, original, _given_outputs(outputs, q, out, lse))
    if not hit:
        return result
    results = dict(zip(outputs, result if isinstance(result, (tuple, list)) else (result,)))
    computed = results.get("output", next(iter(results.values())))
    return (computed, results["lse"]) if return_lse else computed


def _given_outputs(outputs: list[str], q: Any, out: Any, lse: Any) -> Optional[list[Any]]:
    """All of the definition's outputs, when the caller has given one."""
    if out is None and lse is None:
        return None
    framework = find_framework(q)
    assert framework is not None
    if out is None:
        out = framework.empty_like(q)
    if lse is None:
        lse = framework.empty(q.shape[:-1], q, "f32")
    return [lse if name == "lse" else out for name in outputs]


def install(package: Any, patches: Any) -> None:
    """Adapts the wrapper classes of a package with FlashInfer's modules."""
    for (module, name), kind in _KINDS.items():
        wrapper = getattr(getattr(package, module, None), name, None)
        if wrapper is None or hasattr(wrapper, "missing"):
            continue
        plan, run = wrapper.plan, wrapper.run
        adapted_plan = _adapted_plan(kind, plan)
        for attribute in ("plan", "begin_forward"):
            if vars(wrapper).get(attribute) is plan:
                patches.set(wrapper, attribute, adapted_plan)
        if "forward" in vars(wrapper):  # gives the plan other attributes
            patches.set(wrapper, "forward", _forgetful(wrapper.forward))
        adapted_run = _adapted_run(kind, run, f"{package.__name__}.{name}")
        for attribute in ("run", "forward", "run_return_lse", "forward_return_lse"):
            there = vars(wrapper).get(attribute)
            if there is run:
                patches.set(wrapper, attribute, adapted_run)
            elif isinstance(there, functools.partialmethod) and there.func is run:
                patches.set(wrapper, attribute, functools.partialmethod(adapted_run, **there.keywords))
    fast_plan = getattr(getattr(package, "decode", None), "fast_decode_plan", None)
    if fast_plan is not None and "fast_decode_plan" in vars(package.decode):
        patches.set(package.decode, "fast_decode_plan", _forgetful(fast_plan))


def _forgetful(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def call(wrapper: Any, *args: Any, **kwargs: Any) -> Any:
        wrapper.__dict__.pop(_PLAN, None)
        return original(wrapper, *args, **kwargs)

    return call


def _adapted_plan(kind: _Kind, original: Callable[..., Any]) -> Callable[..., Any]:
    from ._adapters import Parameters

    parameters = Parameters(original, skip=1)

    @wraps(original)
    def plan(wrapper: Any, *args: Any, **kwargs: Any) -> Any:
        from ._adapters import Refused, session

        result = original(wrapper, *args, **kwargs)
        try:
            if session.catalog() is not None:
                setattr(wrapper, _PLAN, _Plan(kind, wrapper, parameters.read(args, kwargs)))
        except Refused as refused:
            setattr(wrapper, _PLAN, refused)
        return result

    return plan


def _adapted_run(kind: _Kind, original: Callable[..., Any], name: str) -> Callable[..., Any]:
    from ._adapters import Parameters, adapted_call

    parameters = Parameters(original, skip=1)

    @wraps(original)
    def run(wrapper: Any, *args: Any, **kwargs: Any) -> Any:
        return adapted_call(
            name,
            lambda ours: _attend(wrapper, kind, parameters.read(args, kwargs), ours),
            lambda: original(wrapper, *args, **kwargs),
        )

    return run
