"""What calls from Python cost the host, under comparison: tensors are small, so that the GPU is never behind it."""

import random
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any, Callable, Optional

import torch

from . import cases, timing
from .decode import Decode
from .prefill import Prefill

DEVICE = "cuda"
WORKSPACE_BYTES = 128 << 20  # FlashInfer's partial results; Strobe has its own
CALLS, PLANS = 500, 100  # of a sample: the queue of launches holds more


@dataclass(frozen=True)
class Call:
    """`make` gives, for a library and the case's tensors, {contender: (the call, its outputs as the case has them)}."""

    name: str
    case: Any
    make: Callable
    goal_us: Optional[float] = None  # of Strobe
    calls: int = CALLS


def norm(name, library, t):
    module, x, weight, out = library, t["input"], t["weight"], t["out"]
    return {name: (lambda: module.rmsnorm(x, weight, cases.EPS, out=out), lambda: (out,))}


def activation(name, library, t):
    module, x, out = library, t["input"], t["out"]
    return {name: (lambda: module.silu_and_mul(x, out=out), lambda: (out,))}


def decode_wrappers(name, library):
    """FlashInfer has kernels for CUDA cores and for tensor cores, whose plans differ, too."""
    kinds = {name: False, f"{name} tensor cores": True} if name == "flashinfer" else {name: True}
    return {
        contender: library.BatchDecodeWithPagedKVCacheWrapper(
            torch.empty(WORKSPACE_BYTES, dtype=torch.uint8, device=DEVICE), use_tensor_cores=tensor_cores
        )
        for contender, tensor_cores in kinds.items()
    }


def decode(case, planning):
    def make(name, library, t):
        q, kv, out, table = t["q"], (t["k"], t["v"]), t["out"], case.page_table()

        def contender(wrapper):
            def plan():
                wrapper.plan(*table, case.qo_heads, case.kv_heads, case.head_dim, case.page_size,
                             q_data_type=torch.bfloat16, kv_data_type=torch.bfloat16)

            def run():
                return wrapper.run(q, kv, out=out)

            plan()
            return (plan, lambda: (run(),)) if planning else (run, lambda: (out,))

        return {name: contender(wrapper) for name, wrapper in decode_wrappers(name, library).items()}

    return make


def prefill(case, planning):
    def make(name, library, t):
        q, kv, out, table = t["q"], (t["k"], t["v"]), t["out"], (case.indptr(0), *case.page_table())
        backend = "fa2" if name == "flashinfer" else "auto"
        workspace = torch.empty(WORKSPACE_BYTES, dtype=torch.uint8, device=DEVICE)
        wrapper = library.BatchPrefillWithPagedKVCacheWrapper(workspace, "NHD", backend=backend)

        def plan():
            wrapper.plan(*table, case.qo_heads, case.kv_heads, case.head_dim, case.page_size, causal=case.causal,
                         q_data_type=torch.bfloat16, kv_data_type=torch.bfloat16)

        def run():
            return wrapper.run(q, kv, out=out)

        plan()
        contender = f"{name} {backend}" if name == "flashinfer" else name
        call, results = (plan, lambda: case.results(run())) if planning else (run, lambda: case.results(out))
        return {contender: (call, results)}

    return make


@dataclass(frozen=True)
class OneToken:
    """A draw whose result is known: one token has all the weight."""

    vocabulary: int = 1000
    tolerance: float = 0.0

    def tensors(self, seed):
        probs = torch.zeros(1, self.vocabulary, device=DEVICE)
        probs[0, seed % self.vocabulary] = 1
        return {"probs": probs}

    def expected(self, t):
        return (t["probs"].argmax(-1).float(),)


def sampling(name, library, t):
    module, probs = library, t["probs"]
    return {name: (lambda: module.sampling_from_probs(probs), lambda: (module.sampling_from_probs(probs),))}


def all_calls():
    small_decode, decode_256 = Decode("", (64,) * 16), Decode("", (1024,) * 256)
    small_prefill, prefill_256 = Prefill("", ((16, 64),) * 16, page_size=16), Prefill("", ((16, 64),) * 256, page_size=16)
    return [
        Call("rmsnorm(out=)", cases.rmsnorm(1, 1024), norm, 3.5),
        Call("silu_and_mul(out=)", cases.silu_and_mul(1, 1024), activation),
        Call("batch decode, run(out=)", small_decode, decode(small_decode, False), 6),
        Call("paged prefill, run(out=)", small_prefill, prefill(small_prefill, False), 7),
        Call("batch decode, plan of 256", decode_256, decode(decode_256, True), 40, PLANS),
        Call("paged prefill, plan of 256", prefill_256, prefill(prefill_256, True), 40, PLANS),
        Call("sampling_from_probs", OneToken(), sampling, 8),
    ]


def seconds_of(call, calls):
    torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(calls):
        call()
    elapsed = time.perf_counter() - begin
    torch.cuda.synchronize()
    return elapsed / calls


def measure(call, libraries, repetitions):
    """Times the contenders in turns, in a random order each time; returns the call's part of the results."""
    tensors = call.case.tensors(1)
    want = call.case.expected(tensors)
    contenders, errors = {}, {}
    for name, library in libraries.items():
        for contender, (function, results) in call.make(name, library, tensors).items():
            if "out" in tensors:
                tensors["out"].fill_(float("nan"))
            function()
            errors[contender] = timing.worst_error(results(), want)
            contenders[contender] = function
    samples = {name: [] for name in contenders}
    for repetition in range(-2, repetitions):  # two to warm up
        for name in random.sample(list(contenders), len(contenders)):
            seconds = seconds_of(contenders[name], call.calls)
            if repetition >= 0:
                samples[name].append(seconds * 1e6)
    rows = [
        {
            "contender": name,
            "median_us": statistics.median(times),
            "min_us": min(times),
            "error": errors[name],
            "correct": errors[name] <= call.case.tolerance,
            "samples_us": times,
        }
        for name, times in samples.items()
    ]
    return {"case": call.name, "goal_us": call.goal_us, "calls": call.calls, "rows": rows}


def import_seconds(name, tries=5):
    """What `import name` takes in a new interpreter beyond starting it: the least of some tries."""

    def least(program):
        times = []
        for _ in range(tries):
            begin = time.perf_counter()
            subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
            times.append(time.perf_counter() - begin)
        return min(times)

    return least(f"import {name}") - least("pass")


def seconds_of_nothing(repetitions=15):
    """A call through tvm-ffi, which both libraries take, that does nothing with three tensors: the machine's own speed."""
    import tvm_ffi

    nothing = tvm_ffi.get_global_func("testing.nop")
    tensors = [torch.empty(8, device=DEVICE) for _ in range(3)]
    return statistics.median(seconds_of(lambda: nothing(*tensors), CALLS) for _ in range(repetitions))


FIRST_CALL = """
import time, torch
x, weight = torch.ones(1, 1024, device="cuda"), torch.ones(1024, device="cuda")
torch.cuda.synchronize()
import {name} as library
begin = time.perf_counter()
library.rmsnorm(x.half(), weight.half())
torch.cuda.synchronize()
print(time.perf_counter() - begin)
"""


def first_call_seconds(name, tries=3):
    """What the first call takes in a new interpreter that has torch and the library, its kernels compiled before."""
    program = FIRST_CALL.format(name=name)
    return min(
        float(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout)
        for _ in range(tries + 1)
    )
