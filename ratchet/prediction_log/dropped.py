"""Drop old predictions from both halves of the log, and remember up to which date that was done."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq

from ratchet.prediction_log.online_log import segments, whole_lines
from ratchet.storage.date_folders import folder_date
from ratchet.storage.files import read_json, write_json
from ratchet.storage.partitions import files, read_manifest, remove

_FILE = "dropped.json"
_DIGEST = re.compile(rb'"model_digest": *"([0-9a-f]{64})"')


def dropped_before(online: Path) -> date:
    """The UTC date before which predictions were dropped; the first of all dates if none were. `online` is that half."""
    path = online / _FILE
    return date.fromisoformat(read_json(path)) if path.exists() else date.min


def days_before(folder: Path, first_kept: date) -> list[Path]:
    """The folders of earlier UTC dates in a half of the log, in order."""
    found = sorted(path for path in folder.glob("date=*") if path.is_dir())
    return [path for path in found if (folder_date(f"{path.name}/") or first_kept) < first_kept]


def drop_before(batch: Path, online: Path, first_kept: date) -> None:
    """Drop all predictions of earlier UTC dates. May be killed at any point and called again."""
    if dropped_before(online) < first_kept:
        write_json(online / _FILE, first_kept.isoformat())
    units = [unit for unit in read_manifest(batch) if (folder_date(unit) or first_kept) < first_kept]
    if units or days_before(batch, first_kept):
        remove(batch, units)
    for day in days_before(online, first_kept):
        shutil.rmtree(day)


def models_since(batch: Path, online: Path, first_kept: date) -> Iterator[str]:
    """The digests of the models that made the predictions of a UTC date or later ones, repeated for each file."""
    for path in files(batch, first_kept):
        yield from pq.read_table(path, columns=["model_digest"], partitioning=None)["model_digest"].unique().to_pylist()
    days = [folder_date(f"{path.name}/") for path in online.glob("date=*")]
    for segment in segments(online, (day for day in days if day and day >= first_kept)):
        yield from {found.decode() for found in _DIGEST.findall(whole_lines(segment))}
