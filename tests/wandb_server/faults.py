"""What the server is told to do wrong."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Fault:
    """A way to fail the requests of one name (`*`: of any), `times` times; 0 is for ever.

    `status` is answered instead of carrying the request out; a `message` without one is a GraphQL error under
    HTTP 200. `delay_seconds` pass first. `cut` breaks off in the middle: of what is sent, or of the answer.
    """

    name: str
    status: int = 200
    message: str = ""
    delay_seconds: float = 0
    cut: bool = False
    times: int = 0
    seen: int = field(default=0, init=False)


class Faults:
    """All that is to go wrong, and what happens `before` a request of a name, once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self.before: dict[str, Callable[[Any], None]] = {}

    def add(self, *faults: Fault) -> None:
        with self._lock:
            self._faults += faults

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()
            self.before.clear()

    def next(self, name: str) -> Fault:
        """How the request fails; a fault that does nothing if it does not."""
        with self._lock:
            for fault in self._faults:
                if fault.name in (name, "*") and (not fault.times or fault.seen < fault.times):
                    fault.seen += 1
                    return fault
        return Fault(name)
