"""Solutions in Python: their sources as modules of this process, and calls in either convention."""

from __future__ import annotations

import atexit
import importlib
import re
import shutil
import sys
import tempfile
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, Optional, Sequence

from .._errors import Unsupported
from .._frameworks import Framework, find_framework, framework_of

LANGUAGES = ("python", "triton", "tilelang")

_numbers = count()
_folder: Optional[Path] = None


def _new_folder() -> Path:
    """For one solution's sources, until the process ends: tracebacks and triton read them."""
    global _folder
    if _folder is None:
        _folder = Path(tempfile.mkdtemp(prefix="strobe-solutions-"))
        atexit.register(shutil.rmtree, _folder, ignore_errors=True)
    return _folder / f"strobe_solution_{next(_numbers)}"


def load(solution: dict[str, Any]) -> Callable[..., Any]:
    """The entry point of a solution, which runs its sources. Raises what they raise, and Unsupported for a language.

    The sources are a package of their own name: `from .helper import f` finds helper.py beside the importing file.
    `import helper` does, too, while the entry file runs.
    """
    spec = solution["spec"]
    if spec["language"] not in LANGUAGES:
        raise Unsupported(
            f"solution '{solution['name']}': expected one of {', '.join(LANGUAGES)}, got {spec['language']}"
        )
    folder = _new_folder()
    for source in solution["sources"]:
        file = folder / source["path"]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source["content"])
    package = ModuleType(folder.name)
    package.__path__ = [str(folder)]
    sys.modules[folder.name] = package
    file, _, symbol = spec["entry_point"].partition("::")
    before = set(sys.modules)
    sys.path.insert(0, str((folder / file).parent))
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(f"{folder.name}.{file.removesuffix('.py').replace('/', '.')}")
    finally:
        sys.path.remove(str((folder / file).parent))
        for name in set(sys.modules) - before:  # the next solution may have a helper of the same name
            origin = getattr(sys.modules[name], "__file__", None)
            if origin and origin.startswith(str(folder)) and not name.startswith(folder.name):
                del sys.modules[name]
    function = getattr(module, symbol)
    if not callable(function):
        raise TypeError(f"solution '{solution['name']}': {spec['entry_point']} is not callable")
    return function  # type: ignore[no-any-return]


def framework_name(solution: dict[str, Any]) -> Optional[str]:
    """Whose tensors the solution wants: those of torch or numpy; None when it takes any."""
    imports = "|".join(rf"^\s*(?:import|from)\s+{name}\b" for name in ("torch", "triton", "tilelang"))
    texts = [source["content"] for source in solution["sources"]]
    wants_torch = {"torch", "triton", "tilelang"} & set(solution["spec"]["dependencies"])
    if wants_torch or any(re.search(imports, text, re.MULTILINE) for text in texts):
        return "torch"
    if any(re.search(r"^\s*(?:import|from)\s+numpy\b", text, re.MULTILINE) for text in texts):
        return "numpy"
    return None


class Shapes:
    """Shapes and dtypes of a definition's outputs, by the tensors of a call."""

    def __init__(self, definition: dict[str, Any]) -> None:
        self.inputs = list(definition["inputs"])
        self.outputs = list(definition["outputs"])
        places: dict[str, tuple[int, int]] = {}
        for position, spec in enumerate(definition["inputs"].values()):
            for dimension, axis in enumerate(spec["shape"] or ()):
                places.setdefault(axis, (position, dimension))
        axes = {name: axis.get("value") for name, axis in definition["axes"].items()}
        # Of each output its dtype, and for each axis its size or where to read it.
        self._specs = [
            (spec["dtype"], [places[axis] if axes[axis] is None else axes[axis] for axis in spec["shape"] or ()])
            for spec in definition["outputs"].values()
        ]
        self._first = next((i for i, spec in enumerate(definition["inputs"].values()) if spec["shape"] is not None), 0)

    def framework(self, values: Sequence[Any]) -> Framework:
        return framework_of(values[self._first], self.inputs[self._first])

    def empty(self, values: Sequence[Any]) -> list[Any]:
        """New outputs of the kind of the inputs."""
        framework, like = self.framework(values), values[self._first]
        return [
            framework.empty([d if type(d) is int else values[d[0]].shape[d[1]] for d in shape], like, _short(dtype))
            for dtype, shape in self._specs
        ]


def _short(dtype: str) -> str:
    from .._dtypes import dtype_name

    return dtype_name(dtype)


def copy_into(target: Any, value: Any) -> None:
    """Writes a result where the caller wants it."""
    if hasattr(target, "copy_"):
        target.copy_(value)
    else:
        target[...] = value


def may_overlap(a: Any, b: Any) -> bool:
    """Whether two tensors may lie in the same memory."""
    if hasattr(a, "untyped_storage") and hasattr(b, "untyped_storage"):
        return bool(a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr())
    frameworks = find_framework(a), find_framework(b)
    if all(framework is not None and framework.name == "numpy" for framework in frameworks):
        return bool(importlib.import_module("numpy").may_share_memory(a, b))
    return True


def _as(name: str, value: Any) -> Any:
    """The same memory as a tensor of torch or numpy."""
    framework = find_framework(value)
    if framework is None or framework.name == name or name not in ("torch", "numpy"):
        return value
    if name == "torch":
        return importlib.import_module("torch").from_dlpack(value)
    return value.detach().numpy() if framework.name == "torch" else importlib.import_module("numpy").from_dlpack(value)


class Runner:
    """One solution as both kinds of calls: with outputs at the end, and without."""

    def __init__(
        self, name: str, function: Callable[..., Any], writes_outputs: bool, shapes: Shapes, framework: Optional[str]
    ) -> None:
        self.name = name
        self._function = function
        self._writes_outputs = writes_outputs
        self._shapes = shapes
        self._framework = framework

    def _values(self, values: Sequence[Any]) -> Sequence[Any]:
        if self._framework is None or self._shapes.framework(values).name == self._framework:
            return values
        return [_as(self._framework, value) for value in values]

    def write(self, values: Sequence[Any]) -> None:
        """Inputs, then outputs, which are written."""
        if self._writes_outputs:
            self._function(*self._values(values))
            return
        count = len(self._shapes.inputs)
        results = self._function(*self._values(values[:count]))
        for target, value in zip(
            self._values(values[count:]), results if isinstance(results, (tuple, list)) else [results]
        ):
            copy_into(target, value)

    def compute(self, values: Sequence[Any]) -> Any:
        """Inputs; the result, or a tuple of several."""
        framework = self._shapes.framework(values)
        if self._writes_outputs:
            outputs = self._shapes.empty(values)
            self._function(*self._values([*values, *outputs]))
        else:
            results = self._function(*self._values(values))
            outputs = list(results) if isinstance(results, (tuple, list)) else [results]
            if self._framework is not None:
                outputs = [_as(framework.name, output) for output in outputs]
        results = tuple(framework.result(output) for output in outputs)
        return results[0] if len(results) == 1 else results
