"""The online store in Redis, where several machines read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ratchet.core.errors import SettingsError, StoreUnavailableError
from ratchet.feature_store.stored_rows import RowReader, StoredView, key_length, stored_keys

if TYPE_CHECKING:
    import feast
    import pyarrow as pa
    import redis

ANSWER_SECONDS = 3.0
"""Within this time it must say what it holds. To change many rows may take longer."""


class RedisOnlineStore:
    """A database of Redis. The mark is in a key of our own, `ratchet:PROJECT`: Redis may lose rows, or put back earlier ones.

    Feast keeps the rows of all views with the same keys in one hash, whose name is the key and the project.
    """

    def __init__(self, address: str, project: str) -> None:
        """Raises SettingsError if the library is not installed."""
        self._redis = _library()
        self._address, self._project = address, project
        parts = urlsplit(address)
        self._shown = f"{parts.scheme}://{parts.hostname}:{parts.port or 6379}{parts.path}"
        self.remedy = "Start Redis, or correct RATCHET_REDIS"

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        return (self._redis.RedisError, OSError)

    def settings(self) -> dict[str, Any]:
        parts = urlsplit(self._address)
        options = {
            "db": parts.path.strip("/") or "0",
            "ssl": "true" if parts.scheme == "rediss" else None,
            "username": parts.username,
            "password": parts.password,
        }
        given = [f"{name}={value}" for name, value in options.items() if value]
        address = ",".join([f"{parts.hostname}:{parts.port or 6379}", *given])
        return {"type": "redis", "connection_string": address, "skip_dedup": True}  # or a correction would be left out

    def mark(self) -> str | None:
        with self._client(ANSWER_SECONDS) as client:
            found: Any = client.get(self._mark)
        return None if found is None else found.decode()

    def set_mark(self, mark: str) -> None:
        with self._client() as client:
            client.set(self._mark, mark)

    def create(self) -> None:
        with self._client() as client:
            client.set(self._mark, "", nx=True)

    def clear(self) -> None:
        project = self._project.encode()
        with self._client() as client:
            client.delete(self._mark)
            for key in client.scan_iter(b"*" + project, count=1000):
                if key_length(key) == len(key) - len(project):  # else it is of another project, whose name ends alike
                    client.unlink(key)

    def delete(self, store: feast.FeatureStore, view: str, keys: pa.Table) -> None:
        from ratchet.feature_store.redis_rows import fields_of

        fields = fields_of(view, [feature.name for feature in store.get_feature_view(view).features])
        with self._client() as client, client.pipeline(transaction=False) as pipeline:
            for key in stored_keys(keys):
                pipeline.hdel(key + self._project.encode(), *fields)
            pipeline.execute()

    def reader(self, views: Sequence[StoredView]) -> RowReader:
        from ratchet.feature_store.redis_rows import RedisRows

        return RedisRows(self._address, self._shown, self._project, views)

    def attach(self, _store: feast.FeatureStore) -> None:
        if self.mark() is None:
            raise StoreUnavailableError(
                f"holds nothing of {self._project}",
                subject=f"online store {self._shown}",
                remedy="Run `ratchet stage materialize`",
            )

    @property
    def _mark(self) -> str:
        return f"ratchet:{self._project}"

    def _client(self, seconds: float = 30) -> redis.Redis:
        client: redis.Redis = self._redis.from_url(self._address, socket_connect_timeout=5, socket_timeout=seconds)
        return client


def _library() -> Any:
    try:
        import hiredis  # noqa: F401 - the reader needs it
        import redis
    except ImportError as error:
        raise SettingsError(
            f"needs {error.name}, which is not installed",
            subject="RATCHET_ONLINE_STORE=redis",
            remedy="Run `pip install 'redis>=5' 'hiredis>=3'`",
        ) from error
    return redis
