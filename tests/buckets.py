"""A bucket on loopback: a real S3 server, and a wire in between that can be cut and tells what passed."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Wire:
    """Forwards TCP connections to a port. The first `cut` connections are closed without an answer."""

    def __init__(self, port: int) -> None:
        self.cut = 0
        self.requests: list[str] = []  # "GET /bucket/key"
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self.cut > 0:
                self.cut -= 1
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self._port))
            except OSError:  # the server has stopped
                near.close()
                continue
            threading.Thread(target=self._pump, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near, False), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, is_request: bool) -> None:
        try:
            while data := source.recv(65536):
                if is_request and data[:4] in (b"GET ", b"HEAD"):
                    self.requests.append(" ".join(data.split(b"\r\n", 1)[0].decode().split()[:2]))
                sink.sendall(data)
        except OSError:
            pass
        finally:
            sink.close()


@contextmanager
def running_bucket(folder: Path, *, bucket: str, prefix: str) -> Iterator[Wire]:
    """The files of `folder` as s3://BUCKET/PREFIX/…, served until the end."""
    import boto3
    import s3fs
    from moto.server import ThreadedMotoServer

    s3fs.S3FileSystem.clear_instance_cache()  # they remember the address of the last test's server

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    wire = Wire(server.get_host_and_port()[1])
    try:
        client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{wire.port}")
        client.create_bucket(Bucket=bucket)
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                client.put_object(Bucket=bucket, Key=f"{prefix}/{path.relative_to(folder)}", Body=path.read_bytes())
        wire.requests.clear()
        yield wire
    finally:
        wire.close()
        server.stop()
