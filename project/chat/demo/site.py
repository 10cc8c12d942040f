"""Serve this site with a threaded HTTP server on 127.0.0.1, in this process."""

from __future__ import annotations

import threading
from socketserver import TCPServer
from types import TracebackType
from typing import Self

from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler

from project.wsgi import application


class Site:
    """Context manager that serves the site. Port 0 takes any free port."""

    def __init__(self, port: int = 0) -> None:
        self._server = _Server(("127.0.0.1", port), WSGIRequestHandler)
        self._server.set_app(application)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        serve = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.05},
            name="demo-site",
            daemon=True,
        )
        serve.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadedWSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        # HTTPServer would resolve the name of this machine, which can take seconds.
        TCPServer.server_bind(self)
        self.server_name = str(self.server_address[0])
        self.server_port = int(self.server_address[1])
        self.setup_environ()
