"""A checkout of this repository in a temporary folder, with the second use case added as anybody would add one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from ratchet.code.git import AS_OF_FILE
from ratchet.core.settings import SourceSettings
from ratchet.project.as_of import write_as_of
from tests.support.runs import noshow_project, params

ROOT = Path(__file__).parents[2]


def environment() -> dict[str, str]:
    """This process's environment, in which `python`, `dvc` and `prefect` are those of the running interpreter."""
    paths = [str(Path(sys.executable).parent), os.environ["PATH"]]
    return {**os.environ, "PATH": os.pathsep.join(paths), "PYTHONPATH": ""}


def run_command(checkout: Path, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command in the checkout; its output is in the error when it fails."""
    done = subprocess.run(command, cwd=checkout, env=environment(), capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)} exited {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def plain_checkout(folder: Path) -> Path:
    """All files that git would track, uncommitted."""
    listed = run_command(ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard", "-z").stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    run_command(folder, "git", "init", "--quiet", "--initial-branch", "main")
    return folder


def noshow_checkout(folder: Path) -> Path:
    """A checkout with use_cases/noshow and the params.yaml that selects it, committed."""
    plain_checkout(folder)
    use_case = folder / "use_cases" / "noshow"
    use_case.mkdir()
    for name, module in (("__init__", "noshow"), ("on_demand", "noshow_on_demand")):
        text = (ROOT / "tests" / "support" / f"{module}.py").read_text(encoding="utf-8")
        own = text.replace("tests.support.noshow_on_demand", "use_cases.noshow.on_demand")
        (use_case / f"{name}.py").write_text(own, encoding="utf-8")
    write_params(folder)
    commit(folder, "Begin")
    return folder


def write_params(folder: Path, **options: int) -> None:
    """params.yaml of the small no-show project, with the source's options given."""
    source = SourceSettings(name="clinic", path="clinic", options=options)
    run = noshow_project(folder)
    settings = run.settings.model_copy(update={"use_case": "noshow", "source": source})
    (folder / "params.yaml").write_text(params(settings), encoding="utf-8")
    (folder / AS_OF_FILE).unlink(missing_ok=True)
    write_as_of(folder, "noshow", run.instants)


def commit(folder: Path, message: str) -> None:
    """Commit everything, as somebody."""
    run_command(folder, "git", "add", "--all")
    author = ("-c", "user.name=Test", "-c", "user.email=test@example.invalid")
    run_command(folder, "git", *author, "commit", "--quiet", "--allow-empty", "--message", message)
