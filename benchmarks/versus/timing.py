"""Interleaved replays of CUDA graphs, and the check of what they compute."""

import math
import statistics

import torch

from . import report

CACHES_BETWEEN = 4  # L2 caches of other memory that calls touch before they use a copy of the tensors again
REPLAY_SECONDS = 4e-3  # about what one replay takes: events and graphs cost microseconds
COPY_BYTES = 512 << 20
# Bytes and operations a second, seconds: for the number of calls in a graph.
GUESSED_RATE, GUESSED_FLOPS, GUESSED_LAUNCH = 4e12, 5e14, 2e-6


class Graph:
    """Calls of a function on one set of tensors after the other, recorded."""

    def __init__(self, function, instances, calls):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # compiles, and lets libraries allocate, which a capture cannot
            for tensors in instances[:3]:
                function(tensors)
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        self.calls = calls
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            for call in range(calls):
                function(instances[call % len(instances)])

    def enqueue(self):
        self.graph.replay()


class Copy:
    """The device's own copy, enqueued call by call: as a node of a graph it runs at two thirds of the speed (H200)."""

    calls = math.ceil(REPLAY_SECONDS * GUESSED_RATE / COPY_BYTES / 2)

    def __init__(self):
        self.source, self.target = (torch.randint(0, 256, (COPY_BYTES,), dtype=torch.uint8, device="cuda") for _ in range(2))

    def enqueue(self):
        for _ in range(self.calls):
            self.target.copy_(self.source)


def timed(contender):
    """Enqueues a contender's calls; returns the events around them."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    contender.enqueue()
    end.record()
    return start, end


def worst_error(got, want):
    """The largest |got - want| / (|want| + rms(want)) of an output; NaN when one is NaN and the other is not."""
    worst = 0.0
    for result, expected in zip(got, want, strict=True):
        result = result.float()
        scale = expected.square().mean().sqrt() + expected.abs()
        worst = max(worst, ((result - expected).abs() / scale).max().item(), key=lambda x: (math.isnan(x), x))
    return worst


def check(case, function):
    tensors = case.tensors(0)
    want = case.expected(tensors)
    got = function(tensors)
    torch.cuda.synchronize()
    return worst_error(got, want)


def instances_of(case, warm):
    if warm:
        return [case.tensors(1)]
    between = CACHES_BETWEEN * torch.cuda.get_device_properties(0).L2_cache_size
    return [case.tensors(seed) for seed in range(1, 2 + math.ceil(between / case.bytes))]


def measure(case, contenders, repetitions, warm):
    """Times the contenders {name: function of the tensors} in turns; returns the case's part of the results."""
    errors = {name: check(case, function) for name, function in contenders.items()}
    instances = instances_of(case, warm)
    seconds = case.bytes / GUESSED_RATE + getattr(case, "flops", 0) / GUESSED_FLOPS + GUESSED_LAUNCH
    rounds = math.ceil(REPLAY_SECONDS / seconds / len(instances))
    calls = rounds * len(instances)
    timed_ones = {name: Graph(function, instances, calls) for name, function in contenders.items()}
    timed_ones["copy"] = Copy()
    samples = {name: [] for name in timed_ones}
    names = list(timed_ones)
    for repetition in range(-2, repetitions):  # two to warm up
        turn = repetition % len(names)
        timed_ones["copy"].enqueue()  # the card is at work when the first time begins
        events = {name: timed(timed_ones[name]) for name in names[turn:] + names[:turn]}
        torch.cuda.synchronize()
        if repetition >= 0:
            for name, (start, end) in events.items():
                samples[name].append(start.elapsed_time(end) * 1e-3 / timed_ones[name].calls)
    copy_rate = 2 * COPY_BYTES / statistics.median(samples.pop("copy"))
    return {
        "case": case.name,
        "bytes": case.bytes,
        "instances": len(instances),
        "calls": calls,
        "copy_tb_s": copy_rate * 1e-12,
        "rows": [report.row(name, times, case.bytes, copy_rate, errors[name], case.tolerance,
                            getattr(case, "flops", None))
                 for name, times in samples.items()],
    }
