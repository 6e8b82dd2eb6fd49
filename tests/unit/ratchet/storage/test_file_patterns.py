"""A path is a file, a folder or a pattern; a name that exists is never a pattern."""

from __future__ import annotations

from pathlib import Path

import pytest

from ratchet.storage.file_patterns import Place, entries


def found(tree: Path, pattern: str) -> tuple[list[str], list[str]]:
    """What the pattern matches below the folder `in`, and what it meets and does not match."""
    place = Place.of(tree / "in" / pattern)
    both: tuple[list[str], list[str]] = ([], [])
    for path, reason in entries(place):
        both[bool(reason)].append(path.relative_to(tree / "in").as_posix())
    return both


@pytest.mark.parametrize(
    ("pattern", "matched", "unmatched"),
    [
        ("*.csv", ["a.csv"], ["2023-12", "2024-01", "2024-02"]),
        ("2024-*/*.csv", ["2024-01/a.csv", "2024-02/a.csv"], ["2023-12", "2024-01/b.txt", "2024-01/deep", "a.csv"]),
        ("2024-0[2-9]/a.csv", ["2024-02/a.csv"], ["2023-12", "2024-01", "a.csv"]),
        ("2024-01/**/a.csv", ["2024-01/a.csv", "2024-01/deep/er/a.csv"], ["2024-01/b.txt"]),
        ("2024-01/**/**/er/*", ["2024-01/deep/er/a.csv"], ["2024-01/a.csv", "2024-01/b.txt"]),
        ("2024-01/**", ["2024-01/a.csv", "2024-01/b.txt", "2024-01/deep/er/a.csv"], []),
    ],
)
def test_a_pattern_leads_through_folders(tree: Path, pattern: str, matched: list[str], unmatched: list[str]) -> None:
    """Everything in a folder that it looks into is matched, or is named."""
    assert (matched, unmatched) == found(tree, pattern)


@pytest.mark.parametrize("name", ["jan[1].csv", "*", "a?{b}.csv", "**"])
def test_a_name_that_exists_is_no_pattern(tmp_path: Path, name: str) -> None:
    """Whatever characters it has; below it a pattern may follow."""
    (tmp_path / name / "within").mkdir(parents=True)
    assert Place(tmp_path / name) == Place.of(tmp_path / name)
    assert Place(tmp_path / name, ("*.csv",)) == Place.of(tmp_path / name / "*.csv")


def test_what_is_hidden_or_linked_is_not_entered(tree: Path) -> None:
    """`**` follows no link to a folder, which may lead in a circle; a name of its own does."""
    (tree / "in" / "link").symlink_to(tree / "in")
    (tree / "in" / ".git").mkdir()
    assert [] == [path for path in found(tree, "**/a.csv")[0] if path.startswith("link")]
    assert {".git", "link"} <= {*found(tree, "**/a.csv")[1]}
    assert ["link/a.csv"] == found(tree, "li*/a.csv")[0]
