"""Engines that share what they have compiled: a test opens a database of its own, and compiles nothing again."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import URL, Dialect, Engine, create_engine, event

#: far more statements than there are
_COMPILED_MAX = 10_000


@contextmanager
def shared() -> Iterator[None]:
    """Within it, each engine of the store takes dialect and compiled statements of the first of its kind that was
    connected: SQLAlchemy keeps what it has compiled per dialect object."""
    first: dict[type[Dialect], Engine] = {}

    def sharing(url: URL | str, **options: Any) -> Engine:
        engine = create_engine(url, query_cache_size=_COMPILED_MAX, **options)
        kind = type(engine.dialect)
        if kind not in first:
            # by now its dialect knows what it asks of a server
            event.listen(engine, "connect", lambda *_: first.setdefault(kind, engine))
        else:
            engine.dialect = engine.pool._dialect = first[kind].dialect
            engine._compiled_cache = first[kind]._compiled_cache
        return engine

    with pytest.MonkeyPatch.context() as patch:
        for dialect in ("sqlite", "postgresql"):
            patch.setattr(f"interlock.store.dialects.{dialect}.create_engine", sharing)
        yield
