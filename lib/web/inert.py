"""Collaborators that do nothing, for resources that are only described."""

from __future__ import annotations

from typing import Any


class Inert:
    """Stands for any collaborator: each attribute and each call is inert too.

    Routes are built with it to document them without a store.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # protocols of the language would be misled
            raise AttributeError(name)
        return self

    def __call__(self, *_args: Any, **_kwargs: Any) -> Any:
        """Return something inert."""
        return self
