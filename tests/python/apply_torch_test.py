"""apply() with torch tensors, on the CPU and on a GPU where there is one, and in a Hugging Face Llama. Needs torch."""

import json
import types

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import strobe  # noqa: E402
from data_sets import HARDWARE, Writer, axes, tensors  # noqa: E402
from strobe.apply import ApplyConfig, active, apply, disable_apply, enable_apply  # noqa: E402
from strobe.tracing import TracingConfig, enable_tracing  # noqa: E402

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
CONFIG = ApplyConfig(hardware=HARDWARE)
EPS = 1e-6

TORCH_NORM = """import torch

def run(hidden_states, weight, output):
    x = hidden_states.float()
    output.copy_((x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)).to(weight.dtype) * weight)
"""

CPP_NORM = """#include <math.h>
#include <stdint.h>
struct Tensor { void* data; int32_t device[2], rank; uint8_t code, bits; uint16_t lanes; int64_t *shape, *strides; uint64_t offset; };
struct Any { int32_t kind; uint32_t zero; union { int64_t integer; double number; Tensor* tensor; }; };
static float* of(const Any& a) { return static_cast<float*>(a.tensor->data); }
extern "C" int __tvm_ffi_run(void*, const Any* a, int32_t, Any*) {
  const int64_t* shape = a[0].tensor->shape;
  for (int64_t i = 0; i < shape[0]; ++i) {
    const float* x = of(a[0]) + i * shape[1];
    double sum = 0;
    for (int64_t j = 0; j < shape[1]; ++j) sum += double(x[j]) * x[j];
    for (int64_t j = 0; j < shape[1]; ++j)
      of(a[2])[i * shape[1] + j] = float(x[j] / sqrt(sum / shape[1] + 1e-6)) * of(a[1])[j];
  }
  return 0;
}
"""


@pytest.fixture
def data_set(tmp_path):
    """rmsnorm of 64 columns: 'torch_norm' for 1 and 5 rows, 'cpp_norm' for 6 (f32)."""
    writer = Writer(tmp_path)
    shapes = {"hidden_states": ["batch_size", "hidden_size"], "weight": ["hidden_size"]}
    for dtype in ("float32", "bfloat16"):
        name = f"rmsnorm_h64_{dtype}"
        writer.definition(
            name, "rmsnorm", axes(batch_size=None, hidden_size=64), tensors(dtype, **shapes),
            tensors(dtype, output=["batch_size", "hidden_size"]), "def run(x, w):\n    return x + 1e-6\n",
        )  # fmt: skip
        writer.solution(f"torch_norm_{dtype}", name, TORCH_NORM)
        for rows in (1, 5):
            writer.trace(name, f"torch_norm_{dtype}", batch_size=rows)
    writer.solution("cpp_norm", "rmsnorm_h64_float32", CPP_NORM, language="cpp")
    writer.trace("rmsnorm_h64_float32", "cpp_norm", batch_size=6)
    yield writer
    while active():
        disable_apply()


def rms(x, w):
    return x.double() * torch.rsqrt(x.double().pow(2).mean(-1, keepdim=True) + EPS) * w.double()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_adapters_route_tensors_of_torch(data_set, dtype, tolerance, device):
    x, w = torch.randn(5, 64, device=device).to(dtype), torch.randn(64, device=device).to(dtype)
    with torch.no_grad(), enable_apply(data_set.root, CONFIG) as runtime:
        out = strobe.rmsnorm(x, w)
        torch.testing.assert_close(out.double(), rms(x, w), rtol=tolerance, atol=tolerance)
        assert out.dtype == dtype and out.device == x.device
        name = f"rmsnorm_h64_{str(dtype).removeprefix('torch.')}"
        assert runtime.statistics()["definitions"][name]["applied"] == 1


def test_a_solution_in_cpp_is_called_without_python_between(data_set):
    x, w, y = torch.randn(6, 64), torch.randn(64), torch.empty(6, 64)
    with enable_apply(data_set.root, CONFIG):
        assert apply("rmsnorm_h64_float32", (x, w, y)) is None
        torch.testing.assert_close(y.double(), rms(x, w), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(apply("rmsnorm_h64_float32", (x, w)), y)
        made = apply("rmsnorm_h64_float32", (x.numpy(), w.numpy()))
        np.testing.assert_allclose(made, y.numpy())


def test_gradients_go_to_the_fallback(data_set):
    x, w = torch.randn(5, 64, requires_grad=True), torch.randn(64)
    with enable_apply(data_set.root, CONFIG):
        assert apply("rmsnorm_h64_float32", (x, w), fallback=lambda x, w: "fallback") == "fallback"
        with torch.no_grad():
            assert apply("rmsnorm_h64_float32", (x, w)).shape == (5, 64)


def test_arrays_of_numpy_reach_a_solution_for_torch(data_set):
    x, w = np.random.default_rng(0).standard_normal((5, 64)).astype(np.float32), np.ones(64, np.float32)
    with enable_apply(data_set.root, CONFIG):
        out = apply("rmsnorm_h64_float32", (x, w))
        assert isinstance(out, np.ndarray)
        np.testing.assert_allclose(out, rms(torch.from_numpy(x), torch.from_numpy(w)).numpy(), rtol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_cuda_graph_replays_the_solution(data_set):
    x, w, y = (torch.randn(*shape, device="cuda") for shape in ((5, 64), (64,), (5, 64)))
    with enable_apply(data_set.root, CONFIG):
        apply("rmsnorm_h64_float32", (x, w, y))
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            apply("rmsnorm_h64_float32", (x, w, y))
        x.normal_()
        graph.replay()
    torch.testing.assert_close(y.double(), rms(x, w), rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_tensors_on_a_gpu_are_recorded(data_set):
    x, w = torch.randn(7, 64, device="cuda"), torch.randn(64, device="cuda")
    with enable_tracing(str(data_set.root), TracingConfig(values="all")):
        strobe.rmsnorm(x, w)
    (blob,) = data_set.root.rglob("*.safetensors")
    assert x.cpu().numpy().tobytes() in blob.read_bytes()


def test_a_transformers_model_runs_registered_solutions_and_says_so(data_set):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=128, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, rms_norm_eps=EPS,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config).eval()
    prompt = torch.randint(0, 128, (1, 5))
    norms = [module for module in model.modules() if type(module).__name__ == "LlamaRMSNorm"]

    def forward(self, hidden_states):
        rows = hidden_states.reshape(-1, hidden_states.shape[-1])
        return strobe.rmsnorm(rows, self.weight, self.variance_epsilon).view_as(hidden_states)

    with torch.no_grad():
        eager = model(prompt).logits
        tokens = model.generate(prompt, max_new_tokens=4, do_sample=False)
        for norm in norms:
            norm.forward = types.MethodType(forward, norm)
        with enable_apply(data_set.root, CONFIG) as runtime:
            torch.testing.assert_close(model(prompt).logits, eager, rtol=1e-4, atol=1e-4)
            assert model.generate(prompt, max_new_tokens=4, do_sample=False).tolist() == tokens.tolist()
            text = runtime.explain()
    calls = len(norms) * (1 + 4)  # a forward pass, then the prompt and three tokens
    assert f"rmsnorm_h64_float32: {calls} calls, {calls} of them to a solution" in text
    assert f"batch_size=5 on cpu: {2 * len(norms)} calls, torch_norm_float32, exact" in text
    assert f"batch_size=1 on cpu: {3 * len(norms)} calls, torch_norm_float32, exact" in text


def test_the_starter_set_serves_every_adapter():
    """The solutions of datasets/starter, behind Strobe's functions, against the functions themselves."""
    from pathlib import Path

    starter = Path(__file__).parents[2] / "datasets" / "starter"
    i32 = np.int32

    def work():
        numbers = np.random.default_rng(0)

        def rows(*shape):
            return numbers.standard_normal(shape).astype(np.float32)

        x, residual, weight = rows(16, 4096), rows(16, 4096), rows(4096)
        results = [strobe.rmsnorm(x, weight)]
        strobe.fused_add_rmsnorm(x, residual, weight)
        results += [x, residual]
        decode = strobe.BatchDecodeWithPagedKVCacheWrapper(None)
        indices = numbers.permutation(40).astype(i32)
        decode.plan(i32([0, 10, 30]), indices, i32([3, 16]), 32, 8, 128, 16, q_data_type="float32")
        results += decode.run(rows(2, 32, 128), (rows(40, 16, 8, 128), rows(40, 16, 8, 128)), return_lse=True)
        prefill, indptr = strobe.BatchPrefillWithRaggedKVCacheWrapper(None), i32([0, 60, 128])
        prefill.plan(indptr, indptr, 32, 8, 128, causal=True, q_data_type="float32")
        results += prefill.run(rows(128, 32, 128), rows(128, 8, 128), rows(128, 8, 128), return_lse=True)
        q, k, positions, cache = rows(32, 32 * 128), rows(32, 8 * 128), np.arange(32), rows(1024, 128)
        results += strobe.apply_rope_with_cos_sin_cache(positions, q, k, 128, cache)
        strobe.apply_rope_with_cos_sin_cache_inplace(positions, q, k, 128, cache)
        probs = np.full((32, 32000), 1e-9, np.float32)
        probs[:, 7] = 1 - 31999e-9  # the only token that top-p leaves
        return [*results, q, k, strobe.top_p_sampling_from_probs(probs, 0.5)]

    lines = [line for file in starter.glob("traces/**/*.jsonl") for line in file.read_text().splitlines()]
    hardware = {json.loads(line)["evaluation"]["environment"]["hardware"] for line in lines}
    want = work()
    cpu = min(name for name in hardware if not name.startswith("NVIDIA"))
    config = ApplyConfig(hardware=cpu, on_miss="use_def_best")
    with enable_apply(str(starter), config) as runtime:
        got = work()
        counted = runtime.statistics()["definitions"]
    for result, expected in zip(got, want, strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)
    assert sum(definition["applied"] for definition in counted.values()) == 7
    assert not [name for name in counted if name.startswith("adapter: ")]
