"""FlashInfer's names for compiling ahead of time, as Strobe's warm-up.

Strobe has one compiler (NVRTC) and one cache for all kernels, so a spec stands for no files: `build_jit_specs(specs)`
and `spec.build()` run `strobe warmup`, once a process. Without them the first call compiles what it needs.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Callable, Optional, Sequence

from ._errors import Unsupported

# The generators of FlashInfer whose operators Strobe has.
GENERATORS = (
    "gen_act_and_mul_module",
    "gen_batch_attention_module",
    "gen_batch_decode_module",
    "gen_batch_pod_module",
    "gen_batch_prefill_attention_sink_module",
    "gen_batch_prefill_module",
    "gen_cascade_module",
    "gen_norm_module",
    "gen_page_module",
    "gen_pod_module",
    "gen_quantization_module",
    "gen_rope_module",
    "gen_sampling_module",
    "gen_single_decode_module",
    "gen_single_prefill_module",
    "gen_topk_module",
)


# Those that take a variant's text (strobe.variants).
CUSTOMIZERS = (
    "gen_customize_batch_decode_module",
    "gen_customize_batch_prefill_module",
    "gen_customize_single_decode_module",
    "gen_customize_single_prefill_module",
)


class MissingJITCacheError(RuntimeError):
    """FlashInfer's error of a module that is not compiled and must not be."""

    def __init__(self, message: str, spec: Optional["JitSpec"] = None) -> None:
        super().__init__(message)
        self.spec = spec


def _command(*arguments: str) -> str:
    command = Path(__file__).parent / "bin" / "strobe"
    result = subprocess.run([str(command), *arguments], capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"strobe {' '.join(arguments)}: {result.stderr.strip() or result.stdout.strip()}")
    return result.stdout


_warm = False


def build_jit_specs(specs: Sequence["JitSpec"], verbose: bool = False, skip_prebuilt: bool = True) -> None:
    """Compiles what is not in the cache yet, in parallel, for the GPUs here or for STROBE_CUDA_ARCH_LIST."""
    global _warm
    if specs and not _warm:
        text = _command("warmup")
        _warm = True
        if verbose:
            print(text, end="")


class JitSpec:
    """What a generator gives: a name, and `build`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def build(self, verbose: bool = False, need_lock: bool = False) -> None:
        """Compiles what is not in the cache yet."""
        build_jit_specs([self], verbose)

    def build_and_load(self) -> "JitSpec":
        self.build()
        return self

    def __repr__(self) -> str:
        return f"JitSpec({self.name!r})"


def clear_cache_dir() -> None:
    """Empties the cache of compiled kernels."""
    _command("cache", "clear")


def __getattr__(name: str) -> Callable[..., Any]:
    if not name.startswith("gen_"):
        raise AttributeError(f"module 'strobe.jit' has no attribute '{name}'")

    def generate(*args: Any, **kwargs: Any) -> Any:
        if name in CUSTOMIZERS:
            from .variants import customized

            return customized(name, *args, **kwargs)
        if name not in GENERATORS:
            raise Unsupported(f"strobe.jit.{name}: Strobe has no such kernels yet")
        return JitSpec(name[len("gen_") :])

    return generate
