"""A server on this machine that speaks W&B's protocol to the unmodified SDK, and fails where it is told to.

Known, from the client that the lock pins (wandb 0.31.0: its GraphQL documents, and what its core sends and accepts):
- the operations of graphql.py with their variables and the fields that the client reads; HTTP Basic as `api:KEY`
- an artifact is created PENDING, its manifest and files go to storage by PUT to addresses that the server gives, then
  it is committed; a file that is in storage already gets no address
- history, summary and log lines come to `/files/ENTITY/PROJECT/RUN/file_stream` in numbered chunks
- adding an alias, deleting one and updating metadata are separate requests; none is conditional

Assumed, from the documentation and from what the client does with the answers; the real server was not at hand:
- a version gets its number when it is committed, numbers are never given again, and only committed versions are listed,
  in a collection as in what a run used or logged (the client cannot read others)
- an alias is unique in its collection, and adding it to one version moves it, at once
- files of the same digest in a collection are one version, for which the metadata of the second upload is dropped
- what a key may not see is null, as what is not there; a wrong key is HTTP 401; a run or an artifact makes its project
- storage refuses bytes that are not of the announced MD5, and a commit without all files of the manifest is refused
- a protected alias is refused with a GraphQL error that speaks of permission, for the link as for the alias itself

What it does not know it answers with a GraphQL error that names the operation, and keeps in `unknown`.
"""

from collections.abc import Callable
from http.server import ThreadingHTTPServer

from tests.source.web import running
from tests.wandb_server.faults import Fault, Faults
from tests.wandb_server.handler import Handler
from tests.wandb_server.state import State

KEY = "local-" + "0123456789abcdef" * 2 + "01234567"


class WandbServer(ThreadingHTTPServer):
    """Keeps what it is sent in `state`, under a lock; `requests` has the name of every request, in order.

    A request is named by its GraphQL operation, or `upload`, `download`, `file_stream`.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.reset()

    def reset(self) -> None:
        """Forget all of it."""
        self.key = KEY
        self.state = State(self.url)
        self.faults = Faults()
        self.requests: list[str] = []
        self.unknown: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """What points a process at this server, and keeps the client silent."""
        return {
            "WANDB_BASE_URL": self.url,
            "WANDB_API_KEY": self.key,
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_SILENT": "true",
        }

    def fail(self, *names: str, **how) -> None:
        """From now on, fail those requests, or all if none is named; how: see Fault."""
        self.faults.add(*(Fault(name, **how) for name in names or ("*",)))

    def mend(self) -> None:
        """Answer as usual again."""
        self.faults.clear()

    def before(self, name: str, act: Callable[[State], None]) -> None:
        """Do something once, right before the next request of that name is carried out."""
        self.faults.before[name] = act


def serving():
    """A running server, as a context."""
    return running(WandbServer())
