"""What is compared of sampling: operations on rows of f32 logits or probabilities, each by several libraries."""

import statistics
from dataclasses import dataclass
from typing import Any, Callable, Optional

import torch

from .timing import Graph, timed

TOP_P, TOP_K, MANY = 0.9, 50, 2048
DRAFT = 4  # tokens of a speculative draft
ROW_BYTES = 130 << 20  # of the sets of rows that calls take in turns: more than two L2 caches
MOST_SETS, MOST_CALLS = 8, 64
GRAPH_SECONDS = 4e-3
SLACK = 1e-5  # by which f32 sums may misplace a border

Function = Callable[[Any], Any]


def from_distribution(weights):
    """A token of each row by the race of exponential times: what torch.multinomial does, without its checks."""
    return (weights / torch.empty_like(weights).exponential_()).argmax(-1)


def torch_top_p(probs):
    values, order = probs.sort(-1, descending=True)
    kept = torch.where(values.cumsum(-1) - values < TOP_P, values, 0)
    return order.gather(-1, from_distribution(kept)[:, None])[:, 0]


def torch_top_k(probs):
    values, order = probs.topk(TOP_K)
    return order.gather(-1, from_distribution(values)[:, None])[:, 0]


def torch_top_k_top_p(logits):
    values, order = logits.topk(TOP_K)
    probs = torch.softmax(values, -1)
    kept = torch.where(probs.cumsum(-1) - probs < TOP_P, probs, 0)
    return order.gather(-1, from_distribution(kept)[:, None])[:, 0]


def least_of_top_k(x, k=TOP_K):
    return x.topk(k).values[:, -1:]


def least_of_top_p(probs, top_p=TOP_P + SLACK):
    """The least value that is kept; by default one that f32 sums may still keep."""
    values = probs.double().sort(-1, descending=True).values
    inside = values.cumsum(-1) - values < top_p
    return values.gather(-1, inside.sum(-1, keepdim=True) - 1)


def drawn_from(least):
    """Whether every token is one of those that the filter keeps."""

    def check(x, tokens):
        values = x.gather(-1, tokens.long()[:, None])
        return bool((values.double() >= least(x).double() * (1 - SLACK)).all())

    return check


def of_top_k_top_p(logits, tokens):
    probs = torch.softmax(logits.double(), -1)
    kept = torch.where(logits >= least_of_top_k(logits), probs, 0)
    return drawn_from(least_of_top_p)(kept / kept.sum(-1, keepdim=True), tokens)


def close_to(expected):
    def check(x, got):
        want = expected(x.double())
        return bool(torch.allclose(got.double(), want, rtol=1e-4, atol=1e-9))

    return check


def renormed(probs, got):
    """What is kept, but for values at the border, and in what proportion."""
    kept = got > 0
    must, may = (probs.double() >= least_of_top_p(probs, TOP_P + slack) * (1 - SLACK) for slack in (-SLACK, SLACK))
    want = torch.where(kept, probs.double(), 0)
    in_proportion = torch.allclose(got.double(), want / want.sum(-1, keepdim=True), rtol=1e-4, atol=1e-9)
    return in_proportion and bool((kept | ~must).all()) and bool((may | ~kept).all())


def anything(probs, tokens):
    return bool((probs.gather(-1, tokens.long()[:, None]) >= 0).all())


@dataclass
class Operation:
    name: str
    of: str  # "logits", "probs" or "drafts"
    libraries: Callable[[Any], Function]  # of Strobe or FlashInfer, whose names are the same
    check: Callable[[Any, Any], bool]
    torch: Optional[Function] = None
    compiled: Optional[Function] = None


def top_k_of(k):
    return lambda library: lambda x: library.topk.top_k(x, k, sorted=True)


def is_top_k(k):
    def check(x, got):
        want = x.topk(k)
        return bool(torch.equal(got[0], want.values) and torch.equal(x.gather(-1, got[1].long()), want.values))

    return check


def operations():
    seed = {"seed": 1, "offset": 0}
    softmax = torch.nn.functional.softmax
    return [
        Operation("sample", "probs", lambda lib: lambda x: lib.sampling.sampling_from_probs(x, **seed), anything, from_distribution),
        Operation(
            "top-p 0.9", "probs", lambda lib: lambda x: lib.sampling.top_p_sampling_from_probs(x, TOP_P, **seed),
            drawn_from(least_of_top_p), torch_top_p, torch_top_p,
        ),
        Operation(
            "top-k 50", "probs", lambda lib: lambda x: lib.sampling.top_k_sampling_from_probs(x, TOP_K, **seed),
            drawn_from(least_of_top_k), torch_top_k,
        ),
        Operation(
            "top-k top-p of logits", "logits",
            lambda lib: lambda x: lib.sampling.top_k_top_p_sampling_from_logits(x, TOP_K, TOP_P, **seed),
            of_top_k_top_p, torch_top_k_top_p,
        ),
        Operation("sample logits", "logits", lambda lib: lambda x: lib.sampling.sampling_from_logits(x, **seed), anything_of_logits),
        Operation(
            "softmax", "logits", lambda lib: lambda x: lib.sampling.softmax(x), close_to(lambda x: softmax(x, -1)),
            lambda x: softmax(x, -1), lambda x: softmax(x, -1),
        ),
        Operation("top-p renorm", "probs", lambda lib: lambda x: lib.sampling.top_p_renorm_probs(x, TOP_P), renormed),
        Operation(
            "top-k mask", "logits", lambda lib: lambda x: lib.sampling.top_k_mask_logits(x, TOP_K),
            close_to(lambda x: torch.where(x >= least_of_top_k(x), x, -torch.inf)),
        ),
        Operation("top_k 50", "logits", top_k_of(TOP_K), is_top_k(TOP_K), lambda x: torch.topk(x, TOP_K)),
        Operation("top_k 2048", "logits", top_k_of(MANY), is_top_k(MANY), lambda x: torch.topk(x, MANY)),
        Operation(
            "verify 4 drafted", "drafts",
            lambda lib: lambda d: lib.sampling.chain_speculative_sampling(d[0], d[1], d[2], **seed), follows_the_draft,
        ),
    ]  # fmt: skip


def anything_of_logits(logits, tokens):
    return bool((logits.gather(-1, tokens.long()[:, None]) > -torch.inf).all())


def follows_the_draft(drafts, got):
    """The emitted tokens are the draft's, and one more follows."""
    ids, (tokens, _, emitted) = drafts[1], got
    place = torch.arange(ids.shape[1], device=ids.device)
    inside = place < emitted[:, None]
    last = tokens.gather(-1, emitted.long()[:, None])
    return bool((tokens[:, :-1] == ids)[inside].all() and (last >= 0).all())


def sets_of(operation, vocab_size, batch_size, sigma):
    """Several sets of random rows, so that a call finds none of its own in the caches."""
    generator = torch.Generator(device="cuda").manual_seed(7)
    logits = lambda *shape: torch.randn(*shape, vocab_size, device="cuda", generator=generator) * sigma  # noqa: E731
    rows = batch_size * (2 * DRAFT + 1 if operation.of == "drafts" else 1)
    count = max(1, min(MOST_SETS, ROW_BYTES // (4 * rows * vocab_size) + 1))
    if operation.of == "logits":
        return [logits(batch_size) for _ in range(count)]
    if operation.of == "probs":
        return [torch.softmax(logits(batch_size), -1) for _ in range(count)]
    sets = []
    for _ in range(count):
        target = logits(batch_size, DRAFT + 1)
        draft = torch.softmax(target[:, :-1] + 0.5 * logits(batch_size, DRAFT), -1)  # a smaller model says nearly the same
        ids = from_distribution(draft).int()
        sets.append((draft, ids, torch.softmax(target, -1)))
    return sets


def contenders_of(operation, libraries, wanted):
    contenders = {name: operation.libraries(library) for name, library in libraries.items()}
    if operation.torch is not None and (wanted is None or "torch" in wanted):
        contenders["torch"] = operation.torch
    if operation.compiled is not None and (wanted is None or "compile" in wanted):
        contenders["compile"] = torch.compile(operation.compiled, dynamic=True)
    return contenders


def seconds_of(function, tensors):
    function(tensors)
    torch.cuda.synchronize()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    function(tensors)
    end.record()
    end.synchronize()
    return start.elapsed_time(end) * 1e-3


def measure(operation, vocab_size, batch_size, sigma, contenders, repetitions):
    """A row of results: the contenders' graphs replayed in turns."""
    sets = sets_of(operation, vocab_size, batch_size, sigma)
    graphs, correct, errors = {}, {}, {}
    for name, function in contenders.items():
        try:
            calls = max(len(sets), min(MOST_CALLS, round(GRAPH_SECONDS / seconds_of(function, sets[0]))))
            correct[name] = operation.check(sets[0], function(sets[0]))
            graphs[name] = Graph(function, sets, calls)
        except Exception as error:  # a contender that cannot do it is left out, with the reason
            errors[name] = str(error).splitlines()[0][:200]
    samples = {name: [] for name in graphs}
    for turn in range(repetitions + 1):
        events = {name: timed(graph) for name, graph in graphs.items()}
        torch.cuda.synchronize()
        for name, (start, end) in events.items():
            if turn > 0:
                samples[name].append(start.elapsed_time(end) * 1e3 / graphs[name].calls)
    return {
        "case": operation.name, "vocab_size": vocab_size, "batch_size": batch_size, "sigma": sigma,
        "median_us": {name: statistics.median(times) for name, times in samples.items()},
        "min_us": {name: min(times) for name, times in samples.items()}, "correct": correct, "errors": errors,
    }  # fmt: skip
