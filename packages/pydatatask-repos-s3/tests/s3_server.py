"""moto's S3 server in a process of its own, spoken to over HTTP, with one back door to fill a bucket fast.

Run as a program it serves until it is killed. In a test::

    with running() as server:
        client = create_client("s3", endpoint_url=server.url, ...)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TYPE_CHECKING

from attrs import field, frozen

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from types_aiobotocore_s3 import S3Client

MakeClient = Callable[..., AbstractAsyncContextManager["S3Client"]]
"""Makes a client of the server; arguments replace those that it makes clients with."""

ACCOUNT = "123456789012"
OWN = "own"
"""What the names of buckets begin with that the user of a server with authentication may use."""


@frozen
class Server:
    url: str
    port: int
    key: str
    secret: str = field(repr=False)

    def fill(self, bucket: str, keys: Iterable[str], value: bytes = b"x") -> None:
        """Put one value under many keys; through the front door a thousand would take twelve seconds."""
        order = {"bucket": bucket, "keys": list(keys), "value": value.decode("latin-1")}
        request = urllib.request.Request(f"{self.url}/_fill", json.dumps(order).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 200


@contextmanager
def running(*, authentication: bool = False) -> Iterator[Server]:
    """Run a server on a free port of the loopback interface. It is killed at the end.

    With authentication it knows one user, who may do everything with buckets whose name begins with :data:`OWN`,
    but not list the uploads of the one that ends in ``-unswept``.
    """
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "unused", "AWS_SECRET_ACCESS_KEY": "unused"}
    if authentication:
        environment["INITIAL_NO_AUTH_ACTION_COUNT"] = "0"
    process = subprocess.Popen(
        [sys.executable, __file__], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    with process.stdout:
        try:
            # Written once the port is open; the end of the file if the server died instead.
            yield Server(**json.loads(process.stdout.readline()))
        finally:
            process.kill()
            process.wait(10)


def serve() -> None:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    application = _with_back_door(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=MotoRequestHandler)
    key, secret = _user()
    url = f"http://127.0.0.1:{server.server_port}"
    print(json.dumps({"url": url, "port": server.server_port, "key": key, "secret": secret}), flush=True)
    server.serve_forever()


def _user() -> tuple[str, str]:
    from moto.iam.models import iam_backends

    policy = [
        {"Effect": "Allow", "Action": "s3:*", "Resource": f"arn:aws:s3:::{OWN}*"},
        {"Effect": "Deny", "Action": "s3:ListBucketMultipartUploads", "Resource": f"arn:aws:s3:::{OWN}-unswept"},
    ]
    iam = iam_backends[ACCOUNT]["aws"]
    iam.create_user("us-east-1", "tester")
    iam.put_user_policy("tester", "own", json.dumps({"Version": "2012-10-17", "Statement": policy}))
    made = iam.create_access_key("tester")
    return made.access_key_id, made.secret_access_key


def _with_back_door(application: WSGIApplication) -> WSGIApplication:
    from moto.s3.models import s3_backends

    def serve_one(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/_fill":
            return application(environ, start)
        order = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        for key in order["keys"]:
            s3_backends[ACCOUNT]["aws"].put_object(order["bucket"], key, order["value"].encode("latin-1"))
        start("200 OK", [("Content-Length", "0")])
        return []

    return serve_one


if __name__ == "__main__":
    serve()
