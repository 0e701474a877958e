"""Counts the words of texts in an S3 bucket, each text in a pod of its own."""

import os
from collections.abc import AsyncIterator
from typing import Any

import aiobotocore.session  # type: ignore[import-untyped]  # it has no type information
import pydatatask

session = pydatatask.Session()


@session.resource
async def bucket() -> AsyncIterator[Any]:
    async with aiobotocore.session.get_session().create_client(
        "s3",
        endpoint_url=os.environ["BUCKET_ENDPOINT"],
        region_name="us-east-1",
        aws_access_key_id=os.environ["BUCKET_USERNAME"],
        aws_secret_access_key=os.environ["BUCKET_PASSWORD"],
    ) as client:
        yield client


@session.resource
async def podman() -> AsyncIterator[pydatatask.PodManager]:
    async with pydatatask.PodManager("words", os.environ.get("NAMESPACE", "default")) as manager:
        yield manager


texts = pydatatask.S3BucketRepository(bucket, "words/texts/", ".txt")
counts = pydatatask.S3BucketRepository(bucket, "words/counts/", ".txt")
logs = pydatatask.S3BucketRepository(bucket, "words/logs/", ".txt")
pods = pydatatask.YamlMetadataS3Repository(bucket, "words/pods/")
calls = pydatatask.YamlMetadataS3Repository(bucket, "words/calls/")

MANIFEST = """
kind: Pod
spec:
  automountServiceAccountToken: false
  containers:
  - name: function
    image: {{ image }}
    command: {{ ["python3", "/app/" + argv0] | to_json }}
    args: {{ args | to_json }}
    env:
    - {name: BUCKET_ENDPOINT, value: {{ endpoint | to_json }}}
    - {name: BUCKET_USERNAME, value: {{ username | to_json }}}
    - {name: BUCKET_PASSWORD, value: {{ password | to_json }}}
    resources:
      requests: {cpu: 100m, memory: 128Mi}
"""


@pydatatask.KubeFunctionTask(
    "count",
    podman,
    pydatatask.ResourceManager(pydatatask.Resources.parse(cpu=1, mem="1Gi")),
    MANIFEST,
    logs,
    pods,
    calls,
    env={
        "image": os.environ.get("IMAGE", "pydatatask-words"),
        "endpoint": os.environ.get("BUCKET_ENDPOINT_FROM_PODS", os.environ["BUCKET_ENDPOINT"]),
        "username": os.environ["BUCKET_USERNAME"],
        "password": os.environ["BUCKET_PASSWORD"],
    },
)
async def count(job: str, texts: pydatatask.S3BucketRepository, counts: pydatatask.S3BucketRepository) -> None:
    """Read a text and write how many words it has."""
    async with await texts.open(job, "r") as source:
        words = len((await source.read()).split())
    print(f"{job} has {words} words")
    async with await counts.open(job, "w") as sink:
        await sink.write(f"{words}\n")


count.link("texts", texts, is_input=True)
count.link("counts", counts, is_output=True)

pipeline = pydatatask.Pipeline([count], session)

if __name__ == "__main__":
    pydatatask.main(pipeline)
