"""Structured logs: one event per line, to stderr and to a file, as text or as JSON."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import structlog

from oedi_spark.errors import ConfigError

_SHARED: tuple[Any, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
)


def get_logger(name: str) -> Any:  # noqa: ANN401 - structlog's loggers are proxies
    """A logger; binds nothing until it is used, so a module may hold one."""
    return structlog.stdlib.get_logger(name)


def configure_logs(*, level: str, file: Path | None, as_json: bool) -> None:
    """Send every log line of this package to stderr and, if given, to `file`.

    Text escapes what a file name or a server put into a value, so one event is one line.
    """
    render: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=True)
        if as_json
        else structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"])
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render]
    )
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if file is not None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            handlers.append(logging.FileHandler(file, encoding="utf-8"))
        except OSError as error:
            raise ConfigError("settings.log_dir", [f"{file} cannot be written: {error}"]) from error
    package = logging.getLogger("oedi_spark")
    for old in list(package.handlers):
        package.removeHandler(old)
        old.close()
    for handler in handlers:
        handler.setFormatter(formatter)
        package.addHandler(handler)
    package.setLevel(level)
    package.propagate = False
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
