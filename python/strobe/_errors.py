"""The package's own exception; all others are Python's ValueError, TypeError and RuntimeError."""

from __future__ import annotations

from typing import Any, Callable, NoReturn


_MISSING = "Not there yet: raises strobe.Unsupported."


class Unsupported(NotImplementedError):
    """A valid request that nothing in this build of Strobe serves. The message says what there is."""


def unsupported(name: str) -> Callable[..., NoReturn]:
    """A stand-in for a FlashInfer function that Strobe does not have: calling it raises `Unsupported`."""

    def missing(*args: Any, **kwargs: Any) -> NoReturn:
        raise Unsupported(f"{name}: Strobe has no such operator yet")

    missing.__name__ = missing.__qualname__ = name.rpartition(".")[2]
    missing.__doc__ = _MISSING
    missing.missing = True  # type: ignore[attr-defined]
    return missing


def unsupported_class(name: str) -> type:
    """The same for a class."""

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        raise Unsupported(f"{name}: Strobe has no such operator yet")

    return type(name.rpartition(".")[2], (), {"__init__": __init__, "__doc__": _MISSING, "missing": True})
