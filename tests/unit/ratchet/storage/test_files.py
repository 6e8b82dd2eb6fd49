"""A folder is replaced as a whole; a process that is killed while it does so does not stand in the way of the next."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from ratchet.storage.files import replacing
from tests.support.killing import in_child


def write(folder: Path, text: str) -> None:
    with replacing(folder) as temporary:
        (temporary / "file").write_text(text, encoding="utf-8")


def die_inside(folder: Path) -> None:
    """Write a file, and be killed before the folder is replaced."""
    with replacing(folder) as temporary:
        (temporary / "file").write_text("half", encoding="utf-8")
        os.kill(os.getpid(), signal.SIGKILL)


def fail_inside(folder: Path) -> None:
    with replacing(folder) as temporary:
        (temporary / "file").write_text("half", encoding="utf-8")
        raise ValueError("no")


def die_between(folder: Path) -> None:
    """Be killed when the former folder was moved away, and the new one is not there yet."""

    def replace(source: Path, target: Path) -> Path:
        source.rename(target)
        os.kill(os.getpid(), signal.SIGKILL)
        return target

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        write(folder, "half")


@pytest.mark.parametrize("die", [die_inside, die_between])
def test_after_a_kill_the_next_one_writes_it(tmp_path: Path, die: object) -> None:
    """It is as it was written last, and nothing else is left beside it."""
    folder = tmp_path / "of.a.name"
    write(folder, "first")
    assert callable(die)
    assert -signal.SIGKILL == in_child(die, folder)
    write(folder, "second")
    assert [folder] == [*tmp_path.iterdir()]
    assert "second" == (folder / "file").read_text(encoding="utf-8")


def test_after_an_error_it_is_as_it_was(tmp_path: Path) -> None:
    """What was written until then is removed."""
    write(tmp_path / "folder", "first")
    with pytest.raises(ValueError, match="no"):
        fail_inside(tmp_path / "folder")
    assert [tmp_path / "folder"] == [*tmp_path.iterdir()]
    assert "first" == (tmp_path / "folder" / "file").read_text(encoding="utf-8")
