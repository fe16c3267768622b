"""A web server by TLS on 127.0.0.1, of which a test says what it answers, and how badly."""

from __future__ import annotations

import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from typing_extensions import Self


class _Server(ThreadingHTTPServer):
    # Stopped, it waits for those that answer, so that none of their sockets is left open.
    daemon_threads = False
    allow_reuse_address = True

    def __init__(self, port: int, context: ssl.SSLContext | None, web: WebServer) -> None:
        self._context = context
        self.web = web
        super().__init__(("127.0.0.1", port), _Handler)

    def get_request(self) -> tuple[socket.socket, object]:
        connection, address = super().get_request()
        if self._context is not None:
            # The handshake is made by the thread that answers.
            connection = self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, request: object, client_address: object) -> None:
        """Let clients go away as they please."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        web = self.server.web
        web.asked.append((self.path, self.headers.get("If-None-Match", "")))
        web.answer(self)

    def log_message(self, *_: object) -> None:
        pass


class WebServer:
    """Serves while the context lasts, and anew at the same port when it is entered again.

    ``certificate``: a PEM file, or None to speak no TLS; ``documents``: by path, what is answered, else status 404;
    ``answer``: takes the handler of a request in the place of that; ``asked``: the path and the If-None-Match of each
    request; ``stopping``: is set when who answers shall end.
    """

    def __init__(self, certificate: Path | None) -> None:
        self._context = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate)
        self.documents: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []
        self.answer: Callable[[BaseHTTPRequestHandler], None] = self.answer_with_document
        self.port = 0
        self.stopping = threading.Event()

    def __enter__(self) -> Self:
        self.stopping.clear()
        self._server = _Server(self.port, self._context, self)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def url(self, template: str = "%u.json") -> str:
        """Return the URL of a template here."""
        return f"https://localhost:{self.port}/{template}"

    def publish(self, user: str, *keys: Mapping[str, object]) -> None:
        """Have a document for a user, with such keys."""
        self.documents[f"/{user}.json"] = json.dumps({"user": user, "keys": keys}).encode()

    def answer_with_document(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer as a web server does that has these documents."""
        content = self.documents.get(handler.path)
        if content is None:
            send(handler, 404)
            return
        tag = f'"{hash(content)}"'
        if handler.headers.get("If-None-Match") == tag:
            send(handler, 304)
            return
        send(handler, 200, content, ETag=tag)


def send(handler: BaseHTTPRequestHandler, status: int, content: bytes = b"", **headers: str) -> None:
    """Answer with these."""
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


def drip(handler: BaseHTTPRequestHandler) -> None:
    """Answer with a byte now and then, until the server is stopped."""
    assert isinstance(handler, _Handler)
    handler.send_response(200)
    handler.end_headers()
    while not handler.server.web.stopping.wait(0.1):
        handler.wfile.write(b" ")
        handler.wfile.flush()
    handler.close_connection = True
