"""Strobe's functions with FlashInfer's names, routed through apply: a hit runs the solution, which these tests know by
what it writes; what a definition does not cover runs the original."""

import math

import numpy as np
import pytest

import strobe
from data_sets import HARDWARE, Writer, axes, tensors
from strobe.apply import ApplyConfig, active, disable_apply, enable_apply

ANY_SIZE = ApplyConfig(hardware=HARDWARE, on_miss="use_def_best")
MARK = 77.0
rng = np.random.default_rng(3)


def rows(*shape):
    return rng.standard_normal(shape).astype(np.float32)


@pytest.fixture
def data_set(tmp_path):
    yield Writer(tmp_path)
    while active():
        disable_apply()


def enabled(data_set):
    return enable_apply(data_set.root, ANY_SIZE)


def refusals(runtime, name):
    return list(runtime.statistics()["definitions"].get(f"adapter: strobe.{name}", {}).get("refused", {}))


def norm_set(data_set, eps="1e-5", fused_outputs=("output", "residual_out")):
    """rmsnorm writes MARK; fused_add_rmsnorm MARK and MARK + 1."""
    shape = {"hidden_states": ["batch_size", "hidden_size"], "weight": ["hidden_size"]}
    n = axes(batch_size=None, hidden_size=8)
    reference = f"def run(*args):\n    EPS = {eps}\n"
    data_set.definition(
        "rmsnorm_h8", "rmsnorm", n, tensors(**shape), tensors(output=["batch_size", "hidden_size"]), reference
    )
    data_set.solution("norm", "rmsnorm_h8", f"def run(x, w, y):\n    y[...] = {MARK}\n")
    data_set.trace("rmsnorm_h8", "norm", batch_size=1)
    outputs = tensors(**{name: ["batch_size", "hidden_size"] for name in fused_outputs})
    data_set.definition(
        "fused_add_rmsnorm_h8",
        "rmsnorm",
        n,
        tensors(residual=["batch_size", "hidden_size"], **shape),
        outputs,
        reference,
    )
    body = "".join(f"    outputs[{i}][...] = {MARK + i}\n" for i in range(len(fused_outputs)))
    data_set.solution("fused", "fused_add_rmsnorm_h8", f"def run(r, x, w, *outputs):\n{body}")
    data_set.trace("fused_add_rmsnorm_h8", "fused", batch_size=1)


def test_rmsnorm(data_set):
    norm_set(data_set)
    x, w = rows(3, 8), rows(8)
    want = strobe.rmsnorm(x, w, 1e-5)
    original = strobe.rmsnorm
    with enabled(data_set) as runtime:
        assert strobe.norm.rmsnorm is strobe.rmsnorm is not original
        assert (strobe.rmsnorm(x, w, 1e-5) == MARK).all()
        out = np.zeros_like(x)
        assert strobe.rmsnorm(x, w, eps=1e-5, out=out) is out and (out == MARK).all()
        in_place = x.copy()
        assert strobe.rmsnorm(in_place, w, 1e-5, out=in_place) is in_place and (in_place == MARK).all()
        assert not (strobe.rmsnorm(x, w, 1e-6) == MARK).any(), "another eps than the definition's"
        assert not (strobe.rmsnorm(rows(3, 16), rows(16), 1e-5) == MARK).any()
        assert not (strobe.rmsnorm(x.astype(np.float16), w.astype(np.float16), 1e-5) == MARK).any()
        assert not (strobe.rmsnorm(rows(2, 3, 8), w, 1e-5) == MARK).any()
        with pytest.raises(TypeError):
            strobe.rmsnorm(x)
        counted = runtime.statistics()["definitions"]
        assert counted["rmsnorm_h8"]["applied"] == 3
        assert refusals(runtime, "rmsnorm") == [
            "it lacks the argument 'weight'",
            "no definition of the data set describes it",
        ]
    assert strobe.rmsnorm is strobe.norm.rmsnorm is original
    np.testing.assert_array_equal(strobe.rmsnorm(x, w, 1e-5), want)


@pytest.mark.parametrize("outputs", [("output", "residual_out"), ("residual_out", "output"), ("output",)])
def test_fused_add_rmsnorm_stays_in_place(data_set, outputs):
    norm_set(data_set, fused_outputs=outputs)
    x, r, w = rows(3, 8), rows(3, 8), rows(8)
    total = x + r
    with enabled(data_set) as runtime:
        assert strobe.fused_add_rmsnorm(x, r, w, 1e-5) is None
        assert runtime.statistics()["definitions"]["fused_add_rmsnorm_h8"]["applied"] == 1
    assert (x == MARK + outputs.index("output")).all()
    np.testing.assert_array_equal(
        r, total if len(outputs) == 1 else np.full_like(r, MARK + outputs.index("residual_out"))
    )


def test_an_output_in_the_inputs_memory_is_written_last(data_set):
    norm_set(data_set)
    data_set.solution("slow", "rmsnorm_h8", "def run(x, w, y):\n    y[...] = 0\n    y += x\n")
    data_set.trace("rmsnorm_h8", "slow", ms=0.1, batch_size=1)
    x, w = rows(3, 8), rows(8)
    before = x.copy()
    with enabled(data_set):
        strobe.rmsnorm(x, w, 1e-5, out=x[:])
    np.testing.assert_array_equal(x, before)


def test_a_solution_may_call_what_is_adapted(data_set):
    norm_set(data_set)
    data_set.solution(
        "self", "rmsnorm_h8", "import strobe\n\ndef run(x, w, y):\n    strobe.rmsnorm(x, w, 1e-5, out=y)\n"
    )
    data_set.trace("rmsnorm_h8", "self", ms=0.1, batch_size=1)
    x, w = rows(3, 8), rows(8)
    want = strobe.rmsnorm(x, w, 1e-5)
    with enabled(data_set) as runtime:
        np.testing.assert_array_equal(strobe.rmsnorm(x, w, 1e-5), want)
        assert runtime.statistics()["definitions"]["rmsnorm_h8"]["applied"] == 1


PAGE, HEADS, KV_HEADS, DIM = 4, 4, 2, 8
INDPTR, INDICES, LAST = np.int32([0, 2, 3]), np.int32([4, 0, 2, 9, 9]), np.int32([1, 4])


def attention_set(data_set, kind="decode", with_last=True, lse=True):
    batch = "batch_size" if kind == "decode" else "total_q"
    q = {"q": [batch, "num_qo_heads", "head_dim"]}
    cache = ["num_pages", "page_size", "num_kv_heads", "head_dim"]
    constants = {"num_qo_heads": HEADS, "num_kv_heads": KV_HEADS, "head_dim": DIM}
    variable = {batch: None, "len_indptr": None}
    indices = {"kv_indptr": (["len_indptr"], "int32"), "sm_scale": None}
    if kind == "ragged":
        variable["total_kv"] = None
        given = {**q, "k": ["total_kv", "num_kv_heads", "head_dim"], "v": ["total_kv", "num_kv_heads", "head_dim"]}
    else:
        variable |= {"num_pages": None, "num_kv_indices": None}
        constants["page_size"] = PAGE
        given = {**q, "k_cache": cache, "v_cache": cache}
        indices["kv_indices"] = (["num_kv_indices"], "int32")
        if with_last:
            variable["requests"] = None
            indices["kv_last_page_len"] = (["requests"], "int32")
    if kind != "decode":
        indices["qo_indptr"] = (["len_indptr"], "int32")
    outputs = {"output": [batch, "num_qo_heads", "head_dim"], **({"lse": [batch, "num_qo_heads"]} if lse else {})}
    op_type = "gqa_ragged" if kind == "ragged" else "gqa_paged"
    name = f"gqa_{kind}" + ("" if kind == "decode" else "_causal")
    inputs = {**given, **indices}
    data_set.definition(name, op_type, axes(**variable, **constants), tensors(**inputs), tensors(**outputs))
    # What the solution sees: the scale, how many indices there are, and their sum.
    seen = "kv_indices" if kind != "ragged" else "kv_indptr"
    body = f"    output[...] = sm_scale\n    output[0, 0, 0] = len({seen})\n    output[0, 0, 1] = {seen}.sum()\n"
    body += "    lse[...] = 5\n" if lse else ""
    data_set.solution("attend", name, f"def run({', '.join([*inputs, *outputs])}):\n{body}")
    data_set.trace(name, "attend", **{axis: 1 for axis in variable})


def decode_call(**plan):
    wrapper = strobe.BatchDecodeWithPagedKVCacheWrapper(None)
    wrapper.plan(INDPTR, INDICES, LAST, HEADS, KV_HEADS, DIM, PAGE, q_data_type="float32", **plan)
    return wrapper, rows(2, HEADS, DIM), rows(6, PAGE, KV_HEADS, DIM), rows(6, PAGE, KV_HEADS, DIM)


def is_marked(out, scale=1 / math.sqrt(DIM), count=3, total=6):
    return bool(np.isclose(out[1, 2, 3], scale) and out[0, 0, 0] == count and out[0, 0, 1] == total)


def test_paged_decode(data_set):
    attention_set(data_set)
    with enabled(data_set):
        wrapper, q, k, v = decode_call()
        out, lse = wrapper.run(q, (k, v), return_lse=True)
        assert is_marked(out) and (lse == 5).all()
        assert is_marked(wrapper.run(q, (k, v)))
        given = np.zeros_like(q)
        assert wrapper.run(q, (k, v), out=given) is given and is_marked(given)
        wrapper, q, k, v = decode_call(sm_scale=0.5)
        assert is_marked(wrapper.run(q, (k, v)), scale=0.5)
        INDICES[0], before = 5, INDICES[0]
        try:
            assert is_marked(wrapper.run(q, (k, v)), scale=0.5), "a plan keeps what it was given"
        finally:
            INDICES[0] = before


@pytest.mark.parametrize(
    "plan, options, reason",
    [
        ({"window_left": 2}, {}, "window_left"),
        ({"logits_soft_cap": 30.0}, {}, "logits_soft_cap"),
        ({"pos_encoding_mode": "ROPE_LLAMA"}, {}, "pos_encoding_mode"),
        ({}, {"k_scale": 2.0}, "k_scale"),
        ({}, {"window_left": 1}, "window_left"),
        ({}, {"sinks": rows(HEADS)}, "sinks"),
    ],
)
def test_paged_decode_refuses_what_it_does_not_cover(data_set, plan, options, reason):
    attention_set(data_set)
    wrapper, q, k, v = decode_call(**plan)
    want = wrapper.run(q, (k, v), **options)
    with enabled(data_set) as runtime:
        planned, *_ = decode_call(**plan)
        np.testing.assert_array_equal(planned.run(q, (k, v), **options), want)
        assert refusals(runtime, "BatchDecodeWithPagedKVCacheWrapper") == [reason]


def test_arguments_that_ask_for_nothing_are_taken(data_set):
    attention_set(data_set)
    with enabled(data_set):
        wrapper, q, k, v = decode_call(q_len_per_req=1, window_left=-1, logits_soft_cap=0.0, pos_encoding_mode="NONE")
        assert is_marked(wrapper.run(q, (k, v), k_scale=1.0, window_left=-1, enable_pdl=True))


def test_paged_decode_of_other_layouts_pages_and_outputs(data_set):
    attention_set(data_set, with_last=False, lse=False)
    with enabled(data_set) as runtime:
        wrapper, q, k, v = decode_call()
        assert not is_marked(wrapper.run(q, (k, v))), "the definition takes all pages for full"
        LAST[0] = PAGE
        try:
            wrapper, q, k, v = decode_call()
        finally:
            LAST[0] = 1
        assert is_marked(wrapper.run(q, (k, v)))
        assert isinstance(wrapper.run(q, (k, v), return_lse=True), tuple)
        assert "lse, which the definition does not have" in refusals(runtime, "BatchDecodeWithPagedKVCacheWrapper")
        assert not is_marked(wrapper.run(q, np.stack([k, v], 1))), "keys in one tensor with values are not dense"
        hnd = strobe.BatchDecodeWithPagedKVCacheWrapper(None, "HND")
        hnd.plan(INDPTR, INDICES, np.int32([PAGE, PAGE]), HEADS, KV_HEADS, DIM, PAGE, q_data_type="float32")
        assert not is_marked(hnd.run(q, (k.swapaxes(1, 2).copy(), v.swapaxes(1, 2).copy())))
        assert "a cache in the layout HND" in refusals(runtime, "BatchDecodeWithPagedKVCacheWrapper")


def test_plans_from_before_run_the_original(data_set):
    attention_set(data_set)
    wrapper, q, k, v = decode_call()
    with enabled(data_set) as runtime:
        assert not is_marked(wrapper.run(q, (k, v)))
        assert refusals(runtime, "BatchDecodeWithPagedKVCacheWrapper") == [
            "no plan that was made while apply was enabled"
        ]


def test_paged_prefill(data_set):
    attention_set(data_set, "prefill")
    q, k, v = rows(3, HEADS, DIM), rows(6, PAGE, KV_HEADS, DIM), rows(6, PAGE, KV_HEADS, DIM)

    def run(**plan):
        wrapper = strobe.BatchPrefillWithPagedKVCacheWrapper(None)
        wrapper.plan(
            np.int32([0, 1, 3]), INDPTR, INDICES, LAST, HEADS, KV_HEADS, DIM, PAGE, q_data_type="float32", **plan
        )
        return wrapper.run(q, (k, v))

    want = run(causal=False)
    with enabled(data_set) as runtime:
        assert is_marked(run(causal=True))
        np.testing.assert_array_equal(run(causal=False), want)
        mask = np.ones(1 * 5 + 2 * 4, bool)
        assert not is_marked(run(causal=True, custom_mask=mask))
        assert refusals(runtime, "BatchPrefillWithPagedKVCacheWrapper") == [
            "a mask other than the causal one",
            "custom_mask",
        ]


def test_ragged_prefill(data_set):
    attention_set(data_set, "ragged")
    indptr = np.int32([0, 2, 3])
    q, k, v = rows(3, HEADS, DIM), rows(3, KV_HEADS, DIM), rows(3, KV_HEADS, DIM)
    with enabled(data_set) as runtime:
        wrapper = strobe.BatchPrefillWithRaggedKVCacheWrapper(None)
        wrapper.plan(indptr, indptr, HEADS, KV_HEADS, DIM, causal=True, q_data_type="float32")
        out, lse = wrapper.run(q, k, v, return_lse=True)
        assert is_marked(out, total=5) and (lse == 5).all()
        wrapper.plan(indptr, indptr, HEADS, KV_HEADS, DIM, causal=True, window_left=1, q_data_type="float32")
        assert not is_marked(wrapper.run(q, k, v), total=5)
        assert refusals(runtime, "BatchPrefillWithRaggedKVCacheWrapper") == ["window_left"]


def rope_set(data_set, name="rope_neox_d8"):
    given = {
        "q": ["num_tokens", "h", "head_size"],
        "k": ["num_tokens", "kv", "head_size"],
        "cos_sin_cache": ["max_seq_len", "rotary_dim"],
    }
    data_set.definition(
        name, "rope", axes(num_tokens=None, h=None, kv=None, max_seq_len=None, head_size=8, rotary_dim=8),
        tensors(**given, positions=(["num_tokens"], "int64")),
        tensors(q_out=["num_tokens", "h", "head_size"], k_out=["num_tokens", "kv", "head_size"]),
    )  # fmt: skip
    data_set.solution(
        "turn",
        name,
        f"def run(q, k, cache, positions, q_out, k_out):\n    q_out[...], k_out[...] = {MARK}, {MARK + 1}\n",
    )
    data_set.trace(name, "turn", num_tokens=1, h=1, kv=1, max_seq_len=1)


def test_rope(data_set):
    rope_set(data_set)
    positions, cache = np.arange(3, dtype=np.int64), rows(16, 8)
    q, k = rows(3, 4 * 8), rows(3, 2 * 8)
    with enabled(data_set) as runtime:
        q_out, k_out = strobe.apply_rope_with_cos_sin_cache(positions, q, k, 8, cache)
        assert q_out.shape == q.shape and (q_out == MARK).all() and (k_out == MARK + 1).all() and not (q == MARK).any()
        q_out, _ = strobe.apply_rope_with_cos_sin_cache(positions, q, k, 8, cache, is_neox=False)
        assert not (q_out == MARK).any()
        assert strobe.apply_rope_with_cos_sin_cache_inplace(positions, q, k, 8, cache) is None
        assert (q == MARK).all() and (k == MARK + 1).all()
        assert refusals(runtime, "apply_rope_with_cos_sin_cache") == ["no definition of the data set describes it"]


def test_sampling(data_set):
    vocab = axes(batch_size=None, vocab_size=16)
    limits = {"top_k": (["batch_size"], "int32"), "top_p": (["batch_size"], "float32")}
    for method, names in (
        ("top_k", ["top_k"]),
        ("top_p", ["top_p"]),
        ("top_k_top_p", ["top_k", "top_p"]),
        ("plain", []),
    ):
        name = f"{method}_v16"
        given = tensors(probs=["batch_size", "vocab_size"], **{n: limits[n] for n in names})
        data_set.definition(name, "sampling", vocab, given, tensors("int64", samples=["batch_size"]))
        total = " + ".join(f"{n}.sum()" for n in names) or "0"
        data_set.solution(
            method, name, f"def run({', '.join(['probs', *names])}, samples):\n    samples[...] = 100 + {total}\n"
        )
        data_set.trace(name, method, batch_size=1)
    probs = np.full((2, 16), 1 / 16, np.float32)
    with enabled(data_set) as runtime:
        assert strobe.sampling_from_probs(probs).tolist() == [100, 100]
        samples = strobe.top_k_sampling_from_probs(probs, 3)
        assert samples.tolist() == [106, 106] and samples.dtype == np.int32
        assert strobe.top_k_sampling_from_probs(probs, np.int32([1, 2])).tolist() == [103, 103]
        assert strobe.top_p_sampling_from_probs(probs, 1.0).tolist() == [102, 102]
        assert strobe.top_k_top_p_sampling_from_probs(probs, 3, 1.0).tolist() == [108, 108]
        for options in ({"seed": 3, "offset": 0}, {"indices": np.int32([0, 1])}, {"deterministic": False}):
            assert max(strobe.top_k_sampling_from_probs(probs, 3, **options).tolist()) < 16
        assert max(strobe.top_k_top_p_sampling_from_probs(probs, 3, 1.0, filter_apply_order="joint").tolist()) < 16
        assert refusals(runtime, "top_k_sampling_from_probs") == [
            "a generator or a seed",
            "deterministic=False",
            "indices of rows",
        ]


def test_a_plan_with_arguments_that_have_no_names_is_refused(data_set):
    """FlashInfer's plan takes old positional arguments as *deprecated_positional_args."""
    from strobe.apply import _adapters, _attention_adapters

    kind = _attention_adapters._KINDS["decode", "BatchDecodeWithPagedKVCacheWrapper"]

    class Wrapper:
        def plan(
            self, indptr, indices, last_page_len, num_qo_heads, num_kv_heads, head_dim, page_size, *old, window_left=-1
        ):
            self.window_left = old[1] if old else window_left

    attention_set(data_set)
    adapted = _attention_adapters._adapted_plan(kind, Wrapper.plan)
    with enabled(data_set):
        wrapper = Wrapper()
        given = (INDPTR, INDICES, LAST, HEADS, KV_HEADS, DIM, PAGE)
        adapted(wrapper, *given, "NONE", 5)
        assert wrapper.window_left == 5
        assert str(wrapper._strobe_apply_plan) == "further positional arguments"
        adapted(wrapper, *given, window_left=5)
        assert str(wrapper._strobe_apply_plan) == "window_left"
        adapted(wrapper, *given)
        assert not isinstance(wrapper._strobe_apply_plan, _adapters.Refused)
