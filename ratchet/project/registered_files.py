"""The files of other systems that were registered with an earlier version of the features."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from ratchet.features.upstream_registration import FILE
from ratchet.project.cache import Cache
from ratchet.project.run import Run


def registered_files(run: Run, features_version: str) -> dict[str, Any] | None:
    """View that another system computes → the files from which that version of the features has it, each with its MD5, and the
    number and the digest of their rows. None if DVC's cache does not hold that version, or it has no such view."""
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo

    with suppress(NotDvcRepoError), Repo(str(run.root)) as repo:
        content = Cache(repo).file(features_version, FILE)
        return dict(json.loads(content)) if content else None
    return None
