"""The operators under comparison, as plain torch: their tensors, formula in f32, and the libraries' calls.

Every function takes a dict of tensors and returns a tuple of outputs, some of which it may have been given. `formula`
computes in f32 and writes in place what the operator writes in place; it is the reference, and what torch.compile gets.
`eager` is what a user of torch would write without it.
"""

import math
from dataclasses import dataclass
from typing import Callable

import torch
import torch.nn.functional as F

DEVICE = "cuda"
EPS = 1e-6
ROPE_THETA = 1e4
FP8_SCALE = 0.05
# Of |got - want| / (|want| + rms(want)). bf16: a few roundings of 2^-9. e4m3: the value next to it. A turn of a pair that
# is six times the rms, by a cosine and a sine rounded to bf16: 12 * 2^-9.
BF16_TOLERANCE, E4M3_TOLERANCE, TURN_TOLERANCE = 2.0**-6, 2.0**-3, 12 * 2.0**-9


@dataclass(frozen=True)
class Case:
    name: str
    bytes: int  # read plus written by a call
    tensors: Callable  # seed -> tensors
    formula: Callable
    eager: Callable
    library: Callable  # module -> function of the tensors
    tolerance: float = BF16_TOLERANCE

    def expected(self, tensors):
        return tuple(output.float() for output in self.formula({name: t.clone() for name, t in tensors.items()}))


def randn(seed, *shape):
    generator = torch.Generator(DEVICE).manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.bfloat16, device=DEVICE)


def nans(*shape, dtype=torch.bfloat16):
    return torch.full(shape, math.nan, device=DEVICE).to(dtype)


def normed(x, weight):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS) * weight.float()


def rmsnorm(tokens, hidden):
    def library(module):
        def call(t):
            module.rmsnorm(t["input"], t["weight"], EPS, out=t["out"])
            return (t["out"],)
        return call

    return Case(
        name=f"rmsnorm {tokens}x{hidden}",
        bytes=2 * (2 * tokens * hidden + hidden),
        tensors=lambda seed: {"input": randn(seed, tokens, hidden), "weight": randn(seed + 1, hidden),
                              "out": nans(tokens, hidden)},
        formula=lambda t: (normed(t["input"].float(), t["weight"]).to(torch.bfloat16),),
        eager=lambda t: (F.rms_norm(t["input"], (hidden,), t["weight"], EPS),),
        library=library,
    )


def fused_add_rmsnorm(tokens, hidden):
    def formula(t):
        x = t["input"].float() + t["residual"].float()
        t["residual"].copy_(x)
        t["input"].copy_(normed(x, t["weight"]))
        return t["input"], t["residual"]

    def eager(t):
        t["residual"].add_(t["input"])
        return F.rms_norm(t["residual"], (hidden,), t["weight"], EPS), t["residual"]

    def library(module):
        def call(t):
            module.fused_add_rmsnorm(t["input"], t["residual"], t["weight"], EPS)
            return t["input"], t["residual"]
        return call

    return Case(
        name=f"fused_add_rmsnorm {tokens}x{hidden}",
        bytes=2 * (4 * tokens * hidden + hidden),
        tensors=lambda seed: {"input": randn(seed, tokens, hidden), "residual": randn(seed + 1, tokens, hidden),
                              "weight": randn(seed + 2, hidden)},
        formula=formula, eager=eager, library=library,
    )


def fused_add_rmsnorm_quant(tokens, hidden):
    def formula(t):
        x = t["input"].float() + t["residual"].float()
        t["residual"].copy_(x)
        return (normed(x, t["weight"]) / FP8_SCALE).clamp(-448, 448).to(torch.float8_e4m3fn), t["residual"]

    def eager(t):
        t["residual"].add_(t["input"])
        norm = F.rms_norm(t["residual"], (hidden,), t["weight"], EPS)
        return (norm / FP8_SCALE).clamp(-448, 448).to(torch.float8_e4m3fn), t["residual"]

    def library(module):
        number = module.__name__ == "strobe"  # FlashInfer's scale is a tensor

        def call(t):
            scale = FP8_SCALE if number else t["scale"]
            module.fused_add_rmsnorm_quant(t["out"], t["input"], t["residual"], t["weight"], scale, EPS)
            return t["out"], t["residual"]
        return call

    return Case(
        name=f"fused_add_rmsnorm_quant {tokens}x{hidden} e4m3",
        bytes=tokens * hidden * (3 * 2 + 1) + 2 * hidden,
        tensors=lambda seed: {"input": randn(seed, tokens, hidden), "residual": randn(seed + 1, tokens, hidden),
                              "weight": randn(seed + 2, hidden), "scale": torch.tensor([FP8_SCALE], device=DEVICE),
                              "out": nans(tokens, hidden, dtype=torch.float8_e4m3fn)},
        formula=formula, eager=eager, library=library, tolerance=E4M3_TOLERANCE,
    )


def silu_and_mul(tokens, hidden):
    def library(module):
        def call(t):
            module.silu_and_mul(t["input"], out=t["out"])
            return (t["out"],)
        return call

    return Case(
        name=f"silu_and_mul {tokens}x{hidden}",
        bytes=2 * 3 * tokens * hidden,
        tensors=lambda seed: {"input": randn(seed, tokens, 2 * hidden), "out": nans(tokens, hidden)},
        formula=lambda t: ((F.silu(t["input"][:, :hidden].float()) * t["input"][:, hidden:].float()).to(torch.bfloat16),),
        eager=lambda t: (F.silu(t["input"][:, :hidden]) * t["input"][:, hidden:],),
        library=library,
    )


def turned(x, cos, sin):
    """The second half of a head's elements turns with the first (NeoX)."""
    left, right = x.chunk(2, -1)
    return torch.cat((left * cos - right * sin, right * cos + left * sin), -1)


def rope(tokens, qo_heads, kv_heads, head_dim=128):
    """The compiled and the eager form are given the cosines and sines, which a model computes once for all layers."""
    def tensors(seed):
        generator = torch.Generator(DEVICE).manual_seed(seed)
        pos_ids = torch.randint(0, 32768, (tokens,), generator=generator, dtype=torch.int32, device=DEVICE)
        pairs = torch.arange(0, head_dim, 2, dtype=torch.float64, device=DEVICE)
        angles = pos_ids.double()[:, None, None] * ROPE_THETA ** (-pairs / head_dim)
        return {"q": randn(seed, tokens, qo_heads, head_dim), "k": randn(seed + 1, tokens, kv_heads, head_dim),
                "pos_ids": pos_ids, "cos": angles.cos().float(), "sin": angles.sin().float()}

    def formula(t):
        for name in ("q", "k"):
            t[name].copy_(turned(t[name].float(), t["cos"], t["sin"]))
        return t["q"], t["k"]

    def eager(t):
        cos, sin = t["cos"].to(torch.bfloat16), t["sin"].to(torch.bfloat16)
        return turned(t["q"], cos, sin), turned(t["k"], cos, sin)

    def library(module):
        def call(t):
            module.apply_rope_pos_ids_inplace(t["q"], t["k"], t["pos_ids"], rope_theta=ROPE_THETA)
            return t["q"], t["k"]
        return call

    return Case(
        name=f"apply_rope_pos_ids {tokens} tokens {qo_heads}/{kv_heads} heads",
        bytes=tokens * (2 * 2 * (qo_heads + kv_heads) * head_dim + 4),
        tensors=tensors, formula=formula, eager=eager, library=library, tolerance=TURN_TOLERANCE,
    )


def append(requests, tokens_each, kv_heads=8, head_dim=128, page_size=16):
    """Requests fill pages from their start; pages lie in random order."""
    tokens, pages_each = requests * tokens_each, math.ceil(tokens_each / page_size)

    def tensors(seed):
        generator = torch.Generator(DEVICE).manual_seed(seed)
        order = torch.randperm(requests * pages_each, generator=generator, device=DEVICE)
        index = dict(dtype=torch.int32, device=DEVICE)
        token = torch.arange(tokens, **index)
        cache = (requests * pages_each, page_size, kv_heads, head_dim)
        return {"key": randn(seed, tokens, kv_heads, head_dim), "value": randn(seed + 1, tokens, kv_heads, head_dim),
                "batch_indices": token // tokens_each, "positions": token % tokens_each,
                "k_cache": torch.zeros(cache, dtype=torch.bfloat16, device=DEVICE),
                "v_cache": torch.zeros(cache, dtype=torch.bfloat16, device=DEVICE),
                "kv_indices": order.int(), "kv_indptr": torch.arange(requests + 1, **index) * pages_each,
                "last_page_len": torch.full((requests,), (tokens_each - 1) % page_size + 1, **index)}

    def formula(t):
        page = t["kv_indices"][t["kv_indptr"][t["batch_indices"]] + t["positions"] // page_size]
        slot = t["positions"] % page_size
        t["k_cache"][page, slot] = t["key"]
        t["v_cache"][page, slot] = t["value"]
        return t["k_cache"], t["v_cache"]

    def library(module):
        def call(t):
            module.append_paged_kv_cache(t["key"], t["value"], t["batch_indices"], t["positions"],
                                         (t["k_cache"], t["v_cache"]), t["kv_indices"], t["kv_indptr"],
                                         t["last_page_len"], kv_layout="NHD")
            return t["k_cache"], t["v_cache"]
        return call

    return Case(
        name=f"append_paged_kv_cache {tokens} tokens ({requests} requests)",
        bytes=tokens * (2 * 2 * 2 * kv_heads * head_dim + 2 * 4),
        tensors=tensors, formula=formula, eager=formula, library=library,
    )


def all_cases():
    norms = (rmsnorm, fused_add_rmsnorm, fused_add_rmsnorm_quant, silu_and_mul)
    return [
        *(operator(16384, 8192) for operator in norms),
        rope(32768, 32, 8),
        append(16, 2048),
        *(operator(4096, 4096) for operator in norms),
        rope(4096, 32, 8),
        append(4, 1024),
        *(operator(128, 4096) for operator in norms),
        rope(128, 32, 8),
        append(256, 1),
    ]
