"""moto's S3 server in a process of its own, and a way into its buckets that shares no code with the repositories.

Run as a program it opens its port when it reads a line, and serves until it is killed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Iterable

ACCOUNT = "123456789012"
USERS = {"owner": "*", "stranger": "own-*"}
"""Who knows a server that checks credentials, and the buckets that each may use."""


@frozen
class User:
    key: str
    secret: str = field(repr=False)


@frozen
class BucketServer:
    url: str
    users: Mapping[str, User]
    client: Any
    """Of the user ``owner``, from the SDK itself."""

    def environment(self, user: str = "owner") -> dict[str, str]:
        """What the quickstart pipeline reads to find its bucket."""
        known = self.users[user]
        return {"BUCKET_ENDPOINT": self.url, "BUCKET_USERNAME": known.key, "BUCKET_PASSWORD": known.secret}

    def reset(self) -> None:
        """Forget all buckets."""
        request = urllib.request.Request(f"{self.url}/moto-api/reset", method="POST")
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 200

    def put(self, bucket: str, objects: Mapping[str, bytes]) -> None:
        """Store objects, and make the bucket if it is missing."""
        self.client.create_bucket(Bucket=bucket)
        for key, body in objects.items():
            self.client.put_object(Bucket=bucket, Key=key, Body=body)

    def get(self, bucket: str, key: str) -> bytes:
        """Give an object's bytes."""
        body: bytes = self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def keys(self, bucket: str) -> set[str]:
        """Give the keys of up to a thousand objects."""
        return {found["Key"] for found in self.client.list_objects_v2(Bucket=bucket).get("Contents", [])}


@contextmanager
def serving(*, strict: bool = False, port: int = 0, host: str = "127.0.0.1") -> Iterator[BucketServer]:
    """Run a server on a port of an interface, a free one unless it is given, until the block ends.

    A strict one checks credentials and permissions.
    """
    with prepared(strict=strict, port=port, host=host) as serve:
        yield serve()


@contextmanager
def prepared(*, strict: bool = False, port: int = 0, host: str = "127.0.0.1") -> Iterator[Callable[[], BucketServer]]:
    """Load a server, which takes seconds, and give what opens its port, which takes none. See :func:`serving`."""
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "unused", "AWS_SECRET_ACCESS_KEY": "unused"}
    if strict:
        environment["INITIAL_NO_AUTH_ACTION_COUNT"] = "0"
    process = subprocess.Popen(
        [sys.executable, __file__, str(port), host],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process, ExitStack() as stack:
        stack.callback(process.kill)
        assert process.stdout is not None
        # The end of the file if the server died instead.
        assert process.stdout.readline() == "loaded\n", "the server does not start"
        yield lambda: _serve(process, stack)


def _serve(process: subprocess.Popen[str], stack: ExitStack) -> BucketServer:
    """Let a server open its port."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    told = json.loads(process.stdout.readline())
    users = {name: User(*keys) for name, keys in told["users"].items()}
    return BucketServer(told["url"], users, stack.enter_context(_client(told["url"], users["owner"])))


@contextmanager
def _client(url: str, user: User) -> Iterator[Any]:
    import botocore.session  # type: ignore[import-untyped]  # it has no type information

    client = botocore.session.get_session().create_client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=user.key,
        aws_secret_access_key=user.secret,
    )
    try:
        yield client
    finally:
        client.close()


def main() -> None:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    application = DomainDispatcherApplication(create_backend_app)
    host = sys.argv[2]
    users = dict(_make_users())
    print("loaded", flush=True)
    sys.stdin.readline()
    server = make_server(host, int(sys.argv[1]), application, threaded=True, request_handler=MotoRequestHandler)
    print(json.dumps({"url": f"http://{host}:{server.server_port}", "users": users}), flush=True)
    server.serve_forever()


def _make_users() -> Iterable[tuple[str, tuple[str, str]]]:
    from moto.iam.models import iam_backends

    iam = iam_backends[ACCOUNT]["aws"]
    for user, buckets in USERS.items():
        policy = {"Effect": "Allow", "Action": "s3:*", "Resource": f"arn:aws:s3:::{buckets}"}
        iam.create_user("us-east-1", user)
        iam.put_user_policy(user, "buckets", json.dumps({"Version": "2012-10-17", "Statement": [policy]}))
        made = iam.create_access_key(user)
        yield user, (made.access_key_id, made.secret_access_key)


if __name__ == "__main__":
    main()
