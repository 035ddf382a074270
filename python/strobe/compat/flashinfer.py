"""Puts Strobe under the name `flashinfer`, with the submodules that engines and FlashInfer's own tests import."""

from __future__ import annotations

import os
import re
import sys
from importlib import import_module
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any, Optional

import strobe
from strobe import jit
from strobe._errors import unsupported, unsupported_class

from . import _engines
from ._names import AT_THE_TOP, GENERATORS, NAMES, VERSION

_BACKENDS = ("auto", "fa2", "fa3", "cuda/sm80", "cuda/sm90", "cpu")
_SUPPORTED_CCS = (80, 86, 87, 89, 90, 100, 103, 110, 120, 121)

# FlashInfer's environment variables that mean the same under Strobe's names.
_VARIABLES = {
    name: f"STROBE_{name}"
    for name in (
        "DISABLE_JIT", "DUMP_DIR", "DUMP_EXCLUDE", "DUMP_INCLUDE", "DUMP_MAX_COUNT", "DUMP_MAX_SIZE_GB", "JIT_DEBUG",
        "JIT_VERBOSE", "LOGDEST", "LOGLEVEL",
    )
}  # fmt: skip


def map_environment(environment: Any = os.environ) -> dict[str, str]:
    """Gives Strobe's variables the values of FlashInfer's, where they have none; returns what was set.

    >>> map_environment({"FLASHINFER_LOGLEVEL": "3", "FLASHINFER_CUDA_ARCH_LIST": "8.0 9.0a"})
    {'STROBE_LOGLEVEL': '3', 'STROBE_CUDA_ARCH_LIST': 'sm_80,sm_90a'}
    """
    mapped = {theirs: environment.get(f"FLASHINFER_{name}") for name, theirs in _VARIABLES.items()}
    base = environment.get("FLASHINFER_WORKSPACE_BASE")
    mapped["STROBE_CACHE_DIR"] = base and str(Path(base) / ".cache" / "strobe")
    archs = re.findall(r"(\d+)\.(\d+[a-z]?)", environment.get("FLASHINFER_CUDA_ARCH_LIST", ""))
    mapped["STROBE_CUDA_ARCH_LIST"] = ",".join(f"sm_{major}{minor}" for major, minor in archs)
    new = {name: value for name, value in mapped.items() if value and name not in environment}
    environment.update(new)
    return new


def _answers(function: Any, there: bool) -> Any:
    """Attaches what FlashInfer's decorators attach, for those who ask before they call."""
    backends = _BACKENDS if there else ()
    ccs = _SUPPORTED_CCS if there else ()

    def is_backend_supported(backend: str, cc: Optional[int] = None) -> bool:
        hopper = backend in ("fa3", "cuda/sm90")
        return backend in backends and (cc is None or int(cc) in ((90,) if hopper else ccs))

    try:
        function.is_backend_supported = is_backend_supported
        function.is_compute_capability_supported = lambda cc: int(cc) in ccs
        function.has_backend = lambda backend: backend in backends
        function.has_backend_choices = lambda: "backend" in signature(function).parameters
        function._supported_ccs = frozenset(ccs)
    except AttributeError:  # what takes no attributes is no function of FlashInfer's
        pass
    return function


_stand_ins: dict[str, Any] = {}


def _stand_in(module: str, name: str) -> Any:
    """One for each name: FlashInfer's modules hand theirs on to each other."""
    if name not in _stand_ins:
        make = unsupported_class if name[0].isupper() else unsupported
        _stand_ins[name] = _answers(make(f"flashinfer.{module}.{name}"), there=False)
    return _stand_ins[name]


def _inner_module(module: str, names: list[str], modules: dict[str, ModuleType]) -> ModuleType:
    """A module inside one of `modules`, with which it shares what both have."""
    found = ModuleType(f"flashinfer.{module}", "Names of the package around it.")
    found.__path__ = []
    outer = [modules[".".join(module.split(".")[:depth])] for depth in range(1, module.count(".") + 1)]
    for name in names:
        shared = [getattr(package, name) for package in outer if hasattr(package, name)]
        setattr(found, name, shared[0] if shared else _stand_in(module, name))
    return found


def _all_modules() -> dict[str, ModuleType]:
    """The modules of NAMES and those around them, outer ones first."""
    modules: dict[str, ModuleType] = {}
    for name, names in NAMES.items():
        for depth in range(2, name.count(".") + 1):
            package = ".".join(name.split(".")[:depth])
            if package not in modules:
                modules[package] = _inner_module(package, NAMES.get(package, "").split(), modules)
        if name not in modules:
            inner = "." in name
            modules[name] = _inner_module(name, names.split(), modules) if inner else _submodule(name, names.split())
    return modules


def _submodule(module: str, names: list[str]) -> ModuleType:
    """Strobe's module of that name, or one of stand-ins; either has all the names."""
    try:
        found = import_module(f"strobe.{module}")
    except ModuleNotFoundError:
        found = ModuleType(f"flashinfer.{module}", "Not there yet: what it holds raises strobe.Unsupported.")
    for name in GENERATORS.get(module, "").split():
        setattr(found, name, getattr(jit, name))
    for name, value in _engines.EXTRAS.get(module, {}).items():
        setattr(found, name, value)
    for name in names:
        if hasattr(found, name):
            _answers(getattr(found, name), there=not hasattr(getattr(found, name), "missing"))
        else:
            setattr(found, name, _stand_in(module, name))
    return found


def install() -> ModuleType:
    """Makes `import flashinfer`, and imports of its submodules, give Strobe. Returns the module.

    Raises RuntimeError when the real FlashInfer has been imported already.
    """
    present = sys.modules.get("flashinfer")
    if getattr(present, "__strobe__", False):
        return present  # type: ignore[return-value]
    if present is not None and getattr(present, "__version__", None) is not None:
        raise RuntimeError("strobe.compat.flashinfer.install: expected to come before `import flashinfer`, came after it")
    map_environment()
    top: Any = ModuleType("flashinfer", strobe.__doc__)
    top.__path__ = []  # a package, all of whose submodules are in sys.modules
    top.__version__ = VERSION
    top.__strobe__ = True
    top.__git_version__ = "unknown"
    modules = _all_modules()
    modules.update({name: jit for name in ("jit.attention", "jit.attention.pytorch", "jit.core")})
    modules.update({"jit.attention.variants": _engines.jit_variants(), "jit.env": _engines.jit_env()})
    modules.update({"jit.utils": _engines.jit_utils(), **_engines.triton()})
    for name in AT_THE_TOP:
        for attribute in NAMES[name].split():
            setattr(top, attribute, getattr(modules[name], attribute))
    top.next_positive_power_of_2 = modules["utils"].next_positive_power_of_2
    for name, module in modules.items():
        sys.modules[f"flashinfer.{name}"] = module
        parent, _, child = name.rpartition(".")
        if not hasattr(modules[parent] if parent else top, child):
            setattr(modules[parent] if parent else top, child, module)
    sys.modules["flashinfer"] = top
    return top  # type: ignore[no-any-return]
