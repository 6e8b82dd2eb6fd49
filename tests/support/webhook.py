"""A webhook on this machine: what is posted to it can be taken from a queue."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue
from threading import Thread
from typing import Any


@contextmanager
def webhook(answer: int, read: Callable[[bytes], Any] = json.loads) -> Iterator[tuple[str, SimpleQueue[Any]]]:
    """Its address while the block lasts, and the bodies that were posted there, as `read` reads them; it answers with a
    status."""
    posted: SimpleQueue[Any] = SimpleQueue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.put(read(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(answer)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing: the queue is the record."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/hook", posted
        finally:
            server.shutdown()
            thread.join()
