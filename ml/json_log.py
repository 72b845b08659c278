"""Each line of the log as a JSON object, with the run's id: for those who collect logs."""

import json
import logging
from datetime import UTC, datetime


class JsonFormatter(logging.Formatter):
    """Formats a record as one line: time (UTC), level, logger, command, run_id and message."""

    def __init__(self, *, command: str, run_id: str) -> None:
        super().__init__()
        self._run = {"command": command, "run_id": run_id}

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; an exception's traceback stands in the field `exception`."""
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            **self._run,
            "message": record.getMessage(),
        }
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False)
