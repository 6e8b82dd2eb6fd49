"""A real PostgreSQL server of its own, on a free port, with its database in a temporary folder."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.ports import free_port

PASSWORD = "s3cret"
_USER = "ratchet"
_START_SECONDS = 60


class NoServerError(Exception):
    """No server can be started on this machine."""


@contextmanager
def postgres_server() -> Iterator[str]:
    """The address of an empty database, without the password, while the block runs. Raises NoServerError."""
    programs = _programs()
    with tempfile.TemporaryDirectory() as root:
        folder, password = Path(root) / "data", Path(root) / "password"
        password.write_text(PASSWORD, encoding="utf-8")
        as_user = _as_user(Path(root))
        login = ["--username", _USER, "--auth", "scram-sha-256", "--pwfile", str(password)]
        initdb = [programs / "initdb", "--pgdata", folder, "--encoding", "UTF8", "--no-locale", "--no-sync", *login]
        subprocess.run([*as_user, *initdb], check=True, capture_output=True)
        port = free_port()
        settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [*as_user, programs / "postgres", "-D", folder, *options]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            try:
                _wait(programs, port)
                yield f"postgresql://{_USER}@127.0.0.1:{port}/postgres"
            finally:
                server.send_signal(signal.SIGINT)


def _programs() -> Path:
    """The folder of the server's programs. Debian's is not on PATH."""
    on_path = [Path(folder) for folder in os.get_exec_path()]
    for folder in (*on_path, *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)):
        if all((folder / name).is_file() for name in ("initdb", "postgres", "pg_isready")):
            return folder
    raise NoServerError("PostgreSQL is not installed")


def _as_user(folder: Path) -> list[str]:
    """The beginning of a command of a user who may run the server, which refuses root. The user gets the folder."""
    if os.geteuid():
        return []
    try:
        user = pwd.getpwnam("postgres")
    except KeyError as error:
        raise NoServerError("there is no user postgres to run PostgreSQL, which root may not") from error
    for path in (folder, *folder.iterdir()):
        os.chown(path, user.pw_uid, user.pw_gid)
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


def _wait(programs: Path, port: int) -> None:
    """Wait until the server answers."""
    asked = [programs / "pg_isready", "--quiet", "--host", "127.0.0.1", "--port", str(port)]
    give_up = time.monotonic() + _START_SECONDS
    while subprocess.run(asked, check=False).returncode:
        if time.monotonic() > give_up:
            raise TimeoutError("PostgreSQL did not start")
        time.sleep(0.02)
