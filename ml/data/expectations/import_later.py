"""Have a library leave unimported what it imports for a few functions, until one of them is called."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any


class _Later(ModuleType):
    """Stands for a module, which is imported when something of it is read."""

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self.__name__), name)


@contextmanager
def imported_later(*names: str) -> Iterator[None]:
    """Have what is imported within get a stand-in for these modules; whoever imports them afterwards gets themselves.

    A module that is imported already has none.
    """
    missing = [name for name in names if name not in sys.modules]
    for name in missing:
        sys.modules[name] = _Later(name)
    try:
        yield
    finally:
        for name in missing:
            if isinstance(sys.modules[name], _Later):
                del sys.modules[name]
