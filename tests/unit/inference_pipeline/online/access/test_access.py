"""Who is let in, and what happens while the keys cannot be read."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from starlette.routing import Route

from inference_pipeline.online.access.access import Access, RefusedError
from inference_pipeline.online.access.key_file import KeyFile
from inference_pipeline.online.access.needs import Need, need_of
from inference_pipeline.online.protocols import PROTOCOLS
from inference_pipeline.online.rest import Application

PREDICT = need_of("POST", "/v1/models/noshow-clinic:predict")
EXPLAIN = need_of("POST", "/v1/models/noshow-clinic:explain")
METRICS = need_of("GET", "/metrics")
LIVE = need_of("GET", "/livez")


class Desk:
    """The keys of a folder, and who is let in by them. Time stands still unless `now` is set."""

    def __init__(self, folder: Path, workers: int = 1) -> None:
        self.file = KeyFile(folder / "api_keys.json")
        self.now = 0.0
        self.access = Access(self.file, workers, lambda: self.now)
        self.access.refresh()

    def add(self, name: str = "app", *roles: str, models: tuple[str, ...] = (), rate: str = "") -> str:
        text = self.file.add(name, roles or ("predict",), models, rate, datetime.now(UTC))  # type: ignore[arg-type]
        self.access.refresh()
        return text

    def ask(self, key: str | None, need: Need = PREDICT, is_local: bool = False) -> tuple[int, str]:
        """200 and the caller's name, or the status of the refusal and its reason."""
        try:
            credentials = key if key is None or " " in key else f"Bearer {key}"
            return 200, self.access.admit(credentials, need, is_local).name
        except RefusedError as refused:
            return refused.status, refused.reason


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_without_any_key_only_this_machine_is_answered(desk: Desk) -> None:
    assert (200, "") == desk.ask(None, is_local=True)
    for need in (PREDICT, METRICS, LIVE):
        status, reason = desk.ask(None, need)
        assert (403, True) == (status, "ratchet keys add" in reason)


def test_with_a_key_everybody_needs_one(desk: Desk) -> None:
    """On this machine, too."""
    key = desk.add()
    assert (200, "app") == desk.ask(key)
    assert [401, 401] == [desk.ask(None, is_local=here)[0] for here in (True, False)]
    for wrong in (f"Basic {key}", f"Bearer {key}x", "Bearer ", "Bearer"):
        assert 401 == desk.ask(wrong + " " * (" " not in wrong))[0]
    assert (200, "app") == desk.ask(f"bearer  {key} ")


def test_a_refusal_says_how_to_ask(desk: Desk) -> None:
    desk.add()
    for credentials in (None, "Bearer wrong"):
        with pytest.raises(RefusedError) as refused:
            desk.access.admit(credentials, PREDICT, is_local=False)
        assert refused.value.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_role_that_does_not_suffice_is_named(desk: Desk) -> None:
    key, admin = desk.add(), desk.add("boss", "admin")
    status, reason = desk.ask(key, EXPLAIN)
    assert (403, True) == (status, "explain" in reason)
    assert [(200, "boss")] * 3 == [desk.ask(admin, need) for need in (PREDICT, EXPLAIN, need_of("POST", "/elsewhere"))]


def test_a_key_may_be_limited_to_models(desk: Desk) -> None:
    key = desk.add(models=("noshow-clinic",))
    assert 200 == desk.ask(key)[0]
    assert [403, 403] == [desk.ask(key, need_of("GET", f"/v{v}/models/other"))[0] for v in (1, 2)]
    assert 200 == desk.ask(key, need_of("GET", "/v1/models"))[0]


def test_open_paths(desk: Desk) -> None:
    """Probes need no key; metrics do if they are read from elsewhere, and any will do."""
    key = desk.add()
    assert [200, 200, 401] == [
        desk.ask(None, *asked)[0] for asked in ((LIVE, False), (METRICS, True), (METRICS, False))
    ]
    assert 200 == desk.ask(key, METRICS)[0]


def test_a_revoked_key_is_refused_after_a_refresh(desk: Desk) -> None:
    """The last one, too: nobody is let in again without a key."""
    key = desk.add()
    desk.file.revoke("app")
    desk.access.refresh()
    assert [401, 401] == [desk.ask(key, is_local=here)[0] for here in (True, False)]


def test_a_rate_is_kept_over_a_refresh(desk: Desk) -> None:
    key, other = desk.add(rate="2/m"), desk.add("other", rate="2/m")
    assert [200, 200, 429] == [desk.ask(key)[0] for _ in range(3)]
    desk.add("third")
    with pytest.raises(RefusedError) as refused:
        desk.access.admit(f"Bearer {key}", PREDICT, is_local=False)
    assert "30" == refused.value.headers["Retry-After"]
    assert 200 == desk.ask(other)[0]
    desk.now += 30
    assert 200 == desk.ask(key)[0]


def test_workers_share_a_rate(tmp_path: Path) -> None:
    desk = Desk(tmp_path, workers=2)
    key = desk.add(rate="4/m")
    assert [200, 200, 429] == [desk.ask(key)[0] for _ in range(3)]


@pytest.mark.parametrize("had_keys", [True, False])
def test_while_keys_cannot_be_read_nobody_is_let_in(
    desk: Desk, had_keys: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither with a key nor from this machine. The log says why, once, and a repaired file is followed."""
    key = desk.add() if had_keys else None
    sound = desk.file.path.read_bytes() if had_keys else None
    desk.file.path.write_bytes(b"torn")
    for _ in range(3):
        desk.access.refresh()
    assert [503, 503, 200] == [desk.ask(key, *asked)[0] for asked in ((PREDICT, False), (PREDICT, True), (LIVE, False))]
    assert 1 == len(caplog.records)
    if sound:
        desk.file.path.write_bytes(sound)
        desk.access.refresh()
        assert 200 == desk.ask(key)[0]


@pytest.mark.parametrize("given_secret", ["", "s" * 32])
def test_a_file_that_vanishes_is_not_a_file_without_keys(tmp_path: Path, given_secret: str) -> None:
    desk = Desk(tmp_path)
    desk.file = KeyFile(tmp_path / "api_keys.json", given_secret)
    desk.access = Access(desk.file)
    key = desk.add()
    desk.file.path.unlink()
    desk.access.refresh()
    assert [503, 503] == [desk.ask(key)[0], desk.ask(None, is_local=True)[0]]


def test_before_the_keys_were_read_nobody_is_let_in(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.access = Access(desk.file)
    assert 503 == desk.ask(None, is_local=True)[0]


def test_a_caller_may_be_asked_for_another_role(desk: Desk) -> None:
    """For what the path does not say, such as an explanation that a parameter asks for."""
    caller = desk.access.admit(f"Bearer {desk.add()}", PREDICT, is_local=False)
    caller.require("predict")
    with pytest.raises(RefusedError):
        caller.require("explain")


@pytest.mark.parametrize(
    ("method", "path", "roles", "model"),
    [
        ("POST", "/v1/models/a:predict", {"predict"}, "a"),
        ("POST", "/v1/models/a:explain", {"explain"}, "a"),
        ("POST", "/v1/models/a:feedback", {"feedback"}, "a"),
        ("POST", "/v1/models/a:b:predict", {"predict"}, "a:b"),
        ("POST", "/v2/models/a/infer", {"predict"}, "a"),
        ("POST", "/v2/models/a/versions/3/infer", {"predict"}, "a"),
        ("POST", "/v1/models/a:drop", {"admin"}, "a:drop"),
        ("POST", "/v2/models/a/load", {"admin"}, "a"),
        ("DELETE", "/livez/x", {"admin"}, ""),
    ],
)
def test_what_a_path_needs(method: str, path: str, roles: set[str], model: str) -> None:
    need = need_of(method, path)
    assert (roles, model, False) == (need.roles, need.model, need.is_open)


def test_no_route_that_changes_something_is_forgotten() -> None:
    """Each path of the service that takes a body has a role of its own in `needs`, and not that of an unknown path."""
    routes = [route for route in Application().routes if isinstance(route, Route)]
    asked = [route.path_format for route in routes if "POST" in (route.methods or ["POST"])]
    assert {path for protocol in PROTOCOLS.values() for path in protocol.asks} < {*asked}
    paths = [path.replace("{name}", "a").replace("{version}", "1") for path in asked]
    assert [] == [path for path in paths if need_of("POST", path).roles == {"admin"}]
