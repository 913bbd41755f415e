"""A TCP proxy that misbehaves: it cuts answers off, falls silent, or says 503 instead of asking the server."""

import socket
import threading
from contextlib import suppress

UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Proxy:
    """Listens on a loopback port for as long as the `with` block; what it shall do wrong may be changed at any time."""

    def __init__(self, target: int) -> None:
        self._target = ("127.0.0.1", target)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        #: Connections that still get a 503 each.
        self.unavailable = 0
        #: Answers that are still to go wrong, after how many bytes of the connection, and whether by silence instead of a cut.
        self.faults, self.after, self.silent = 0, 0, False
        #: Connections so far.
        self.connections = 0
        self._over = threading.Event()

    def __enter__(self) -> "Proxy":
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._listener.close()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(caller,), daemon=True).start()

    def _serve(self, caller: socket.socket) -> None:
        with caller, suppress(OSError):
            if self.unavailable:
                self.unavailable -= 1
                caller.recv(1 << 16)
                caller.sendall(UNAVAILABLE)
                return
            with socket.create_connection(self._target) as server:
                threading.Thread(target=self._pump, args=(caller, server), daemon=True).start()
                self._answer(server, caller)
                caller.shutdown(socket.SHUT_RDWR)  # closing alone tells nobody as long as another thread waits at it

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def _answer(self, server: socket.socket, caller: socket.socket) -> None:
        passed = 0
        while data := server.recv(1 << 14):
            if self.faults and passed + len(data) > self.after:
                self.faults -= 1
                caller.sendall(data[: max(0, self.after - passed)])
                if self.silent:
                    self._over.wait()
                return
            caller.sendall(data)
            passed += len(data)
