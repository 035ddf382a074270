"""Decode attention under comparison: batches, their tensors, the formula in f32, and the contenders' calls."""

import math
from dataclasses import dataclass

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

DEVICE = "cuda"
TORCH_HEAD_DIM = 256  # the most that cuDNN's and flash attention take
WORKSPACE_BYTES = 256 << 20  # FlashInfer's partial results; Strobe has its own
# Of |got - want| / (|want| + rms(want)): weights and output are rounded to 2^-9; a few times that at the worst element.
TOLERANCE = 2.0**-5


@dataclass(frozen=True)
class Decode:
    name: str
    kv_lens: tuple
    qo_heads: int = 32
    kv_heads: int = 8
    head_dim: int = 128
    page_size: int = 16
    kv_dtype: torch.dtype = torch.bfloat16
    tolerance: float = TOLERANCE

    @property
    def bytes(self):
        """Of K and V: queries, output and page table are not counted."""
        return 2 * sum(self.kv_lens) * self.kv_heads * self.head_dim * self.kv_dtype.itemsize

    @property
    def pages(self):
        return [math.ceil(length / self.page_size) for length in self.kv_lens]

    @property
    def cache_pages(self):
        return sum(self.pages)

    def page_table(self):
        """indptr and page numbers, in random order, and last_page_len, in host memory."""
        indptr = torch.tensor([0, *self.pages]).cumsum(0).int()
        indices = torch.randperm(sum(self.pages), generator=torch.Generator().manual_seed(7)).int()
        last = torch.tensor([(length - 1) % self.page_size + 1 for length in self.kv_lens]).int()
        return indptr, indices, last

    def tensors(self, seed):
        generator = torch.Generator(DEVICE).manual_seed(seed)
        shape = (self.cache_pages, self.page_size, self.kv_heads, self.head_dim)
        q = torch.randn(len(self.kv_lens), self.qo_heads, self.head_dim, generator=generator, device=DEVICE)
        k, v = (torch.randn(shape, generator=generator, device=DEVICE, dtype=torch.bfloat16).to(self.kv_dtype)
                for _ in range(2))
        tensors = {"q": q.bfloat16(), "k": k, "v": v, "out": torch.full_like(q, math.nan, dtype=torch.bfloat16)}
        if self.is_dense():
            tensors |= {"dense_k": self.dense(k), "dense_v": self.dense(v)}
        return tensors

    def is_dense(self):
        return len(set(self.kv_lens)) == 1 and self.kv_dtype == torch.bfloat16 and self.kv_lens[0] % self.page_size == 0

    def dense(self, cache):
        """[request, head, token, head_dim], contiguous: what torch's attention takes."""
        rows = cache[self.page_table()[1].long().to(DEVICE)]
        return rows.view(len(self.kv_lens), -1, self.kv_heads, self.head_dim).transpose(1, 2).contiguous()

    def expected(self, t):
        indptr, indices, _ = self.page_table()
        outs = []
        for r, length in enumerate(self.kv_lens):
            pages = indices[indptr[r] : indptr[r + 1]].long().to(DEVICE)
            k, v = (t[name][pages].flatten(0, 1)[:length].float() for name in ("k", "v"))
            q = t["q"][r].float().view(self.kv_heads, -1, self.head_dim)
            scores = torch.einsum("hgd,nhd->hgn", q, k) / math.sqrt(self.head_dim)
            outs.append(torch.einsum("hgn,nhd->hgd", scores.softmax(-1), v).reshape(self.qo_heads, self.head_dim))
        return (torch.stack(outs),)


@dataclass(frozen=True)
class SharedPrefix(Decode):
    """Requests of `own` tokens each behind a prefix that all of them share; `cascade`: read once for all."""

    requests: int = 256
    prefix: int = 32768
    own: int = 256
    cascade: bool = True

    @property
    def bytes(self):
        return 2 * (self.prefix + self.requests * self.own) * self.kv_heads * self.head_dim * self.kv_dtype.itemsize

    @property
    def cache_pages(self):
        return (self.prefix + self.requests * self.own) // self.page_size

    def order(self):
        """Page numbers of the prefix, and [requests, …] of what is the requests' own."""
        pages = torch.randperm(self.cache_pages, generator=torch.Generator().manual_seed(7)).int()
        shared = self.prefix // self.page_size
        return pages[:shared], pages[shared:].view(self.requests, -1)

    def page_table(self):
        shared, own = self.order()
        indices = torch.cat((shared.expand(self.requests, -1), own), 1)
        indptr = torch.arange(self.requests + 1).int() * indices.shape[1]
        return indptr, indices.flatten(), torch.full((self.requests,), self.page_size).int()

    def levels(self):
        """What a cascade's plan takes, level by level."""
        shared, own = self.order()
        each = torch.arange(self.requests + 1).int()
        full = torch.tensor([self.page_size]).int()
        return ([torch.tensor([0, self.requests]).int(), each], [torch.tensor([0, len(shared)]).int(), each * own.shape[1]],
                [shared, own.flatten()], [full, full.expand(self.requests).contiguous()])

    def is_dense(self):
        return False

    def expected(self, t):
        shared, own = self.order()
        group = self.qo_heads // self.kv_heads
        q = t["q"].float().view(self.requests, self.kv_heads, group, self.head_dim) / math.sqrt(self.head_dim)
        out = torch.empty_like(q)
        for head in range(self.kv_heads):
            rows = {name: t[name][:, :, head].float() for name in ("k", "v")}
            own_k, own_v = (rows[name][own.long().to(DEVICE)].flatten(1, 2) for name in ("k", "v"))
            shared_k, shared_v = (rows[name][shared.long().to(DEVICE)].flatten(0, 1) for name in ("k", "v"))
            scores = torch.cat((q[:, head] @ shared_k.T, q[:, head] @ own_k.transpose(1, 2)), 2)
            weights = scores.softmax(-1)
            out[:, head] = weights[..., : self.prefix] @ shared_v + weights[..., self.prefix :] @ own_v
        return (out.view(self.requests, self.qo_heads, self.head_dim),)


class CascadeLibrary:
    """A library's cascade of two levels."""

    def __init__(self, module, case):
        self.case, self.stream = case, None
        workspace = torch.empty(WORKSPACE_BYTES, dtype=torch.uint8, device=DEVICE)
        self.wrapper = module.MultiLevelCascadeAttentionWrapper(2, workspace, "NHD")

    def __call__(self, t):
        stream = torch.cuda.current_stream().cuda_stream
        if not torch.cuda.is_current_stream_capturing() and stream != self.stream:
            case = self.case
            self.wrapper.plan(*case.levels(), case.qo_heads, case.kv_heads, case.head_dim, case.page_size,
                              q_data_type=torch.bfloat16)
            self.stream = stream
        return (self.wrapper.run(t["q"], (t["k"], t["v"])),)


class Library:
    """A library's wrapper, planned anew on every stream that it runs on outside of captures."""

    def __init__(self, module, case):
        self.case, self.stream = case, None
        workspace = torch.empty(WORKSPACE_BYTES, dtype=torch.uint8, device=DEVICE)
        self.wrapper = module.BatchDecodeWithPagedKVCacheWrapper(workspace, "NHD", use_tensor_cores=True)

    def __call__(self, t):
        stream = torch.cuda.current_stream().cuda_stream
        if not torch.cuda.is_current_stream_capturing() and stream != self.stream:
            case = self.case
            self.wrapper.plan(*case.page_table(), case.qo_heads, case.kv_heads, case.head_dim, case.page_size,
                              q_data_type=torch.bfloat16, kv_data_type=case.kv_dtype)
            self.stream = stream
        self.wrapper.run(t["q"], (t["k"], t["v"]), out=t["out"])
        return (t["out"],)


def torch_attention(backend):
    def call(t):
        with sdpa_kernel(backend):
            q = t["q"].unsqueeze(2)
            return (torch.nn.functional.scaled_dot_product_attention(q, t["dense_k"], t["dense_v"], enable_gqa=True)
                    .squeeze(2),)

    return call


def contenders_of(case, libraries):
    """{name: function of the case's tensors that returns its outputs}. Torch reads K and V without pages."""
    library = CascadeLibrary if getattr(case, "cascade", False) else Library
    contenders = {name: library(module, case) for name, module in libraries.items()}
    if case.is_dense() and case.head_dim <= TORCH_HEAD_DIM:
        contenders["cudnn"] = torch_attention(SDPBackend.CUDNN_ATTENTION)
        contenders["flash"] = torch_attention(SDPBackend.FLASH_ATTENTION)
    return contenders


def all_cases():
    lengths = torch.randint(64, 8193, (64,), generator=torch.Generator().manual_seed(3)).tolist()
    e4m3 = torch.float8_e4m3fn
    return [
        Decode("decode B128 kv4096 p16", (4096,) * 128),
        Decode("decode B128 kv4096 p64", (4096,) * 128, page_size=64),
        Decode("decode B128 kv4096 p16 64/8 heads", (4096,) * 128, qo_heads=64),
        Decode("decode B64 kv4096 p16 32/32 heads", (4096,) * 64, kv_heads=32),
        Decode("decode B64 kv4096 p1", (4096,) * 64, page_size=1),
        Decode("decode B16 kv4096 p16", (4096,) * 16),
        Decode("decode B16 kv4096 p64", (4096,) * 16, page_size=64),
        Decode("decode B1 kv8192 p16", (8192,)),
        Decode("decode B1 kv131072 p16", (131072,)),
        Decode("decode 1x65536 + 63x1024 p16", (65536,) + (1024,) * 63),
        Decode("decode 64 random lengths p16", tuple(lengths)),
        Decode("decode head_dim 64 B64 kv4096 p16", (4096,) * 64, head_dim=64),
        Decode("decode head_dim 96 B64 kv4096 p16", (4096,) * 64, head_dim=96),
        Decode("decode head_dim 192 B64 kv4096 p16", (4096,) * 64, head_dim=192),
        Decode("decode head_dim 256 B64 kv4096 p16", (4096,) * 64, head_dim=256),
        Decode("decode head_dim 512 B64 kv4096 p16", (4096,) * 64, head_dim=512),
        Decode("decode e4m3 B128 kv4096 p64", (4096,) * 128, page_size=64, kv_dtype=e4m3),
        Decode("decode e4m3 B128 kv4096 p64 64/8 heads", (4096,) * 128, qo_heads=64, page_size=64, kv_dtype=e4m3),
        SharedPrefix("shared prefix 32768, B256 + 256 each, cascade", (32768 + 256,) * 256),
        SharedPrefix("shared prefix 32768, B256 + 256 each, plain", (32768 + 256,) * 256, cascade=False),
    ]
