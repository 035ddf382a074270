"""`flashinfer_bench.compile`: solutions as callables of this process."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Callable, Optional

from ...._errors import Unsupported
from ...._native import module
from ....apply._solutions import LANGUAGES, Runner, Shapes, framework_name, load
from ..data import BuildSpec, Definition, Solution, SourceFile

__all__ = ["BuildError", "BuilderRegistry", "Runnable", "RunnableMetadata"]


class BuildError(RuntimeError):
    """A solution that does not become a callable; the message says why."""


@dataclass
class RunnableMetadata:
    build_type: str
    definition_name: str
    solution_name: str
    destination_passing_style: bool = True
    definition: Optional[Definition] = None
    misc: dict[str, Any] = field(default_factory=dict)


class Runnable:
    """A solution that is built. Called in its own convention, or in either by name."""

    def __init__(
        self, callable: Callable[..., Any], metadata: RunnableMetadata, framework: Optional[str] = None
    ) -> None:
        assert metadata.definition is not None
        self.metadata = metadata
        self._callable: Optional[Callable[..., Any]] = callable
        content = metadata.definition.model_dump()
        self._definition = metadata.definition
        writes = metadata.destination_passing_style
        self._runner = Runner(metadata.solution_name, self._call, writes, Shapes(content), framework)

    def _call(self, *args: Any) -> Any:
        if self._callable is None:
            raise RuntimeError(f"solution '{self.metadata.solution_name}': expected one that is not cleaned up")
        return self._callable(*args)

    def __call__(self, *args: Any) -> Any:
        result = self._call(*args)
        if isinstance(result, tuple) and len(result) < 2:
            return result[0] if result else None
        return result

    def call_kwargs(self, **kwargs: Any) -> Any:
        return self(*self._definition.merge_kwargs_to_args((), kwargs))

    def call_destination_passing(self, *args: Any) -> None:
        """Inputs, then outputs, which are written."""
        self._runner.write(args)

    def call_value_returning(self, *args: Any) -> Any:
        """Inputs; returns the output, or a tuple of several."""
        return self._runner.compute(args)

    def cleanup(self) -> None:
        self._callable = None


class BuilderRegistry:
    """Builds each solution once, whatever it is called."""

    _instance: Optional[BuilderRegistry] = None

    def __init__(self) -> None:
        self._cache: dict[tuple[str, bool], Runnable] = {}

    @classmethod
    def get_instance(cls) -> BuilderRegistry:
        if cls._instance is None:
            cls._instance = cls()
        return cls._instance

    def build(self, definition: Definition, solution: Solution) -> Runnable:
        """Raises BuildError."""
        writes = solution.spec.destination_passing_style
        key = (solution.hash(), writes)  # the content hash leaves the convention out
        if key not in self._cache:
            self._cache[key] = _build(definition, solution)
        return self._cache[key]

    def build_reference(self, definition: Definition) -> Runnable:
        spec = BuildSpec("python", ["cpu"], "main.py::run", destination_passing_style=False)  # type: ignore[arg-type]
        name = f"{definition.name}__reference"
        return self.build(
            definition,
            Solution(name, definition.name, "__builtin__", spec, [SourceFile("main.py", definition.reference)]),
        )

    def cleanup(self) -> None:
        for runnable in self._cache.values():
            runnable.cleanup()
        self._cache.clear()


def _build(definition: Definition, solution: Solution) -> Runnable:
    if solution.definition != definition.name:
        raise BuildError(
            f"solution '{solution.name}': expected one of '{definition.name}', got one of '{solution.definition}'"
        )
    content = solution.model_dump()
    language = solution.spec.language.value
    try:
        if language in LANGUAGES:
            function, framework = load(content), framework_name(content)
        else:
            function = module()["strobe_solution_build"](json.dumps(definition.model_dump()), json.dumps(content))
            framework = None
    except (Exception, Unsupported) as error:  # whatever a source does when it is run
        raise BuildError(f"solution '{solution.name}': {type(error).__name__}: {error}") from error
    metadata = RunnableMetadata(
        language, definition.name, solution.name, solution.spec.destination_passing_style, definition
    )
    return Runnable(function, metadata, framework)
