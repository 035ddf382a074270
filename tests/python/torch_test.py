"""torch tensors, and the custom operators: on the CPU, and on a GPU where there is one. Needs torch."""

import math

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import strobe  # noqa: E402
import strobe.torch  # noqa: E402

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
EPS = 1e-6


def rms(x, w):
    x = x.double()
    return x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + EPS) * w.double()


def close(got, want, dtype):
    tolerance = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}[dtype]
    assert got.dtype == dtype
    torch.testing.assert_close(got.double(), want.double(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_tensors_of_torch(dtype, device):
    x, w = torch.randn(5, 64, device=device).to(dtype), torch.randn(64, device=device).to(dtype)
    close(strobe.rmsnorm(x, w), rms(x, w), dtype)
    out = torch.empty_like(x)
    assert strobe.rmsnorm(x, w, out=out) is out
    close(out, rms(x, w), dtype)
    fused = torch.randn(5, 3 * 64, device=device).to(dtype)
    close(strobe.rmsnorm(fused[:, 64:128], w), rms(fused[:, 64:128], w), dtype)


@pytest.mark.parametrize("device", DEVICES)
def test_gradients_are_refused(device):
    x, w = torch.randn(5, 64, device=device), torch.randn(64, device=device, requires_grad=True)
    with pytest.raises(ValueError, match="rmsnorm: weight: expected a tensor without gradient"):
        strobe.rmsnorm(x, w)
    with torch.no_grad():
        close(strobe.rmsnorm(x, w), rms(x, w), torch.float32)


@pytest.mark.skipif("cuda" not in DEVICES, reason="there is no GPU")
def test_errors_of_devices():
    x, w = torch.randn(5, 64, device="cuda"), torch.randn(64)
    with pytest.raises(ValueError, match="rmsnorm: weight: expected device cuda:0"):
        strobe.rmsnorm(x, w)


def attention(q, k, v, causal):
    k, v = (x.double().repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
    x = torch.einsum("ihd,jhd->hij", q.double(), k) / math.sqrt(q.shape[-1])
    if causal:
        i, j = torch.arange(q.shape[0])[:, None], torch.arange(k.shape[0])[None]
        x = x.masked_fill((j > i + k.shape[0] - q.shape[0]).to(x.device), -torch.inf)
    return torch.einsum("hij,jhd->ihd", x.softmax(-1), v)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_attention(dtype, device):
    make = lambda *shape: torch.randn(*shape, device=device).to(dtype)  # noqa: E731
    q, k, v = make(5, 8, 64), make(33, 2, 64), make(33, 2, 64)
    close(strobe.single_prefill_with_kv_cache(q, k, v, causal=True), attention(q, k, v, True), dtype)
    close(strobe.single_decode_with_kv_cache(q[0], k, v), attention(q[:1], k, v, False)[0], dtype)
    pages = torch.randperm(9)[:5].int()
    cache = make(9, 2, 8, 2, 64)
    for at, page in enumerate(pages.tolist()):
        rows = slice(8 * at, min(33, 8 * at + 8))
        cache[page, 0, : len(k[rows])], cache[page, 1, : len(k[rows])] = k[rows], v[rows]
    i32 = lambda *x: torch.tensor(x, dtype=torch.int32)  # noqa: E731
    workspace = torch.empty(1 << 20, dtype=torch.uint8, device=device)
    for on_device in (False, True):
        arrays = [i32(0, 5), pages, i32(1)]
        if on_device:
            arrays = [array.to(device) for array in arrays]
        prefill = strobe.BatchPrefillWithPagedKVCacheWrapper(workspace)
        prefill.plan(i32(0, 5), *arrays, 8, 2, 64, 8, causal=True, q_data_type=dtype)
        close(prefill.run(q, cache), attention(q, k, v, True), dtype)
        decode = strobe.BatchDecodeWithPagedKVCacheWrapper(workspace)
        decode.plan(*arrays, 8, 2, 64, 8, q_data_type=dtype)
        out, lse = decode.run(q[:1], cache, return_lse=True)
        close(out, attention(q[:1], k, v, False), dtype)
        assert lse.device.type == device and lse.dtype == torch.float32


def operators(x, w, q, k, v, pos):
    y = torch.ops.strobe.rmsnorm(x, w)
    z = torch.ops.strobe.silu_and_mul(torch.cat([y, x], -1))
    residual = x.clone()
    torch.ops.strobe.fused_add_rmsnorm(z, residual, w, 1e-5)
    q, k = torch.ops.strobe.apply_rope_pos_ids(q, k, pos)
    return y + 1, z, residual, torch.ops.strobe.single_prefill_with_kv_cache(q, k, v, causal=True)


@pytest.mark.parametrize("device", DEVICES)
def test_compiled_without_graph_breaks(device):
    make = lambda *shape: torch.randn(*shape, device=device)  # noqa: E731
    arguments = (make(5, 64), make(64), make(5, 8, 64), make(5, 2, 64), make(5, 2, 64))
    arguments += (torch.arange(5, dtype=torch.int32, device=device),)
    want = operators(*arguments)
    got = torch.compile(operators, backend="eager", fullgraph=True)(*arguments)
    for g, w in zip(got, want):
        torch.testing.assert_close(g, w)
    close(want[0] - 1, rms(*arguments[:2]), torch.float32)


@pytest.mark.parametrize("device", DEVICES)
def test_operators_are_declared_as_torch_wants_them(device):
    make = lambda *shape: torch.randn(*shape, device=device)  # noqa: E731
    for operator, arguments in (
        (strobe.torch.rmsnorm, (make(5, 64), make(64), 1e-5)),
        (strobe.torch.layernorm, (make(5, 64), make(64), make(64))),
        (strobe.torch.gelu_and_mul, (make(5, 64),)),
        (strobe.torch.fused_add_rmsnorm, (make(5, 64), make(5, 64), make(64))),
        (strobe.torch.merge_state, (make(5, 2, 64), make(5, 2), make(5, 2, 64), make(5, 2))),
        (strobe.torch.single_decode_with_kv_cache, (make(4, 64), make(9, 2, 64), make(9, 2, 64))),
    ):
        torch.library.opcheck(operator, arguments, test_utils=("test_schema", "test_faketensor"))


@pytest.mark.parametrize("device", DEVICES)
def test_draws_follow_torchs_generators(device):
    probs = torch.rand(64, 500, device=device)

    def two(generator=None):
        if generator is None:
            torch.manual_seed(7)
        else:
            generator.manual_seed(7)
        return [strobe.sampling_from_probs(probs, generator=generator).tolist() for _ in range(2)]

    first, second = two()
    assert first != second and [first, second] == two()
    assert first != strobe.sampling_from_probs(probs).tolist()
    own = torch.Generator(device)
    drawn = two(own)
    assert drawn[0] != drawn[1] and drawn == two(own)


@pytest.mark.skipif("cuda" not in DEVICES, reason="there is no GPU")
def test_draws_in_a_graph_are_those_of_its_capture():
    probs = torch.rand(64, 500, device="cuda")
    strobe.sampling_from_probs(probs)  # compiles
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        tokens = strobe.sampling_from_probs(probs)
    drawn = []
    for _ in range(2):
        tokens.fill_(-1)
        graph.replay()
        drawn.append(tokens.tolist())
    assert drawn[0] == drawn[1] and min(drawn[0]) >= 0
