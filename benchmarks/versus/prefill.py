"""Prefill attention under comparison: batches, their tensors, the formula in f32, and the contenders' calls."""

import math
from dataclasses import dataclass

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

DEVICE = "cuda"
WORKSPACE_BYTES = 256 << 20  # FlashInfer's partial results; Strobe has its own
# Of |got - want| / (|want| + rms(want)): weights and output are rounded to 2^-9; a few times that at the worst element.
TOLERANCE = 2.0**-5
CHECKED_ROWS = 256  # of queries: the formula in f32 makes a matrix of scores


@dataclass(frozen=True)
class Prefill:
    name: str
    lens: tuple  # (query tokens, KV tokens) of each request
    causal: bool = True
    qo_heads: int = 32
    kv_heads: int = 8
    head_dim: int = 128
    page_size: int = 0  # 0: ragged
    tolerance: float = TOLERANCE

    @property
    def bytes(self):
        """Of q, k, v and out."""
        q, kv = (sum(lengths) for lengths in zip(*self.lens))
        return 2 * 2 * self.head_dim * (q * self.qo_heads + kv * self.kv_heads)

    @property
    def flops(self):
        pairs = sum(q * kv - (q * (q - 1) // 2 if self.causal else 0) for q, kv in self.lens)
        return 4 * self.head_dim * self.qo_heads * pairs

    @property
    def pages(self):
        return [math.ceil(kv / self.page_size) for _, kv in self.lens]

    def indptr(self, which):
        return torch.tensor([0, *(lengths[which] for lengths in self.lens)]).cumsum(0).int()

    def page_table(self):
        """indptr and page numbers, in random order, and last_page_len, in host memory."""
        indptr = torch.tensor([0, *self.pages]).cumsum(0).int()
        indices = torch.randperm(sum(self.pages), generator=torch.Generator().manual_seed(7)).int()
        last = torch.tensor([(kv - 1) % self.page_size + 1 for _, kv in self.lens]).int()
        return indptr, indices, last

    def tensors(self, seed):
        generator = torch.Generator(DEVICE).manual_seed(seed)

        def normal(*shape):
            return torch.randn(shape, generator=generator, device=DEVICE, dtype=torch.bfloat16)

        q = normal(int(self.indptr(0)[-1]), self.qo_heads, self.head_dim)
        rows = (sum(self.pages), self.page_size) if self.page_size else (int(self.indptr(1)[-1]),)
        k, v = (normal(*rows, self.kv_heads, self.head_dim) for _ in range(2))
        return {"q": q, "k": k, "v": v, "out": torch.full_like(q, math.nan)}

    def is_dense(self):
        """Whether torch's attention computes the same: requests of one length, its causal mask being aligned at the top."""
        q, kv = self.lens[0]
        return not self.page_size and len(set(self.lens)) == 1 and (q == kv or not self.causal)

    def rows_of(self, cache, request):
        if not self.page_size:
            return cache[self.indptr(1)[request] : self.indptr(1)[request + 1]]
        indptr, indices, _ = self.page_table()
        pages = indices[indptr[request] : indptr[request + 1]].long().to(DEVICE)
        return cache[pages].flatten(0, 1)[: self.lens[request][1]]

    def checked(self):
        """The query rows that are compared: the last of the first request and the first of the last."""
        end, begin = int(self.indptr(0)[1]), int(self.indptr(0)[-2])
        first = max(0, end - CHECKED_ROWS)
        return [(0, first, end), (len(self.lens) - 1, begin, min(begin + CHECKED_ROWS, int(self.indptr(0)[-1])))]

    def expected(self, t):
        outs = []
        for request, begin, end in self.checked():
            k, v = (self.rows_of(t[name], request).float() for name in ("k", "v"))
            q = t["q"][begin:end].float().unflatten(1, (self.kv_heads, -1))
            scores = torch.einsum("qhgd,nhd->hgqn", q, k) / math.sqrt(self.head_dim)
            if self.causal:
                qo_len, kv_len = self.lens[request]
                position = torch.arange(begin, end, device=DEVICE) - int(self.indptr(0)[request]) + kv_len - qo_len
                scores.masked_fill_(torch.arange(kv_len, device=DEVICE) > position[:, None], -math.inf)
            outs.append(torch.einsum("hgqn,nhd->qhgd", scores.softmax(-1), v).flatten(1, 2))
        return tuple(outs)

    def results(self, out):
        return tuple(out[begin:end] for _, begin, end in self.checked())


class Library:
    """A library's wrapper, planned anew on every stream that it runs on outside of captures."""

    def __init__(self, module, case, backend):
        self.case, self.stream = case, None
        workspace = torch.empty(WORKSPACE_BYTES, dtype=torch.uint8, device=DEVICE)
        kind = "BatchPrefillWithPagedKVCacheWrapper" if case.page_size else "BatchPrefillWithRaggedKVCacheWrapper"
        self.wrapper = getattr(module, kind)(workspace, "NHD", backend=backend)

    def plan(self):
        case = self.case
        types = {"q_data_type": torch.bfloat16, "kv_data_type": torch.bfloat16}
        if case.page_size:
            self.wrapper.plan(case.indptr(0), *case.page_table(), case.qo_heads, case.kv_heads, case.head_dim,
                              case.page_size, causal=case.causal, **types)
        else:
            self.wrapper.plan(case.indptr(0), case.indptr(1), case.qo_heads, case.kv_heads, case.head_dim,
                              causal=case.causal, **types)

    def __call__(self, t):
        stream = torch.cuda.current_stream().cuda_stream
        if not torch.cuda.is_current_stream_capturing() and stream != self.stream:
            self.plan()
            self.stream = stream
        if self.case.page_size:
            self.wrapper.run(t["q"], (t["k"], t["v"]), out=t["out"])
        else:
            self.wrapper.run(t["q"], t["k"], t["v"], out=t["out"])
        return self.case.results(t["out"])


def torch_attention(case, backend):
    def call(t):
        q, k, v = (t[name].unflatten(0, (len(case.lens), -1)).transpose(1, 2) for name in ("q", "k", "v"))
        with sdpa_kernel(backend):
            out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=case.causal, enable_gqa=True)
        return case.results(out.transpose(1, 2).flatten(0, 1))

    return call


def contenders_of(case, libraries, flashinfer_backends=("fa2", "fa3")):
    """{name: function of the case's tensors that returns its outputs}."""
    contenders = {}
    if "strobe" in libraries:
        contenders["strobe"] = Library(libraries["strobe"], case, "auto")
    if "flashinfer" in libraries:
        contenders |= {name: Library(libraries["flashinfer"], case, name) for name in flashinfer_backends}
    if case.is_dense():
        contenders["cudnn"] = torch_attention(case, SDPBackend.CUDNN_ATTENTION)
        contenders["flash"] = torch_attention(case, SDPBackend.FLASH_ATTENTION)
    return contenders


def all_cases():
    """The grid of FlashAttention-3's paper (16k tokens, 2048 columns of heads), then shapes of serving."""
    grid = [
        Prefill(f"prefill head_dim {dim} {'causal' if causal else 'full'} {16384 // length}x{length}",
                ((length, length),) * (16384 // length), causal, 2048 // dim, 2048 // dim, dim)
        for dim in (64, 128, 256) for causal in (True, False) for length in (512, 1024, 2048, 4096, 8192, 16384)
    ]
    mix = tuple((length, length) for length in (4096, 2600, 1800, 1200, 900, 700, 512, 300, 200, 130, 90, 60, 33, 17))
    serving = [Prefill("prefill ragged mix 32/8 heads", mix)]
    for page in (0, 16, 64):
        kind = f"p{page}" if page else "ragged"
        serving += [
            Prefill(f"prefill 4x4096 32/8 heads {kind}", ((4096, 4096),) * 4, page_size=page),
            Prefill(f"chunk 2048 on 8192 32/8 heads {kind}", ((2048, 10240),), page_size=page),
            Prefill(f"chunk 2048 on 32768 32/8 heads {kind}", ((2048, 34816),), page_size=page),
            Prefill(f"chunk 2048 on 131072 32/8 heads {kind}", ((2048, 133120),), page_size=page),
        ]
    return grid + serving
