"""Functions and wrappers of FlashInfer's shape through apply: Strobe's own, and FlashInfer's where it is imported.

An adapter reads the call, looks for a definition of the data set that describes it (_catalog.py), and calls apply with
the original as the fallback. What a definition does not say (a window, a soft cap, a mask, a scale) is refused: the
original gets the arguments as they came, and the refusal is counted under "adapter: NAME". What the original writes in
place, a hit writes as well. Solutions may themselves call what is adapted here; inside of them the originals run.
"""

from __future__ import annotations

import inspect
import sys
import threading
from functools import wraps
from typing import Any, Callable, Optional, Sequence

import strobe

from .._frameworks import find_framework
from . import _attention_adapters
from ._catalog import Catalog, dtype_of, has_number
from ._solutions import copy_into, may_overlap

Original = Callable[[], Any]


class Refused(Exception):
    """The call is none of the definition's."""


class Call(dict[str, Any]):
    """Arguments by name; one that is not there is refused, and the original will say what it misses."""

    def __missing__(self, name: str) -> Any:
        raise Refused(f"it lacks the argument '{name}'")


class _Inside(threading.local):
    """Whether this thread is within an adapted call."""

    adapted = False


_inside = _Inside()


def refuse_if(condition: Any, reason: str) -> None:
    if condition:
        raise Refused(reason)


class Session:
    """What adapters route by: the definitions of the active runtime, or of the recorder of calls."""

    def __init__(self) -> None:
        self._catalogs: dict[int, tuple[Any, Catalog]] = {}

    def catalog(self) -> Optional[Catalog]:
        from . import _active, _recorder

        source = _active if _active is not None else _recorder
        if source is None:
            return None
        known = self._catalogs.get(id(source))
        if known is None or known[0] is not source:
            self._catalogs = {id(source): (source, Catalog(source.definitions))}
            known = self._catalogs[id(source)]
        return known[1]

    def refuse(self, name: str, reason: str) -> None:
        from . import _active

        if _active is not None:
            _active.refuse(f"adapter: {name}", reason)

    def definition(self, *args: Any) -> Any:
        """As Catalog.find, but that it refuses where there is none."""
        catalog = self.catalog()
        found = None if catalog is None else catalog.find(*args)
        if found is None:
            raise Refused("no definition of the data set describes it")
        return found


session = Session()


def route(
    definition: Any, given: dict[str, Any], original: Original, outputs: Optional[list[Any]] = None
) -> tuple[bool, Any]:
    """Whether a solution ran on the definition's inputs of these names, and its result, which is `outputs` where these
    are given. Without a solution, `original` ran."""
    from . import apply

    missed = False

    def fallback(*args: Any) -> Any:
        nonlocal missed
        missed = True
        return original()

    values = [given[name] for name in definition["inputs"]]
    result = apply(definition["name"], values + (outputs or []), {}, fallback)
    return not missed, result if missed or outputs is None else tuple(outputs)


def _has_eps(definition: Any, eps: float) -> bool:
    """Definitions have eps as an input or as a number in their reference."""
    return "eps" in definition["inputs"] or has_number(definition, eps)


def _rmsnorm(call: Call, original: Original) -> Any:
    x, weight, eps, out = call["input"], call["weight"], call.get("eps", 1e-6), call.get("out")
    definition = session.definition(
        ("rmsnorm",), (("hidden_size", x.shape[-1]),), (("hidden_states", dtype_of(x)),),
        frozenset(("hidden_states", "weight", "eps")), (eps,), lambda d: _has_eps(d, eps),
    )  # fmt: skip
    given = {"hidden_states": x, "weight": weight, "eps": eps}
    if out is None or may_overlap(out, x):  # a solution may read its inputs again after it has written
        hit, result = route(definition, given, original)
        if hit and out is not None:
            copy_into(out, result)
            return out
        return result
    hit, result = route(definition, given, original, [out])
    return out if hit else result


def _fused_add_rmsnorm(call: Call, original: Original) -> Any:
    x, residual, weight, eps = call["input"], call["residual"], call["weight"], call.get("eps", 1e-6)
    framework = find_framework(x)
    refuse_if(framework is None or not framework.can_write, "tensors that cannot be written")
    definition = session.definition(
        ("rmsnorm", "fused_add_rmsnorm"), (("hidden_size", x.shape[-1]),), (("hidden_states", dtype_of(x)),),
        frozenset(("hidden_states", "residual", "weight", "eps")), ("fused", eps),
        lambda d: "residual" in d["inputs"] and _has_eps(d, eps),
    )  # fmt: skip
    given = {"hidden_states": x, "residual": residual, "weight": weight, "eps": eps}
    hit, result = route(definition, given, original)
    if not hit:
        return result
    results = dict(zip(definition["outputs"], result if isinstance(result, tuple) else (result,)))
    sums = [name for name in results if "residual" in name]
    if sums:
        copy_into(residual, results.pop(sums[0]))
    else:
        residual += x  # the schema's older definitions leave the sum to the caller
    copy_into(x, next(iter(results.values())))
    return None


def _rope(call: Call, original: Original) -> Any:
    """apply_rope_with_cos_sin_cache, whose q and k are [num_tokens, heads * head_size]."""
    q, k, positions, cache = call["query"], call["key"], call["positions"], call["cos_sin_cache"]
    head_size, neox = call["head_size"], call.get("is_neox", True)
    refuse_if(len(q.shape) != 2 or len(k.shape) != 2, "query and key of other than two axes")
    style = "neox" if neox else "gptj"
    definition = session.definition(
        ("rope",), (("head_size", head_size), ("rotary_dim", cache.shape[-1])), (("q", dtype_of(q)),),
        frozenset(("q", "k", "cos_sin_cache", "positions")), (style,),
        lambda d: style in d["name"] or (not neox and "interleave" in d["name"]),
    )  # fmt: skip
    given = {
        "q": q.reshape(q.shape[0], -1, head_size),
        "k": k.reshape(k.shape[0], -1, head_size),
        "cos_sin_cache": cache,
        "positions": positions,
    }
    hit, result = route(definition, given, original)
    return (result[0].reshape(q.shape), result[1].reshape(k.shape)) if hit else result


def _rope_inplace(call: Call, original: Original) -> None:
    computed = _rope(call, lambda: original())
    if computed is not None:  # the original writes by itself and returns nothing
        copy_into(call["query"], computed[0])
        copy_into(call["key"], computed[1])


def _sampling(method: str, *limits: str) -> Callable[[Call, Original], Any]:
    def adapter(call: Call, original: Original) -> Any:
        probs = call["probs"]
        refuse_if(call.get("indices") is not None, "indices of rows")
        refuse_if(any(call.get(n) is not None for n in ("generator", "seed", "offset")), "a generator or a seed")
        refuse_if(call.get("filter_apply_order", "top_k_first") != "top_k_first", "a joint filter")
        refuse_if(call.get("check_nan") or call.get("return_valid"), "a check of the probabilities")
        refuse_if(call.get("deterministic", True) is not True, "deterministic=False")
        definition = session.definition(
            ("sampling",), (("vocab_size", probs.shape[-1]),), (("probs", dtype_of(probs)),),
            frozenset(("probs", *limits)), (method,), lambda d: set(d["inputs"]) == {"probs", *limits},
        )  # fmt: skip
        given = {"probs": probs}
        for name in limits:
            given[name] = _limit(definition["inputs"][name], call[name], probs)
        hit, result = route(definition, given, original)
        return _as_int32(result) if hit else result

    return adapter


def _limit(spec: Any, value: Any, probs: Any) -> Any:
    """A filter's limit as the definition has it: a scalar, or one for each row."""
    is_tensor = find_framework(value) is not None
    refuse_if(spec["shape"] is None and is_tensor, "limits of their own for each row")
    if spec["shape"] is None or is_tensor:
        return value
    framework = find_framework(probs)
    assert framework is not None
    limits = framework.from_list([0] * probs.shape[0], probs)
    limits = framework.astype(limits, spec["dtype"])
    limits[...] = value
    return limits


def _as_int32(samples: Any) -> Any:
    framework = find_framework(samples)
    assert framework is not None
    return framework.astype(samples, "int32")


# Functions by module and name.
FUNCTIONS: dict[tuple[str, str], Callable[[Call, Original], Any]] = {
    ("norm", "rmsnorm"): _rmsnorm,
    ("norm", "fused_add_rmsnorm"): _fused_add_rmsnorm,
    ("rope", "apply_rope_with_cos_sin_cache"): _rope,
    ("rope", "apply_rope_with_cos_sin_cache_inplace"): _rope_inplace,
    ("sampling", "sampling_from_probs"): _sampling("sampling_from_probs"),
    ("sampling", "top_k_sampling_from_probs"): _sampling("top_k_sampling_from_probs", "top_k"),
    ("sampling", "top_p_sampling_from_probs"): _sampling("top_p_sampling_from_probs", "top_p"),
    ("sampling", "top_k_top_p_sampling_from_probs"): _sampling("top_k_top_p_sampling_from_probs", "top_k", "top_p"),
}


class Parameters:
    """Names of a function's arguments, for reading its calls."""

    def __init__(self, function: Callable[..., Any], skip: int = 0) -> None:
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        parameters = inspect.signature(function).parameters.values()
        self._names = [p.name for p in parameters if p.kind in kinds][skip:]

    def read(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Call:
        """Refuses positional arguments beyond those that have names, as they may say anything."""
        refuse_if(len(args) > len(self._names), "further positional arguments")
        return Call({**dict(zip(self._names, args)), **kwargs})


def adapted_call(name: str, adapter: Callable[[Original], Any], original: Original) -> Any:
    """The adapter's answer, or the original's where the adapter refuses or is within another one's call."""
    if _inside.adapted:
        return original()
    _inside.adapted = True
    try:
        return adapter(original)
    except Refused as refused:
        session.refuse(name, str(refused))
        return original()
    finally:
        _inside.adapted = False


def _adapted(name: str, original: Callable[..., Any], adapter: Callable[[Call, Original], Any]) -> Callable[..., Any]:
    parameters = Parameters(original)

    @wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        return adapted_call(
            name,
            lambda run: adapter(parameters.read(args, kwargs), run),
            lambda: original(*args, **kwargs),
        )

    return call


class _Patches:
    """What was put in the place of what, to be put back."""

    def __init__(self) -> None:
        self._attributes: list[tuple[Any, str, Any, Any]] = []
        self.users = 0

    def set(self, holder: Any, name: str, value: Any) -> None:
        self._attributes.append((holder, name, vars(holder)[name], value))
        setattr(holder, name, value)

    def replace_everywhere(self, adapters: dict[int, Any]) -> None:
        """Puts adapters, by the id of their originals, wherever a module holds the original under some name."""
        for module in list(sys.modules.values()):
            for name, value in list(getattr(module, "__dict__", {}).items()):
                if id(value) in adapters and module is not sys.modules[__name__]:
                    self.set(module, name, adapters[id(value)])

    def undo(self) -> None:
        for holder, name, original, value in reversed(self._attributes):
            if vars(holder).get(name) is value:  # nobody else has put something there since
                setattr(holder, name, original)
        self._attributes.clear()


_patches = _Patches()


def _packages() -> list[Any]:
    real = sys.modules.get("flashinfer")
    return [strobe] + ([real] if real is not None and not getattr(real, "__strobe__", False) else [])


def install() -> Callable[[], None]:
    """Puts the adapters in; the result takes them out again, when it has been called as often as this."""
    _patches.users += 1
    if _patches.users == 1:
        adapters, originals = {}, []
        for package in _packages():
            for (module, name), adapter in FUNCTIONS.items():
                original = getattr(getattr(package, module, None), name, None)
                if original is None or hasattr(original, "missing"):
                    continue
                originals.append(original)  # so that no id is given to another object
                adapters[id(original)] = _adapted(f"{package.__name__}.{name}", original, adapter)
            _attention_adapters.install(package, _patches)
        _patches.replace_everywhere(adapters)

    def remove() -> None:
        _patches.users -= 1
        if _patches.users == 0:
            _patches.undo()

    return remove
