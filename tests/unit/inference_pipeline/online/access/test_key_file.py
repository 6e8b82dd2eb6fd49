"""Keys at rest: hashed, sealed, private, and lost in no way that lets anyone in."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from inference_pipeline.online.access.key_file import KeyFile, Keys
from inference_pipeline.online.access.roles import Role
from ratchet.core.errors import AccessError, SettingsError

NOW = datetime(2024, 7, 1, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys" / "api_keys.json")


def add(file: KeyFile, name: str = "app", role: Role = "predict", rate: str = "", models: tuple[str, ...] = ()) -> str:
    return file.add(name, [role], models, rate, NOW)


def read(file: KeyFile) -> Keys:
    keys = file.read()
    assert keys is not None
    return keys


def test_a_key_is_found_by_its_text_alone(file: KeyFile) -> None:
    one, other = add(file, "one"), add(file, "other")
    assert all(re.fullmatch("ratchet_[0-9a-f]{12}_[0-9a-f]{64}", key) for key in (one, other))
    keys = read(file)
    assert ["one", "other"] == [key.name for text in (one, other) if (key := keys.find(text))]
    swapped = one[:20] + other[20:]
    for wrong in ("", "_", one[:-1], one + "0", one.upper(), swapped, one.replace("ratchet", "other"), "é" * 85):
        assert keys.find(wrong) is None


def test_nothing_of_a_key_is_stored(file: KeyFile) -> None:
    """Neither file may be read by others."""
    secret_part = add(file).rpartition("_")[2]
    for path in (file.path, file.path.with_suffix(".secret")):
        assert secret_part not in path.read_text(encoding="utf-8")
        assert 0o600 == path.stat().st_mode & 0o777


def test_a_revoked_key_is_gone(file: KeyFile) -> None:
    """The last one leaves a file without keys, which is not the same as none."""
    text = add(file)
    file.revoke("app")
    assert read(file).find(text) is None
    assert {} == read(file).by_id


def test_names_are_unique(file: KeyFile) -> None:
    add(file)
    with pytest.raises(AccessError) as refused:
        add(file)
    assert "app" == refused.value.subject


def test_an_unknown_name_cannot_be_revoked(file: KeyFile) -> None:
    add(file)
    with pytest.raises(AccessError, match="app"):
        file.revoke("apq")


@pytest.mark.parametrize("wrong", [{"name": "a b"}, {"name": ""}, {"name": "x" * 65}, {"rate": "5"}])
def test_wrong_values_are_refused(file: KeyFile, wrong: dict[str, str]) -> None:
    with pytest.raises(SettingsError):
        add(file, **wrong)  # type: ignore[arg-type]
    assert file.read() is None


def test_there_never_was_a_key(file: KeyFile) -> None:
    assert file.read() is None


def edit(file: KeyFile, **changes: object) -> None:
    content = json.loads(file.path.read_text(encoding="utf-8"))
    content["keys"][0] |= changes
    file.path.write_text(json.dumps(content), encoding="utf-8")


def cut(file: KeyFile) -> None:
    file.path.write_bytes(file.path.read_bytes()[:-20])


def make_a_folder(file: KeyFile) -> None:
    file.path.unlink()
    file.path.mkdir()


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        make_a_folder,
        lambda file: file.path.write_bytes(b""),
        lambda file: file.path.write_bytes(b"\xff\xfe"),
        lambda file: edit(file, roles=["admin"]),
        lambda file: edit(file, name="other"),
        lambda file: edit(file, unknown=1),
        lambda file: file.path.unlink(),
        lambda file: file.path.with_suffix(".secret").unlink(),
        lambda file: file.path.with_suffix(".secret").write_text("short", encoding="ascii"),
        lambda file: file.path.with_suffix(".secret").write_text("x" * 64, encoding="ascii"),
        lambda file: file.path.with_suffix(".secret").write_bytes(b"\xff" * 64),
    ],
)
def test_what_is_damaged_is_no_file_without_keys(file: KeyFile, damage) -> None:  # type: ignore[no-untyped-def]
    add(file)
    damage(file)
    with pytest.raises(AccessError):
        file.read()


def test_no_key_is_added_to_a_damaged_file(file: KeyFile) -> None:
    """It could be restored; it is not replaced."""
    add(file)
    cut(file)
    damaged = file.path.read_bytes()
    with pytest.raises(AccessError):
        add(file, "other")
    assert damaged == file.path.read_bytes()


def test_an_add_that_was_killed_is_repeated(file: KeyFile) -> None:
    """It had written the secret, and no key yet."""
    add(file)
    file.path.unlink()
    text = add(file)
    assert read(file).find(text)


def test_many_commands_at_once_lose_no_key(file: KeyFile) -> None:
    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda number: add(file, f"app{number}"), range(16)))
    keys = read(file)
    assert [f"app{number}" for number in range(16)] == [key.name for text in texts if (key := keys.find(text))]


def test_the_secret_may_come_from_the_environment(file: KeyFile) -> None:
    """Then there is none beside the file, and a different one opens nothing."""
    given = KeyFile(file.path, "s" * 32)
    text = add(given)
    assert read(given).find(text)
    assert not file.path.with_suffix(".secret").exists()
    for other in (file, KeyFile(file.path, "t" * 32)):
        with pytest.raises(AccessError):
            other.read()
