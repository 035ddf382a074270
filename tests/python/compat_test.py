"""Strobe under FlashInfer's name."""

import ast
import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import strobe
from strobe import jit
from strobe.compat._names import NAMES
from strobe.compat.flashinfer import map_environment

PROGRAM = """
import numpy as np, sys
import flashinfer
from flashinfer.norm import rmsnorm
from flashinfer.utils import MaskMode, PosEncodingMode, TensorLayout
import flashinfer.jit.attention
assert flashinfer.rmsnorm is rmsnorm and flashinfer.decode is sys.modules["flashinfer.decode"]
print(rmsnorm(np.float32([[3, 4]]), np.float32([1, 1])).round(2), flashinfer.__version__)
print(MaskMode.CAUSAL.value, PosEncodingMode.ALIBI.value, TensorLayout.HND.value)
"""
PRINTED = "[[0.85 1.13]] 0.6.18\n1 2 1\n"


# What vLLM and SGLang import.
ENGINES = """
from flashinfer import (
    BatchDecodeWithPagedKVCacheWrapper, BatchMLAPagedAttentionWrapper, BatchPrefillWithPagedKVCacheWrapper,
    BatchPrefillWithRaggedKVCacheWrapper, MultiLevelCascadeAttentionWrapper, SegmentGEMMWrapper, bmm_fp8,
)
from flashinfer.autotuner import autotune
from flashinfer.cascade import merge_state
from flashinfer.comm import allreduce_fusion
from flashinfer.concat_ops import concat_mla_k
from flashinfer.decode import _get_range_buf, fast_decode_plan, get_seq_lens, trtllm_batch_decode_with_kv_cache
from flashinfer.fused_moe import cutlass_fused_moe
from flashinfer.gdn_prefill import chunk_gated_delta_rule
from flashinfer.fused_moe.core import cutlass_fused_moe as of_core
from flashinfer.jit import env as jit_env
from flashinfer.jit.attention.variants import attention_sink_decl
from flashinfer.quantization.kernels.nvfp4_quantize import nvfp4_quantize_cute_dsl
from flashinfer.utils import GPUArchitectureError, is_float8, last_positive_power_of_2, version_at_least
from flashinfer.jit.utils import filename_safe_dtype_map_of_nobody
"""


def run(*command, **environment):
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})


def test_install_in_a_program():
    result = run(sys.executable, "-c", "import strobe.compat.flashinfer as c; c.install(); c.install()\n" + PROGRAM)
    assert result.stdout == PRINTED, result


def test_a_command_and_its_children(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(f"import subprocess, sys\nprint(subprocess.check_output([sys.executable, '-c', {PROGRAM!r}], text=True), end='')")
    result = run(sys.executable, "-m", "strobe.compat", "--", "python", str(script))
    assert result.stdout == PRINTED, result
    test = tmp_path / "test_it.py"
    test.write_text("import flashinfer\ndef test_it(): assert flashinfer.__strobe__\n")
    result = run(sys.executable, "-m", "strobe.compat", "--", "pytest", "-q", "-p", "no:cacheprovider", str(test))
    assert result.returncode == 0 and "1 passed" in result.stdout
    assert "usage:" in run(sys.executable, "-m", "strobe.compat").stderr
    assert "no-such-command: No such file" in run(sys.executable, "-m", "strobe.compat", "--", "no-such-command").stderr


def test_every_public_name_is_there():
    code = """
import strobe.compat.flashinfer, strobe.compat._names, importlib
top = strobe.compat.flashinfer.install()
for module, names in strobe.compat._names.NAMES.items():
    for name in names.split():
        value = getattr(importlib.import_module("flashinfer." + module), name)
        assert module not in strobe.compat._names.AT_THE_TOP or getattr(top, name) is value, name
        assert value.is_backend_supported("fa2") == (not hasattr(value, "missing")), name
        if hasattr(value, "missing"):
            try:
                value(1, 2)
            except strobe.Unsupported as error:
                assert name in str(error)
            else:
                raise AssertionError(name)
print("all")
"""
    result = run(sys.executable, "-c", code)
    assert result.stdout == "all\n", result.stderr


def test_what_strobe_has_is_not_a_stand_in():
    missing = [
        name for module, names in NAMES.items() for name in names.split() if hasattr(strobe, name)
        and hasattr(getattr(strobe, name), "missing")
    ]  # fmt: skip
    assert missing == []
    assert all(callable(getattr(strobe, name)) for name in ("rmsnorm", "BatchDecodeWithPagedKVCacheWrapper"))


def parameters(line):
    """A function of flashinfer_signatures.txt: positional parameters, keyword ones, defaults, whether it takes *args."""
    arguments = ast.parse(f"def f{line[line.index('('):]}: pass").body[0].args
    positional, keywords = ([a.arg for a in group] for group in (arguments.args, arguments.kwonlyargs))
    values = [*zip(positional[::-1], arguments.defaults[::-1]), *zip(keywords, arguments.kw_defaults)]
    return positional, keywords, {name: ast.literal_eval(value) for name, value in values}, arguments.vararg is not None


def differences(line, function):
    """What keeps a call that is written for the function of `line` from meaning the same to `function`."""
    ours = inspect.signature(function).parameters
    positional, keywords, defaults, more = parameters(line)
    kinds = {kind: [name for name, p in ours.items() if p.kind == kind] for kind in inspect._ParameterKind}
    named, rest = kinds[inspect.Parameter.POSITIONAL_OR_KEYWORD], bool(kinds[inspect.Parameter.VAR_POSITIONAL])
    found = [] if named[: len(positional)] == positional[: len(named) if rest else None] else [f"positional {named}"]
    if not kinds[inspect.Parameter.VAR_KEYWORD]:
        found += [f"no {name}" for name in positional + keywords if name not in ours]
    found += ["no *args"] if more and not rest else []
    found += [f"{n}={ours[n].default!r}" for n, value in defaults.items() if n in ours and ours[n].default != value]
    return found


def test_functions_take_what_flashinfers_take():
    lines = (Path(__file__).parent / "flashinfer_signatures.txt").read_text().splitlines()[1:]
    wrong = {}
    for line in lines:
        path = line.partition("(")[0]
        module, *names = path.split(".")
        function = importlib.import_module("strobe.compat._engines" if module == "autotuner" else f"strobe.{module}")
        for name in names:
            function = getattr(function, name)
        if "(" in line and (found := differences(line, function)):
            wrong[path] = found
    assert wrong == {} and len(lines) > 100


def test_functions_that_differ_are_found():
    line = "f(a, b=1, *, c=None)"
    assert differences(line, lambda a, b=1, *, c=None, d=2: 0) == []
    assert differences(line, lambda *args, **kwargs: 0) == []
    assert differences(line, lambda b, a=1, *, c=None: 0) == ["positional ['b', 'a']", "b=<class 'inspect._empty'>"]
    assert differences(line, lambda a, b=2: 0) == ["no c", "b=2"]
    assert differences("f(a, *args)", lambda a: 0) == ["no *args"]


def test_engines_find_what_they_import():
    *imports, wrong = ENGINES.strip().splitlines()
    code = "import strobe.compat.flashinfer as c; c.install()\n" + "\n".join(imports) + """
import flashinfer
wrapper, norm = flashinfer.BatchPrefillWithPagedKVCacheWrapper, flashinfer.rmsnorm
assert wrapper.has_backend_choices() and not norm.has_backend_choices() and not bmm_fp8.is_compute_capability_supported(90)
assert wrapper.is_backend_supported("fa3", 90) and not wrapper.is_backend_supported("fa3", 80) and 90 in norm._supported_ccs
assert flashinfer.activation.gen_act_and_mul_module().name == "act_and_mul_module"
assert of_core is cutlass_fused_moe and flashinfer.quantization.packbits is flashinfer.packbits
assert sorted(attention_sink_decl) == ["fa2", "fa3"] and issubclass(GPUArchitectureError, Exception)
assert flashinfer.triton.cascade.merge_state is merge_state and jit_env.FLASHINFER_CUBIN_DIR.name == "strobe"
with autotune(True):
    print("inside")
"""
    result = run(sys.executable, "-c", code, STROBE_CACHE_DIR="/nowhere/strobe")
    assert result.stdout == "inside\n", result.stderr
    assert "ImportError: cannot import name 'filename_safe_dtype_map_of_nobody'" in run(
        sys.executable, "-c", "import strobe.compat.flashinfer as c; c.install()\n" + wrong
    ).stderr  # fmt: skip


def test_install_comes_first(tmp_path):
    (tmp_path / "flashinfer.py").write_text("__version__ = 'real'\n")
    code = "import flashinfer, strobe.compat.flashinfer as c; c.install()"
    result = run(sys.executable, "-c", code, PYTHONPATH=f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}")
    assert "RuntimeError: strobe.compat.flashinfer.install: expected to come before `import flashinfer`" in result.stderr


def test_variables():
    theirs = {
        "FLASHINFER_WORKSPACE_BASE": "/somewhere", "FLASHINFER_LOGLEVEL": "3", "STROBE_LOGDEST": "mine",
        "FLASHINFER_LOGDEST": "theirs", "FLASHINFER_CUDA_ARCH_LIST": "8.0 9.0a", "FLASHINFER_JIT_VERBOSE": "1",
    }  # fmt: skip
    assert map_environment(theirs) == {
        "STROBE_CACHE_DIR": "/somewhere/.cache/strobe",
        "STROBE_CUDA_ARCH_LIST": "sm_80,sm_90a",
        "STROBE_JIT_VERBOSE": "1",
        "STROBE_LOGLEVEL": "3",
    }
    assert theirs["STROBE_LOGDEST"] == "mine"
    # The variables are those that the library knows.
    known = run(sys.executable, "-m", "strobe", "doctor").stdout
    for name in map_environment({f"FLASHINFER_{name}": "1" for name in ("DUMP_DIR", "DISABLE_JIT", "DUMP_MAX_SIZE_GB")}):
        assert name in known


def test_jit_names_are_the_warm_up(monkeypatch):
    commands = []
    monkeypatch.setattr(jit, "_command", lambda *arguments: commands.append(arguments) or "")
    monkeypatch.setattr(jit, "_warm", False)
    specs = [jit.gen_norm_module(), jit.gen_batch_prefill_module("fa2", "float16")]
    assert repr(specs[1]) == "JitSpec('batch_prefill_module')"
    jit.build_jit_specs(specs)
    specs[0].build_and_load()
    assert commands == [("warmup",)]
    jit.clear_cache_dir()
    assert commands[1:] == [("cache", "clear")]
    with pytest.raises(strobe.Unsupported, match="strobe.jit.gen_gemm_module: Strobe has no such kernels yet"):
        jit.gen_gemm_module()
    with pytest.raises(AttributeError, match="no attribute 'no_such'"):
        jit.no_such


def test_a_failing_command_says_why():
    with pytest.raises(RuntimeError, match="strobe warmup --suite no_such: "):
        jit._command("warmup", "--suite", "no_such")
