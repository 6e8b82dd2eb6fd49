"""A use case as Feast objects: entities, feature views and one feature service, derived from its declaration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import yaml

from ratchet.core.errors import StoreError, StoreUnavailableError
from ratchet.feature_store.feast_import import UPSTREAM, feast_module
from ratchet.feature_store.feature_store import FeatureStore
from ratchet.feature_store.online_store import feast_project
from ratchet.features.service import (
    ServiceSpec,
    label_schema,
    request_schema,
    service_spec,
)
from ratchet.storage import sqlite
from ratchet.storage.files import atomic
from ratchet.use_case.columns import EVENT_TIMESTAMP, REQUEST_ID, UPCOMING
from ratchet.use_case.contract import Lookup, UseCase, View

if TYPE_CHECKING:
    import feast

REMEDY = "Run `ratchet stage materialize`"


def repo_config(features: FeatureStore, *, create: bool = False) -> feast.RepoConfig:
    """Feast's configuration. Unless `create`, the registry's tables must exist."""
    settings = _settings(features, create=create)
    settings["registry"]["schema_mode"] = "auto" if create else "verify"
    return feast_module().RepoConfig(**settings, repo_path=features.repo)


def definitions(features: FeatureStore) -> dict[str, Any]:
    """Every Feast object of the active use case, under a unique name."""
    spec = service_spec(features.use_case)
    entities = _entities(features.use_case, spec)
    views = {
        view.name: _feature_view(
            _view_source(features, view),
            spec.schemas[view.name],
            [entities[key] for key in view.keys],
            view.max_age,
        )
        for view in features.use_case.views
    }
    roles = [_role(views[lookup.view], lookup) for lookup in features.use_case.lookups]
    by_id = {"requests": request_schema(features.use_case), "labels": label_schema(features.use_case)}
    for name, schema in by_id.items():
        views[name] = _feature_view(
            _source(name, _from_repo(features, features.offline / name)),
            schema,
            [entities[REQUEST_ID]],
            None,
            online=False,
        )
    return {
        **{f"entity_{name}": entity for name, entity in entities.items()},
        **{f"view_{name}": view for name, view in views.items()},
        "service": feast_module().FeatureService(
            name=spec.name, features=roles, tags={"fingerprint": spec.fingerprint}
        ),
    }


def apply(features: FeatureStore) -> None:
    """Make the registry hold exactly the active use case's definitions, and create their tables in the online store."""
    features.databases.mkdir(parents=True, exist_ok=True)
    with atomic(features.repo / "feature_store.yaml") as temporary:
        temporary.touch(mode=0o600)  # a registry's address may hold its password
        temporary.write_text(yaml.safe_dump(_settings(features), sort_keys=False), encoding="utf-8")
    store, wanted = _connect(features, create=True), list(definitions(features).values())
    with databases(features):
        features.online.create()
        store.apply(wanted, objects_to_delete=_obsolete(store, wanted), partial=False)


@contextmanager
def databases(features: FeatureStore) -> Iterator[None]:
    """Raises StoreUnavailableError if the database of the registry or of the online store fails while the block runs."""
    from sqlalchemy.exc import SQLAlchemyError

    online = features.online
    try:
        yield
    except SQLAlchemyError as error:
        is_named = features.environment.feast_registry
        room = f"Check that {features.databases} has room and can be written, and run again"
        remedy = "Start its database, or correct RATCHET_FEAST_REGISTRY" if is_named else room
        raise _unavailable(error, "feature registry", remedy) from error
    except online.errors as error:
        raise _unavailable(error, "online store", online.remedy) from error


def _unavailable(error: Exception, subject: str, remedy: str) -> StoreUnavailableError:
    problem = f"cannot be opened or written ({' '.join(str(error).split())[:400]})"
    return StoreUnavailableError(problem, subject=subject, remedy=remedy)


def open_store(features: FeatureStore) -> feast.FeatureStore:
    """The applied feature store. Raises StoreError if the registry is absent or lacks the active feature service."""
    registry = _registry_path(features)
    if registry and not (features.environment.feast_registry or registry.exists()):
        raise StoreUnavailableError("is not there", subject=f"feature registry {registry}", remedy=REMEDY)
    store = _connect(features)
    feature_service(store, service_spec(features.use_case))
    return store


def feature_service(store: feast.FeatureStore, spec: ServiceSpec) -> feast.FeatureService:
    """The registered feature service. Raises StoreError if it was never applied."""
    from feast.errors import FeatureServiceNotFoundException

    try:
        return store.get_feature_service(spec.name)
    except FeatureServiceNotFoundException as error:
        raise StoreError(
            "was never applied, or the use case's features changed since", subject=spec.name, remedy=REMEDY
        ) from error


def _connect(features: FeatureStore, *, create: bool = False) -> feast.FeatureStore:
    module = feast_module()  # before anything else of Feast is imported
    from feast.infra.registry.sql import FeastRegistrySchemaError

    store = module.FeatureStore(config=repo_config(features, create=create))
    try:
        with databases(features):
            store.list_projects()
    except FeastRegistrySchemaError as error:
        raise StoreError(
            "holds nothing", subject=f"feature registry of {feast_project(features.scope)}", remedy=REMEDY
        ) from error
    return store


def _registry_path(features: FeatureStore) -> Path | None:
    """The registry's SQLite file: the embedded one, or one that RATCHET_FEAST_REGISTRY names; None where it names a server."""
    named = features.environment.feast_registry
    return sqlite.path_of(named) if named else features.databases / "feast_registry.db"


def _from_repo(features: FeatureStore, path: Path) -> Path:
    """A path of the checkout, relative to Feast's folder; any other as it is."""
    root = features.repo.parent
    return Path("..") / path.relative_to(root) if path.is_relative_to(root) else path


def _settings(features: FeatureStore, *, create: bool = False) -> dict[str, Any]:
    """The content of feature_store.yaml."""
    environment, path = features.environment, _registry_path(features)
    return {
        "project": feast_project(features.scope),
        "provider": "local",
        "registry": {
            "registry_type": "sql",
            "path": sqlite.url(path, create=create) if path else environment.feast_registry,
            "serve_features_while_materializing": True,
        },
        "offline_store": {
            "type": "ratchet.feature_store.feast_offline_store.AsofOfflineStore",
            "threads": environment.threads,
            "memory_limit": environment.memory_limit,
        },
        "online_store": features.online.settings(),
        "materialization": {"pull_latest_features": True},
        "data_quality_monitoring": {"auto_baseline": False},
        "entity_key_serialization_version": 3,
    }


def _view_source(features: FeatureStore, view: View) -> feast.FileSource:
    """The source of a view: a folder of the offline store, or the files of another system, with a tag that says how these are
    read."""
    name, upstream = service_spec(features.use_case).views[view.name], features.upstream.views.get(view.name)
    if upstream:
        return _source(name, _from_repo(features, upstream.place), {UPSTREAM: upstream.model_dump_json()})
    return _source(name, _from_repo(features, features.offline / "views" / name))


def _source(name: str, path: Path, tags: dict[str, str] | None = None) -> feast.FileSource:
    module = feast_module()
    from feast.data_format import ParquetFormat

    return module.FileSource(
        name=name, path=str(path), timestamp_field=EVENT_TIMESTAMP, file_format=ParquetFormat(), tags=tags
    )


def _feature_view(
    source: feast.FileSource,
    schema: pa.Schema,
    entities: list[feast.Entity],
    max_age: timedelta | None,
    *,
    online: bool = True,
) -> feast.FeatureView:
    module = feast_module()
    kept = schema.append(pa.field(UPCOMING, pa.string())) if online else schema
    fields = [module.Field(name=name, dtype=_dtype(kept.field(name).type)) for name in kept.names]
    return module.FeatureView(
        name=source.name,
        source=source,
        schema=[field for field in fields if field.name != EVENT_TIMESTAMP],
        entities=entities,
        ttl=max_age or timedelta(0),
        online=online,
    )


def _role(view: feast.FeatureView, lookup: Lookup) -> feast.FeatureView:
    return view.with_name(lookup.prefix).with_join_key_map(dict(lookup.keys))


def _entities(use_case: UseCase, spec: ServiceSpec) -> dict[str, feast.Entity]:
    """Key → its entity, for the keys of the views and for the request's id."""
    kinds = {key: spec.schemas[view.name].field(key).type for view in use_case.views for key in view.keys}
    entity = feast_module().Entity
    return {
        key: entity(name=key, join_keys=[key], value_type=_dtype(kind).to_value_type())
        for key, kind in {**kinds, REQUEST_ID: pa.string()}.items()
    }


def _dtype(kind: pa.DataType) -> Any:
    """The Feast type of a column; expressions are cast to these few types."""
    from feast import types

    known = {"int64": types.Int64, "double": types.Float64, "bool": types.Bool, "string": types.String}
    return known.get(str(kind), types.UnixTimestamp)


def _obsolete(store: feast.FeatureStore, wanted: Iterable[Any]) -> list[Any]:
    """Registered objects that are no longer defined."""
    sources = [thing.batch_source for thing in wanted if hasattr(thing, "batch_source")]
    names = {(type(thing), thing.name) for thing in (*wanted, *sources)}
    registered = [
        *store.list_feature_services(),
        *store.list_feature_views(),
        *store.list_entities(),
        *store.list_data_sources(),
    ]
    return [thing for thing in registered if (type(thing), thing.name) not in names]
