"""A Bento: what serves now, with its evidence and the code, to answer where neither a registry nor a network is.

`packaged/` in it holds a release of each use case, which never changes, and the evidence for its models: their files, and the
signed records that admitted them. The public key beside them verifies both.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from inference_pipeline.online.release import Release, read_release
from inference_pipeline.online.release_folder import Current, ReleaseFolder
from inference_pipeline.online.release_writer import serving_models, write_models
from ratchet.code.code_digest import closure
from ratchet.core.errors import SettingsError
from ratchet.core.settings import PARAMS_FILE
from ratchet.core.telemetry import QUIET
from ratchet.gate.signing import SigningKey
from ratchet.model_registry.champion import Champion
from ratchet.model_registry.model_registry import ModelRegistry
from ratchet.models.model_files import FILES
from ratchet.project.run import Run
from ratchet.sources.places import without_secrets
from ratchet.storage.digests import digest, md5
from ratchet.use_case.contract import use_case_module

NAME = "ratchet"
SERVICE = "inference_pipeline.online.service:Inference"
BASE_IMAGE = f"python:{platform.python_version()}-slim-bookworm"
"""Of the Python under which the Bento is made."""
EVIDENCE, SETUP = "evidence", "setup.sh"
LIBRARIES = "apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*"
"""What LightGBM needs of the image."""
STATE = 'mkdir -p "$BENTO_PATH/src/state" && chown -R bentoml "$BENTO_PATH/src"'
"""A new volume gets the owner of the folder where it is mounted. Without that folder, only root could write there."""
_SERVING = (
    "bentoml",
    "click",
    "cronsim",
    "cryptography",
    "filelock",
    "httptools",
    "ibis-framework",
    "lightgbm",
    "msgspec",
    "numpy",
    "opentelemetry-exporter-otlp-proto-http",
    "packaging",
    "prometheus-client",
    "pyarrow",
    "pydantic",
    "pyyaml",
    "starlette",
    "tzdata",
    "uvicorn",
    "uvloop",
)
"""The distributions that a serving process imports."""
_UNCOMPILED = ("pandas", "scikit-learn", "skops")
"""What it needs beside them if scikit-learn has to serve a model."""
_OPTIONAL = ("grpcio", "hiredis", "protobuf", "redis")
"""Those that settings may ask for. They are in a Bento if they are installed where it is made."""


def build(runs: Sequence[Run], base_image: str = BASE_IMAGE) -> tuple[str, list[Release]]:
    """Make a Bento of what serves in each run, in BentoML's store. Returns its tag, and the releases in it.

    The same releases and code make the same Bento. Raises RegistryError or GateError if in a run no model may serve,
    UnavailableError if a registry does not answer, and SettingsError if BentoML does not make it.
    """
    with TemporaryDirectory(prefix="ratchet-bento-") as temporary:
        folder = Path(temporary)
        releases = write_build_folder(runs, folder, base_image)
        files = {path.relative_to(folder).as_posix(): md5(path) for path in sorted(folder.rglob("*")) if path.is_file()}
        tag = f"{NAME}:{digest(files)[:12]}"
        if _bentoml("get", tag, "--output", "path").returncode:
            made = _bentoml("build", str(folder), "--version", tag.partition(":")[2], cwd=folder)
            if made.returncode:
                raise SettingsError(
                    f"was not made: {made.stderr.strip()[-2000:]}",
                    subject=f"Bento {tag}",
                    remedy="Mend that, and try again",
                )
    return tag, releases


def write_build_folder(runs: Sequence[Run], folder: Path, base_image: str = BASE_IMAGE) -> list[Release]:
    """Put together what `bentoml build` makes a Bento of, and return the releases in it. Raises as `build` does."""
    releases = [_write_release(run, folder / run.paths.packaged.name) for run in runs]
    modules = [use_case_module(run.settings.use_case) for run in runs]
    for module, file in closure("inference_pipeline.online.service", "cli.__main__", *modules).items():
        parts = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
        (folder / Path(*parts)).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, folder / Path(*parts, file.name))
    for name, text in _texts(runs, releases, base_image).items():
        (folder / name).write_text(text, encoding="utf-8")
    return releases


def _write_release(run: Run, packaged: Path) -> Release:
    """Write the release of what serves in a run, with the evidence for its models."""
    store, releases = ModelRegistry.open(run), ReleaseFolder.packaged(run, packaged)
    models, key = serving_models(store), SigningKey.open(run)
    name = write_models(run, releases, models)
    releases.say(Current(release=name, examined=releases.announced()))
    for place, model in models.items():
        _write_evidence(packaged / run.scope.folder / EVIDENCE / place, model)
    shutil.copyfile(key.public_path, packaged / key.public_path.name)
    return read_release(releases.folder(name), key, run.use_case)


def _write_evidence(folder: Path, model: Champion) -> None:
    """The files of a model, and the signed record that admitted it."""
    folder.mkdir(parents=True)
    for name in FILES:
        shutil.copyfile(model.directory / name, folder / name)
    (folder / "record.json").write_text(model.record.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _texts(runs: Sequence[Run], releases: Sequence[Release], base_image: str) -> Mapping[str, str]:
    """The other files of a build folder, by name."""
    params = yaml.safe_load((runs[0].root / PARAMS_FILE).read_text(encoding="utf-8"))
    sections = {run.settings.use_case: params["use_cases"][run.settings.use_case] for run in runs}
    for section in sections.values():
        section["source"]["path"] = without_secrets(section["source"]["path"])
    packaged = {"use_case": runs[0].settings.use_case, "use_cases": sections}
    options = {
        "service": SERVICE,
        "name": NAME,
        "labels": {each.model_name: f"version-{each.champion.version}" for each in releases},
        "include": ["**"],
        "python": {"requirements_txt": "requirements.txt", "lock_packages": False},
        "docker": {"base_image": base_image, "setup_script": SETUP},
    }
    return {
        PARAMS_FILE: yaml.safe_dump(packaged, sort_keys=False),
        "requirements.txt": "".join(f"{pin}\n" for pin in _pins(releases)),
        SETUP: f"#!/bin/sh\nset -eu\n{LIBRARIES}\n{STATE}\n",
        "bentofile.yaml": yaml.safe_dump(options, sort_keys=False),
    }


def _pins(releases: Sequence[Release]) -> list[str]:
    """The versions installed here of all that a serving process imports, and of all that these distributions need."""
    models = [each for release in releases for each in (release.champion, release.baseline) if each]
    uncompiled = _UNCOMPILED if any(each.not_compiled for each in models) else ()
    found: dict[str, str] = {}
    waiting = [Requirement(name) for name in (*_SERVING, *uncompiled, *filter(_is_installed, _OPTIONAL))]
    seen = set[str]()
    while waiting:
        wanted = waiting.pop()
        if str(wanted) in seen:
            continue
        seen.add(str(wanted))
        installed = distribution(wanted.name)
        found[canonicalize_name(wanted.name)] = installed.version
        needed = map(Requirement, installed.requires or ())
        waiting += [each for each in needed if _applies(each, wanted)]
    return [f"{name}=={version}" for name, version in sorted(found.items())]


def _applies(needed: Requirement, by: Requirement) -> bool:
    """Whether a distribution that is wanted with some extras needs another one here."""
    return needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *by.extras))


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def _bentoml(*command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bentoml", *command],
        cwd=cwd,
        env={**os.environ, **QUIET},
        capture_output=True,
        text=True,
        check=False,
    )
