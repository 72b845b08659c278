"""Machines that train together find each other in the store: the leader calls, and the others answer.

Each writes a word under the run's name and its own number: where it can be reached, and, as a token, which try it is.
The leader's word then names all whose answers it has. A word of an earlier try, of a machine that has died since, is
passed over, for it answers another call.
"""

import logging
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar
from uuid import uuid4

from pydantic import BaseModel, ValidationError

from ml.config import TrainConfig
from ml.errors import ConfigError, LineageError, OutOfResources
from ml.run import Run
from ml.store import Store
from ml.training.machines.workers import Alone, Workers, find_workers, refuse_number

_SECONDS_BETWEEN_LOOKS = 0.5
_DAYS_KEPT = 1
_FILE = "word"
# Nothing is sent there: the system only chooses the interface that leads out of this machine.
_ELSEWHERE = ("192.0.2.1", 9)

W = TypeVar("W")

logger = logging.getLogger(__name__)


class _Word(BaseModel):
    """What a machine says; `tokens` and `addresses` are those of all machines, once the leader knows them."""

    call: str
    token: str
    address: str
    tokens: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


def gather(settings: TrainConfig, run: Run, number: int, environment: Mapping[str, str]) -> Workers | Alone:
    """Return who trains together, `number` being this machine's; waits for the others where they must meet.

    Raises ConfigError for settings that contradict each other, OutOfResources if the others do not come in time.
    """
    if environment.get("TF_CONFIG") or settings.workers or settings.machines == 1:
        _refuse_other_number(settings)
        return find_workers(settings.workers, number, environment)
    refuse_number(number, settings.machines)
    own = own_address(environment)
    meeting = _Meeting(run.store, run.run_id, settings)
    addresses = meeting.lead(own) if number == 0 else meeting.join(own, number)
    logger.info("all %d machines are there", len(addresses))
    return Workers(cluster={"worker": addresses}, role="worker", index=number)


def _refuse_other_number(settings: TrainConfig) -> None:
    if settings.machines > 1 and settings.workers and settings.machines != len(settings.workers):
        raise ConfigError(
            f"{settings.machines} machines are to train, and {len(settings.workers)} have an address",
            where="config [train] machines and workers",
            fix="name the address of each machine, or none: then they find each other in the store",
        )


def own_address(environment: Mapping[str, str]) -> str:
    """Return HOST:PORT at which other machines reach this one: SINCERE_ADDRESS, in which the port may be left out.

    Without it, it is the address of the interface that leads out of this machine, and a port that is free.
    """
    host, _, port = environment.get("SINCERE_ADDRESS", "").partition(":")
    return f"{host or _outward_address()}:{port or _free_port()}"


def _outward_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ELSEWHERE)
        except OSError:  # no way leads out
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def _free_port() -> int:
    with socket.create_server(("", 0)) as listener:
        return int(listener.getsockname()[1])


class _Meeting:
    """The words of one run's machines."""

    def __init__(self, store: Store, run_id: str, settings: TrainConfig) -> None:
        self._store, self._run_id, self._machines = store, run_id, settings.machines
        self._minutes = settings.wait_minutes

    def lead(self, address: str) -> tuple[str, ...]:
        """Call the others, wait for their answers, and return all addresses."""
        self._store.drop_old("meetings", days=_DAYS_KEPT)
        call = uuid4().hex
        own = _Word(call=call, token=call, address=address)
        self._say(0, own)
        others = f"the others of {self._machines} machines"
        answers = wait_for(lambda: self._answers(call), minutes=self._minutes, whom=others)
        all_of_them = (own, *answers)
        told = {"tokens": tuple(each.token for each in all_of_them)}
        told["addresses"] = tuple(each.address for each in all_of_them)
        self._say(0, own.model_copy(update=told))
        return told["addresses"]

    def join(self, address: str, number: int) -> tuple[str, ...]:
        """Answer each call of the leader until it has named this machine among all, and return all addresses."""
        own = _Word(call="", token=uuid4().hex, address=address)

        def named() -> Iterator[_Word]:
            nonlocal own
            for called in self._words(0):
                if called.call != own.call:
                    own = own.model_copy(update={"call": called.call})
                    self._say(number, own)
                if own.token in called.tokens:
                    yield called

        return wait_for(lambda: list(named()), minutes=self._minutes, whom="the machine that leads")[0].addresses

    def _answers(self, call: str) -> list[_Word]:
        """Return the answers of all the others to this call; none if one is missing."""
        words = [word for number in range(1, self._machines) for word in self._words(number) if word.call == call]
        return words if len(words) == self._machines - 1 else []

    def _say(self, number: int, word: _Word) -> None:
        self._store.put("meetings", self._name(number), {_FILE: word.model_dump_json()})

    def _words(self, number: int) -> Iterator[_Word]:
        """Yield what a machine has said last, if it has said anything."""
        try:
            text = (self._store.open("meetings", self._name(number)) / _FILE).read_text(encoding="utf-8")
            yield _Word.model_validate_json(text)
        except (LineageError, FileNotFoundError, ValidationError):  # not yet, or just being replaced
            return

    def _name(self, number: int) -> str:
        return f"{self._run_id}.{number}"


def wait_for(found: Callable[[], W], *, minutes: float, whom: str) -> W:
    """Look until there is something true, and return it; raises OutOfResources if there is nothing for too long."""
    end = time.monotonic() + 60 * minutes
    told = False
    while not (there := found()):
        if time.monotonic() > end:
            raise OutOfResources(
                f"{whom} did not come in time",
                where="train.machines and train.wait_minutes",
                fix="let each machine's step run at once, with one home and one --run-id: the pool and the queue "
                "`gpu` need room for all",
            )
        if not told:
            logger.info("waiting for %s", whom)
        told = True
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    return there
