"""What the package promises beside its operators: import, errors, frameworks, threads, the low-level module."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import reference as ref

import strobe
import strobe.ops
from strobe import _native

X, W = np.float32([[3, 4]]), np.float32([1, 2])


def run_python(code, *path):
    """Runs code in another interpreter with folders before the path; returns what it prints."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, path), os.environ["PYTHONPATH"]])}
    return subprocess.run(
        [sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_import_loads_no_framework(tmp_path):
    # A stand-in torch: whoever imports it is told so. numpy, jax and tvm_ffi are really there.
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')\n")
    code = "import strobe, sys; print(sorted({'torch', 'numpy', 'jax', 'tvm_ffi', 'ml_dtypes'} & set(sys.modules)))"
    assert run_python(code, tmp_path) == "[]"


def test_the_command():
    assert run_python("import strobe.__main__, sys; sys.argv = ['strobe', 'bench', '--list']; strobe.__main__.main()")
    text = subprocess.run([sys.executable, "-m", "strobe", "doctor"], capture_output=True, text=True, check=True).stdout
    assert "STROBE_NUM_THREADS" in text


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: strobe.rmsnorm(X, W[:1]), ValueError, "rmsnorm: weight: expected shape [hidden = 2], got f32[1]"),
        (
            lambda: strobe.rmsnorm(X.astype(np.float64), W),
            ValueError,
            "rmsnorm: input: expected dtype f32, f16 or bf16, got f64",
        ),
        (lambda: strobe.rmsnorm([3, 4], W), TypeError, "rmsnorm: input: expected a tensor, got list"),
        (lambda: strobe.rmsnorm(None, W), TypeError, "rmsnorm: input: expected a tensor, got nothing"),
        (lambda: strobe.rmsnorm(X, "weight"), TypeError, "rmsnorm: weight: expected a tensor, got a string"),
        (lambda: strobe.rmsnorm(X, W, eps="1"), TypeError, "rmsnorm: eps: expected a number, got a string"),
        (lambda: strobe.rmsnorm(X, W, eps=2), ValueError, "rmsnorm: eps: expected a value in [0, 1], got 2"),
        (
            lambda: strobe.rmsnorm(X, None),
            ValueError,
            "rmsnorm: weight: expected [hidden = 2] of dtype f32, f16 or bf16, got nothing",
        ),
        (
            lambda: strobe.rmsnorm(np.array([[None]]), W),
            ValueError,
            "rmsnorm: ",
        ),
        (
            lambda: strobe.ops.batch_attention_ragged().plan(),
            ValueError,
            "batch_attention_ragged: num_qo_heads: expected a value in [1, 65536], got 0",
        ),
        (lambda: strobe.rope.mla_rope_quantize_fp8(), strobe.Unsupported, "strobe.rope.mla_rope_quantize_fp8: "),
        (lambda: strobe.ops.no_such, AttributeError, "strobe.ops has no operator 'no_such'"),
        (lambda: _native.bind("rmsnorm", ["inptu"]), ValueError, "rmsnorm: run has no argument 'inptu'; known: input"),
        (lambda: _native.bind("rmsnorm", ["input"], "fa9"), ValueError, "backend: expected one of auto, cpu, "),
    ],
)
def test_errors_are_pythons_and_say_what_cpp_says(call, error, message):
    with pytest.raises(error) as raised:
        call()
    assert type(raised.value) is error
    assert str(raised.value).startswith(message)


def test_a_backend_that_does_not_serve_is_unsupported():
    call = _native.bind("rmsnorm", ["input", "weight", "out"], "cuda/sm80")
    with pytest.raises(strobe.Unsupported, match="backend 'cuda/sm80' does not serve tensors on cpu"):
        call(X, W, X.copy())


def test_read_only_arrays_are_inputs_and_no_outputs():
    for dtype in (np.float32, ref.BF16):
        x, w = X.astype(dtype), W.astype(dtype)
        want = strobe.rmsnorm(x, w)
        x.flags.writeable = w.flags.writeable = False
        np.testing.assert_array_equal(strobe.rmsnorm(x, w), want)
        with pytest.raises(ValueError, match="rmsnorm: out: expected an array that may be written, got a read-only one"):
            strobe.rmsnorm(x, w, out=x)


def test_index_arrays_of_another_width_are_converted():
    q = np.random.default_rng(1).standard_normal((3, 1, 8)).astype(np.float32)
    want = strobe.apply_rope(q, q, np.int32([0, 3]), np.int32([5]))[0]
    got = strobe.apply_rope(q, q, np.int64([0, 3]), np.uint8([5]))[0]
    np.testing.assert_array_equal(got, want)
    v = q.copy()
    s = np.zeros((3, 1), np.float16)
    np.testing.assert_allclose(strobe.merge_state(q, s, v, s.astype(np.float64))[0], q, rtol=1e-6)
    with pytest.raises(ValueError, match="apply_rope: offsets: expected whole numbers of 32 bits, got larger ones"):
        strobe.apply_rope(q, q, np.int64([0, 3]), np.int64([1 << 40]))
    with pytest.raises(ValueError, match="apply_rope: indptr: expected dtype i32, got f32"):
        strobe.apply_rope(q, q, np.float32([0, 3]), np.int32([5]))
    with pytest.raises(ValueError, match="merge_state_in_place: s: expected dtype f32, got f16"):  # it is written
        strobe.merge_state_in_place(q, s, v, s)


def test_overlapping_output():
    memory = np.zeros(12, np.float32)
    with pytest.raises(ValueError, match="rmsnorm: out: expected memory apart from input or exactly its view"):
        strobe.rmsnorm(memory[:8].reshape(1, 8), np.ones(8, np.float32), out=memory[4:].reshape(1, 8))


@pytest.mark.parametrize("name", ["torch.bfloat16", "bfloat16", "bf16", ref.BF16, np.dtype(ref.BF16)])
def test_dtype_spellings(name):
    from strobe._dtypes import dtype_name

    assert dtype_name(name) == "bf16"
    assert dtype_name(np.float32) == "f32" and dtype_name(np.dtype("int64")) == "i64" and dtype_name("half") == "f16"
    with pytest.raises(ValueError, match="dtype: expected one of f32, .*, got float64"):
        dtype_name(np.float64)


def test_ops_has_every_operator():
    listed = run_python("import os, strobe, sys; os.execv(strobe.__path__[0] + '/bin/strobe', ['strobe', 'docs'])")
    documented = {line[3:] for line in listed.splitlines() if line.startswith("## ")}
    assert documented == set(dir(strobe.ops)) - {"declaration"}
    for name in documented:
        assert strobe.ops.declaration(name)["summary"] in getattr(strobe.ops, name).__doc__


def test_ops_take_keywords_and_defaults():
    out = np.empty_like(X)
    strobe.ops.rmsnorm(out=out, weight=W, input=X, eps=0.0, gemma=True)
    np.testing.assert_allclose(out, ref.rmsnorm(X, W, 0, 1), rtol=1e-6)
    strobe.ops.rmsnorm(X, W, out)
    np.testing.assert_allclose(out, ref.rmsnorm(X, W, 1e-6), rtol=1e-6)
    with pytest.raises(TypeError, match="gamma"):
        strobe.ops.rmsnorm(input=X, gamma=1)


def test_exported_by_name_for_tvm_ffi():
    out = np.empty_like(X)
    _native.module()["rmsnorm"](X, W, out, 0.0)
    np.testing.assert_allclose(out, ref.rmsnorm(X, W, 0), rtol=1e-6)
    with pytest.raises(ValueError, match="rmsnorm: expected at most 5 arguments, got 7"):
        _native.module()["rmsnorm"](X, W, out, 0.0, False, None, None)


def planned(k):
    attention = strobe.ops.batch_attention_ragged()
    n = np.int32([0, len(k)])
    assert attention.plan(
        qo_indptr=np.int32([0, 1]), kv_indptr=n, num_qo_heads=1, num_kv_heads=1, head_dim_qk=64, q_dtype="f32",
        kv_dtype="f32",
    ) > 0  # fmt: skip
    return attention


def test_plan_and_run():
    q, k, v = (np.random.default_rng(3).standard_normal((n, 1, 64)).astype(np.float32) for n in (1, 9, 9))
    attention = planned(k)
    del k  # the plan has copies of what it needs
    k, out = np.ones_like(v), np.empty_like(q)
    run = attention.run
    del attention
    run(q=q, k=k, v=v, out=out)
    np.testing.assert_allclose(out[0], v.mean(0), rtol=1e-5)


def test_the_gil_is_free_while_the_cpu_computes():
    k = np.ones((200_000, 1, 64), np.float32)
    q, out, attention = k[:1].copy(), np.empty((1, 1, 64), np.float32), planned(k)
    worker = threading.Thread(target=lambda: [attention.run(q=q, k=k, v=k, out=out) for _ in range(20)])
    worker.start()
    turns = 0
    while worker.is_alive():
        turns += 1
    assert turns > 1000


def test_one_plan_is_for_one_thread_at_a_time():
    k = np.ones((200_000, 1, 64), np.float32)
    q, out, attention = k[:1].copy(), np.empty((1, 1, 64), np.float32), planned(k)
    stop, refused = threading.Event(), []

    def work():
        mine = out.copy()
        while not stop.is_set():
            try:
                attention.run(q=q, k=k, v=k, out=mine)
            except ValueError as error:
                refused.append(str(error))
                stop.set()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "expected one thread at a time for one plan" in refused[0]


def test_calls_from_many_threads():
    rng = np.random.default_rng(4)
    w = rng.standard_normal(256).astype(np.float32)
    wrong = []

    def work(seed):
        x = np.random.default_rng(seed).standard_normal((64, 256)).astype(np.float32)
        for _ in range(50):
            if not np.allclose(strobe.rmsnorm(x, w), ref.rmsnorm(x, w, 1e-6), rtol=1e-5):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_jax():
    jax = pytest.importorskip("jax", reason="jax is not installed")
    for dtype in (jax.numpy.float32, jax.numpy.bfloat16):
        x, w = jax.numpy.asarray(X, dtype), jax.numpy.asarray(W, dtype)
        out = strobe.rmsnorm(x, w)
        assert isinstance(out, jax.Array) and out.dtype == dtype
        ref.close(out, ref.rmsnorm(X, W, 1e-6), np.dtype(dtype).type)
        gated = strobe.silu_and_mul(x)
        assert isinstance(gated, jax.Array) and gated.shape == (1, 1)
    with pytest.raises(TypeError, match="rmsnorm: out: expected a tensor that may be written, got a jax array"):
        strobe.rmsnorm(x, w, out=x)
    with pytest.raises(TypeError, match="fused_add_rmsnorm: input: expected a tensor that may be written"):
        strobe.fused_add_rmsnorm(x, x, w)
    with pytest.raises(TypeError, match="rmsnorm: input: expected an array, got .*Tracer, which jax.jit traces"):
        jax.jit(lambda x: strobe.rmsnorm(x, w))(x)


CUPY = """
import types
import numpy as np

class ndarray:
    __module__ = "cupy"
    def __init__(self, array): self.array = array
    shape, dtype, itemsize = (property(lambda self, name=name: getattr(self.array, name)) for name in ("shape", "dtype", "itemsize"))
    def __dlpack__(self, **arguments): return self.array.__dlpack__()
    def __dlpack_device__(self): return self.array.__dlpack_device__()
    def get(self): return self.array

def empty(shape, dtype): return ndarray(np.empty(shape, dtype))
def array(values, dtype): return ndarray(np.array(values, dtype))
cuda = types.SimpleNamespace(get_current_stream=lambda: types.SimpleNamespace(ptr=4096))
"""


def test_cupy(tmp_path):
    # A stand-in, whose arrays are in host memory: what the package asks of cupy, and that its stream is given.
    (tmp_path / "cupy.py").write_text(CUPY)
    code = """
import cupy, numpy as np, strobe
from strobe import _native
x, w = cupy.array([[3, 4]], "float32"), cupy.array([1, 2], "float32")
y = strobe.rmsnorm(x, w)
assert type(y) is cupy.ndarray, type(y)
print(y.get().round(4), _native._prepare("rmsnorm", ("input", "weight"), frozenset(), (x, w))[2:])
wrapper = strobe.BatchDecodeWithPagedKVCacheWrapper(None)
wrapper.plan(*(cupy.array(a, "int32") for a in ([0, 1], [0], [3])), 2, 1, 8, 4, q_data_type="float32")
cache = cupy.ndarray(np.ones((1, 2, 4, 1, 8), np.float32))
out, lse = wrapper.run(cupy.array(np.zeros((1, 2, 8)), "float32"), cache, return_lse=True)
print(type(out) is cupy.ndarray, out.get().mean(), lse.get().round(4))
"""
    assert run_python(code, tmp_path) == "[[0.8485 2.2627]] [4096]\nTrue 1.0 [[1.585 1.585]]"


def test_any_dlpack_tensor():
    import tvm_ffi

    out = tvm_ffi.from_dlpack(np.empty_like(X))
    assert strobe.rmsnorm(tvm_ffi.from_dlpack(X), tvm_ffi.from_dlpack(W), out=out) is out
    np.testing.assert_allclose(np.from_dlpack(out), ref.rmsnorm(X, W, 1e-6), rtol=1e-6)
    with pytest.raises(TypeError, match="out: expected one to be given"):
        strobe.rmsnorm(tvm_ffi.from_dlpack(X), W)


def test_package_is_typed():
    assert (Path(strobe.__path__[0]) / "py.typed").exists()
