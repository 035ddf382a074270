#!/usr/bin/env python3
"""A Hugging Face Llama whose attention, norms, RoPE, activation and sampling are Strobe's, beside the eager model.

The weights are random; the shapes are those of Llama 3.1 8B with fewer and narrower layers. Both models read the same
prompts and then the tokens that Strobe draws from its logits, one by one; logits are compared step by step, and both are
timed. Exits with 1 when the logits differ by more than the dtype explains, or when a token is drawn that is not among the
eager model's most probable ones. Needs torch and transformers:

    benchmarks/transformers_llama.py --device cuda --dtype bfloat16 --layers 8
"""

import argparse
import sys
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM

import strobe

# Relative to the largest logit: a few roundings of the dtype in each of the layers.
TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}


def make_model(args: argparse.Namespace) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=8192,
        hidden_size=128 * args.heads,
        intermediate_size=448 * args.heads,
        num_hidden_layers=args.layers,
        num_attention_heads=args.heads,
        num_key_value_heads=args.heads // 4,
        head_dim=128,
        max_position_embeddings=8192,
        rms_norm_eps=1e-5,
        rope_theta=5e5,
    )
    config._attn_implementation = "eager"
    return LlamaForCausalLM(config).to(args.device, args.dtype).eval()


class StrobeLlama:
    """The same weights; one paged KV cache for all requests of a batch."""

    PAGE = 16

    def __init__(self, model: LlamaForCausalLM, batch_size: int, max_len: int) -> None:
        self.model, self.config = model.model, model.config
        self.head = model.lm_head
        c = self.config
        self.heads, self.kv_heads, self.dim = c.num_attention_heads, c.num_key_value_heads, c.head_dim
        self.weight = next(model.parameters())
        self.batch_size = batch_size
        pages_each = -(-max_len // self.PAGE)
        device, dtype = self.weight.device, self.weight.dtype
        # Pages of all requests in random order, as in a service.
        order = torch.randperm(batch_size * pages_each, dtype=torch.int32)
        self.pages = order.view(batch_size, pages_each)
        shape = (c.num_hidden_layers, batch_size * pages_each, 2, self.PAGE, self.kv_heads, self.dim)
        self.cache = torch.zeros(shape, device=device, dtype=dtype)
        self.attention = strobe.BatchPrefillWithPagedKVCacheWrapper(torch.empty(1, dtype=torch.uint8, device=device))
        self.length = 0

    def plan(self, tokens: int) -> None:
        """The step's index arrays, which all layers share."""
        device, batch = self.weight.device, self.batch_size
        self.length += tokens
        used = -(-self.length // self.PAGE)
        last = self.length - (used - 1) * self.PAGE
        steps = torch.arange(batch + 1, dtype=torch.int32)
        indptr, indices = steps * used, self.pages[:, :used].reshape(-1).contiguous()
        last_page_len = torch.full((batch,), last, dtype=torch.int32)
        self.attention.plan(
            steps * tokens, indptr, indices, last_page_len, self.heads, self.kv_heads, self.dim, self.PAGE, causal=True,
            q_data_type=self.weight.dtype,
        )  # fmt: skip
        positions = torch.arange(self.length - tokens, self.length, dtype=torch.int32).repeat(batch)
        requests = torch.arange(batch, dtype=torch.int32).repeat_interleave(tokens)
        arrays = (requests, positions, indices, indptr, last_page_len)
        self.requests, self.positions, self.indices, self.indptr, self.last = (a.to(device) for a in arrays)

    def layer(self, number: int, x: torch.Tensor, residual: torch.Tensor) -> None:
        """`x` is the normalised input and receives the normalised input of what follows."""
        layer = self.model.layers[number]
        attention, mlp = layer.self_attn, layer.mlp
        q = attention.q_proj(x).view(-1, self.heads, self.dim)
        k = attention.k_proj(x).view(-1, self.kv_heads, self.dim)
        v = attention.v_proj(x).view(-1, self.kv_heads, self.dim)
        strobe.apply_rope_pos_ids_inplace(q, k, self.positions, rope_theta=5e5)
        cache = self.cache[number]
        strobe.append_paged_kv_cache(k, v, self.requests, self.positions, cache, self.indices, self.indptr, self.last)
        attended = attention.o_proj(self.attention.run(q, cache).view(x.shape))
        eps = self.config.rms_norm_eps
        strobe.fused_add_rmsnorm(attended, residual, layer.post_attention_layernorm.weight, eps)
        gated = strobe.silu_and_mul(torch.cat([mlp.gate_proj(attended), mlp.up_proj(attended)], -1))
        layers = self.model.layers
        following = layers[number + 1].input_layernorm if number + 1 < len(layers) else self.model.norm
        x.copy_(mlp.down_proj(gated))
        strobe.fused_add_rmsnorm(x, residual, following.weight, eps)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits of each request's last token."""
        self.plan(tokens.shape[1])
        residual = self.model.embed_tokens(tokens.reshape(-1))
        x = strobe.rmsnorm(residual, self.model.layers[0].input_layernorm.weight, self.config.rms_norm_eps)
        for number in range(len(self.model.layers)):
            self.layer(number, x, residual)
        return self.head(x.view(*tokens.shape, -1)[:, -1])


def draw(logits: torch.Tensor, top_k: int, top_p: float, step: int) -> torch.Tensor:
    return strobe.top_k_top_p_sampling_from_logits(logits, top_k, top_p, seed=0, offset=step)


def is_probable(tokens: torch.Tensor, logits: torch.Tensor, top_k: int, error: float) -> bool:
    """Whether the tokens are among the `top_k` of other logits that differ by `error` of the largest."""
    least = logits.topk(top_k).values[:, -1]
    drawn = logits.gather(1, tokens.long()[:, None])[:, 0]
    return bool((drawn >= least - 2 * error * logits.abs().max()).all())


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


@torch.no_grad()
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--dtype", default="float32", type=lambda name: getattr(torch, name))
    parser.add_argument("--layers", default=4, type=int)
    parser.add_argument("--heads", default=8, type=int, help="query heads of 128 elements; a quarter as many KV heads")
    parser.add_argument("--batch-size", default=2, type=int)
    parser.add_argument("--prompt", default=70, type=int, help="tokens")
    parser.add_argument("--steps", default=8, type=int, help="tokens to generate")
    parser.add_argument("--top-k", default=20, type=int)
    parser.add_argument("--top-p", default=0.9, type=float)
    args = parser.parse_args()

    eager = make_model(args)
    ours = StrobeLlama(eager, args.batch_size, args.prompt + args.steps)
    tokens = torch.randint(0, eager.config.vocab_size, (args.batch_size, args.prompt), device=args.device)
    past, worst, seconds = None, 0.0, {"eager": 0.0, "strobe": 0.0}
    probable = True
    print(f"{args.layers} layers, {args.heads} heads, batch {args.batch_size}, {args.dtype} on {args.device}")
    for step in range(args.steps + 1):
        wait(args.device)
        begin = time.perf_counter()
        output = eager(tokens, past_key_values=past, use_cache=True)
        want, past = output.logits[:, -1], output.past_key_values
        wait(args.device)
        middle = time.perf_counter()
        got = ours.forward(tokens)
        drawn = draw(got, args.top_k, args.top_p, step)
        wait(args.device)
        end = time.perf_counter()
        error = ((got - want).abs().max() / want.abs().max()).item()
        worst = max(worst, error)
        name = f"prompt of {args.prompt}" if step == 0 else f"token {step}"
        print(f"{name:>16}: largest difference of logits {error:.2e} of the largest logit")
        if step > 1:  # the first calls compile and allocate
            seconds["eager"] += middle - begin
            seconds["strobe"] += end - middle
        probable = probable and is_probable(drawn, want, args.top_k, TOLERANCE[args.dtype])
        tokens = drawn.long()[:, None]
    steps = max(1, args.steps - 1)
    print(", ".join(f"{name} {1e3 * total / steps:.2f} ms" for name, total in seconds.items()), "a generated token")
    if not probable:
        print("FAILED: a token was drawn that is not among the eager model's most probable ones")
    ok = worst <= TOLERANCE[args.dtype] and probable
    print(f"{'ok' if ok else 'FAILED'}: {worst:.2e}, allowed {TOLERANCE[args.dtype]:.0e}")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
