"""A path is watched as far as it decides what is found; an address is shown without its secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from ratchet.sources.places import located, watched, without_secrets


def test_only_what_decides_is_watched(tree: Path) -> None:
    """Of a pattern what it meets, of a folder everything below, of an address nothing."""
    names = {path.relative_to(tree).as_posix() for path in watched(tree, "in/2024-02/*")}
    assert {"in/2024-02", "in/2024-02/a.csv"} == names
    assert tree / "in" / "2024-01" / "deep" / "er" / "a.csv" in {*watched(tree, "in")}
    assert [] == [*watched(tree, "https://host/a.csv")]


@pytest.mark.parametrize("new", ["2024-01/new.csv", "2024-03/a.csv", "new.csv"])
@pytest.mark.parametrize("path", ["in/2024-*/*.csv", "in/**/*.csv", "in"])
def test_whatever_is_new_is_watched(tree: Path, path: str, new: str) -> None:
    """A file or a folder, whether it is matched or only listed."""
    before = {*watched(tree, path)}
    (tree / "in" / new).parent.mkdir(exist_ok=True)
    (tree / "in" / new).write_text("", encoding="utf-8")
    assert tree / "in" / new in {*watched(tree, path)} - before


def test_an_address_is_below_no_folder(tmp_path: Path) -> None:
    """Any other path is, unless it is absolute."""
    paths = ["https://host/a.csv", "in/a.csv", "/in/a.csv"]
    assert ["https://host/a.csv", f"{tmp_path}/in/a.csv", "/in/a.csv"] == [located(tmp_path, path) for path in paths]


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("https://ann:s3cret@host:8443/a/{year}.csv?token=s3cret#x", "https://host:8443/a/{year}.csv"),
        ("https://s3cret@host/a", "https://host/a"),
        ("postgresql://ann:s3@cret@host/db?sslpassword=s3cret", "postgresql://host/db"),
        ("in/a@b?c.csv", "in/a@b?c.csv"),
        ("http://[::1]:80/a@b.csv", "http://[::1]:80/a@b.csv"),
        ("https://ann:s3/cret@host/a", "https://…"),
        ("https://ann:s3?cret@host/a", "https://…"),
        ("https://ann:s3cret@[host/a", "https://…"),
    ],
)
def test_secrets_are_never_shown(path: str, shown: str) -> None:
    """Neither users, passwords nor the parameters of a query; a path of files has none."""
    assert shown == without_secrets(path)
