"""Calls routed to the solutions of a data set. The table, the look-up and the counts are libstrobe's
(src/trace/apply); here are Python's solutions and the calls themselves."""

from __future__ import annotations

import json
import logging
import sys
import threading
from dataclasses import asdict, dataclass
from typing import Any, Callable, Optional, Sequence, Union

from .._frameworks import find_framework
from .._native import module
from ._solutions import LANGUAGES, Runner, Shapes, framework_name, load

log = logging.getLogger("strobe.apply")

ON_MISS = ("fallback_only", "nearest", "use_def_best")


@dataclass(frozen=True)
class ApplyConfig:
    """Which traces count, and what happens with sizes that nobody has measured.

    on_miss: "fallback_only", no solution; "nearest", that of the nearest sizes, which differ in no axis by more than
    `nearest_octaves` (|log2(a / b)|; the number of pages of a cache does not count); "use_def_best", the solution that
    is the fastest at more sizes than any other.
    max_absolute_error, max_relative_error: of traces, beyond what their benchmark has let pass; None: no bound.
    hardware: whose traces count; "": that of the device on which a call's tensors are.
    """

    on_miss: str = "fallback_only"
    nearest_octaves: float = 1.0
    max_absolute_error: Optional[float] = None
    max_relative_error: Optional[float] = None
    hardware: str = ""

    def __post_init__(self) -> None:
        if self.on_miss not in ON_MISS:
            raise ValueError(f"on_miss: expected one of {', '.join(ON_MISS)}, got {self.on_miss!r}")


def read_definitions(data_set: str) -> dict[str, dict[str, Any]]:
    """The definitions of a data set by name, as the schema has them; faulty files are passed over."""
    return json.loads(module()["strobe_trace_definitions"](str(data_set)))  # type: ignore[no-any-return]


def merge(definition: dict[str, Any], args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any]:
    """Arguments in the order of the definition: inputs, then outputs, up to the first that is not given. Unknown names
    are passed over. Raises TypeError for one that is given twice."""
    names = [*definition["inputs"], *definition["outputs"]]
    values = list(args)
    for name in names[: len(values)]:
        if name in kwargs:
            raise TypeError(f"{definition['name']}: got two values for the argument '{name}'")
    for name in names[len(values) :]:
        if name not in kwargs:
            break
        values.append(kwargs[name])
    return values


def prepare(values: Sequence[Any], written_from: int, who: str) -> list[Any]:
    """The values as tvm-ffi takes them; those from `written_from` on are going to be written."""
    prepared = []
    for position, value in enumerate(values):
        framework = find_framework(value)
        if framework is not None:
            value = framework.argument(value, position >= written_from, f"{who}: argument {position}")
        elif type(value).__module__ == "numpy" and hasattr(value, "item"):
            value = value.item()
        prepared.append(value)
    return prepared


def wants_gradient(values: Sequence[Any]) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and torch.is_grad_enabled() and any(getattr(v, "requires_grad", False) for v in values)


class Definition:
    """One definition's calls."""

    def __init__(self, runtime: ApplyRuntime, definition: Optional[dict[str, Any]], name: str) -> None:
        self.name = name
        self.definition = definition
        self._runtime = runtime
        self._dispatch = module()["strobe_apply_function"](runtime._handle, name)
        self._inputs = 0 if definition is None else len(definition["inputs"])
        self._runners = runtime._runners

    def call(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """What the solution returns (None where outputs were given), or MISS."""
        if self.definition is None:
            self._dispatch()  # which counts
            return MISS
        values = merge(self.definition, args, kwargs) if kwargs else args
        if wants_gradient(values):
            self._runtime.refuse(self.name, "gradients, which solutions do not have")
            return MISS
        try:
            number = self._dispatch(*values)
        except (BufferError, TypeError):  # not as tvm-ffi takes them, or the solution's own error
            prepared = prepare(values, self._inputs, self.name)
            if all(new is old for new, old in zip(prepared, values)):
                raise
            number = self._dispatch(*prepared)
        if number is None:
            return None
        if number < 0:
            return MISS
        runner = self._runners.get(number) or self._runtime._native_runner(number, self)
        if len(values) == self._inputs:
            return runner.compute(values)
        return runner.write(values)


MISS: Any = object()


class ApplyRuntime:
    """A data set whose solutions calls are routed to. A context manager: `with enable_apply(data_set): …`."""

    def __init__(self, data_set: Union[str, Any], config: ApplyConfig = ApplyConfig()) -> None:
        self.data_set = str(data_set)
        self.config = config
        given = {name: value for name, value in asdict(config).items() if value is not None}
        options = {"data_set": self.data_set, "host_languages": LANGUAGES, **given}
        self._handle = module()["strobe_apply_open"](json.dumps(options))
        self.definitions = read_definitions(self.data_set)
        self._names: list[str] = json.loads(self._text("solutions"))
        self._numbers = {name: number for number, name in enumerate(self._names)}
        self._runners: dict[int, Runner] = {}
        self._routes: dict[str, Definition] = {}
        self._lock = threading.Lock()
        self._on_exit: list[Callable[[], None]] = []
        self._load_winners()

    def _text(self, what: str) -> str:
        return str(module()["strobe_apply_text"](self._handle, what))

    def _load_winners(self) -> None:
        """Imports the solutions in Python that win somewhere; where one cannot be, the next wins."""
        while True:
            refused = False
            for solution in json.loads(self._text("winners")):
                number = self._numbers[solution["name"]]
                if number in self._runners:
                    continue
                try:
                    function = load(solution)
                except Exception as error:  # whatever a source does when it is run
                    reason = f"it cannot be loaded: {type(error).__name__}: {error}"
                    module()["strobe_apply_refuse"](self._handle, solution["name"], reason)
                    log.warning("solution %s: %s", solution["name"], reason)
                    refused = True
                    break
                shapes = Shapes(self.definitions[solution["definition"]])
                writes = solution["spec"]["destination_passing_style"]
                self._runners[number] = Runner(solution["name"], function, writes, shapes, framework_name(solution))
            if not refused:
                break
        log.info(
            "%s: solutions in Python: %s", self.data_set, ", ".join(r.name for r in self._runners.values()) or "none"
        )

    def _native_runner(self, number: int, route: Definition) -> Runner:
        """A solution in C++ or CUDA whose outputs are to be made."""
        assert route.definition is not None
        code = module()["strobe_apply_code"](self._handle, self._names[number])
        inputs = len(route.definition["inputs"])

        def call(*values: Any) -> None:
            try:
                code(*values)
            except BufferError:
                code(*prepare(values, inputs, route.name))

        runner = Runner(self._names[number], call, True, Shapes(route.definition), None)
        return self._runners.setdefault(number, runner)

    def route(self, name: str) -> Definition:
        """The calls of one definition; of an unknown name none has a solution."""
        found = self._routes.get(name)
        if found is None:
            with self._lock:
                found = self._routes.setdefault(name, Definition(self, self.definitions.get(name), name))
        return found

    def refuse(self, name: str, reason: str) -> None:
        """Counts a call that is not brought to the definition."""
        module()["strobe_apply_count"](self._handle, name, reason)

    def statistics(self) -> dict[str, Any]:
        """Calls, routes and reasons by definition."""
        return json.loads(self._text("statistics"))  # type: ignore[no-any-return]

    def explain(self) -> str:
        """The same in words."""
        return self._text("explain")

    def close(self) -> None:
        """Gives back the tables. STROBE_APPLY_STATISTICS is written now."""
        if self._handle is None:
            return
        for action in self._on_exit:
            action()
        self._routes.clear()
        self._runners.clear()
        module()["strobe_apply_close"](self._handle)
        self._handle = None

    def __enter__(self) -> ApplyRuntime:
        return self

    def __exit__(self, *exception: Any) -> None:
        from . import _leave

        _leave(self)
