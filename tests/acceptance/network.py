"""A wire between the cluster and its broker that can be slow, silent or cut."""

import select
import socket
import threading
import time
from typing import Self

from tests.acceptance.cluster import free_port


class Wire:
    """Forwards a port to another while its `with` block lasts."""

    def __init__(self, to: int) -> None:
        self.port, self._to = free_port(), to
        #: "pass", "drop" (connections stay open and nothing arrives) or "slow".
        self.mode = "pass"
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._listener.close()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._forward, args=(near,), daemon=True).start()

    def _forward(self, near: socket.socket) -> None:
        try:
            with near, socket.create_connection(("127.0.0.1", self._to)) as far:
                while not self._over.is_set():
                    for source in select.select([near, far], [], [], 0.2)[0]:
                        data = source.recv(65536)
                        if not data:
                            return
                        if self.mode == "slow":
                            time.sleep(0.05)
                        if self.mode != "drop":
                            (far if source is near else near).sendall(data)
        except OSError:
            return
