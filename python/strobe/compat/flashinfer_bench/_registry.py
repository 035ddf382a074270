"""Configurations by definition, with a default."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, Iterable, Mapping, Optional, TypeVar, Union

Config = TypeVar("Config")


@dataclass
class ConfigRegistry(Generic[Config]):
    """A definition without a configuration has the default; without one it is passed over."""

    default: Optional[Config] = None
    per_definition: dict[str, Config] = field(default_factory=dict)

    def get(self, def_name: str) -> Optional[Config]:
        return self.per_definition.get(def_name, self.default)

    def register(self, def_name: str, config: Config, override: bool = False) -> None:
        """Raises ValueError for a definition that has one, unless it is to be replaced."""
        if def_name in self.per_definition and not override:
            raise ValueError(f"expected a definition without a configuration, got '{def_name}', which has one")
        self.per_definition[def_name] = config

    def register_many(
        self,
        configs: Union[Mapping[str, Config], Iterable[str]],
        config: Optional[Config] = None,
        override: bool = False,
    ) -> None:
        """A mapping of configurations, or names that all have `config`."""
        items = configs.items() if isinstance(configs, Mapping) else ((name, config) for name in configs)
        for name, item in items:
            if item is None:
                raise ValueError(f"expected a configuration of '{name}', got none")
            self.register(name, item, override)
