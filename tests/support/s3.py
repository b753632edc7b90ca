"""A real S3 server (moto's), in a process of its own that ends with its owner, and buckets on it."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from functools import cached_property
from itertools import count
from types import TracebackType
from typing import Any

# It reads nothing from its stdin, and ends with it.
_SERVER = """
import logging, os, sys
os.environ["MOTO_S3_DEFAULT_MAX_KEYS"] = "50"  # so that a few objects are several pages
logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=int(sys.argv[1]), verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
os._exit(0)
"""
KEYS = {"AWS_ACCESS_KEY_ID": "canary-id-77aa", "AWS_SECRET_ACCESS_KEY": "canary-secret-91cc", "AWS_REGION": "us-east-1"}


class S3Server:
    """A running server: ``with S3Server() as server: …``."""

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self._names = count(1)
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> S3Server:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVER, str(self._port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        self._port = int(self._process.stdout.readline())
        self.url = f"http://127.0.0.1:{self._port}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    @property
    def environment(self) -> dict[str, str]:
        """Return what a client has to have in its environment."""
        return {**KEYS, "AWS_ENDPOINT_URL": self.url}

    @cached_property
    def client(self) -> Any:
        """A client that isn't ours."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=KEYS["AWS_REGION"],
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
            config=Config(proxies={}),
        )

    def bucket(self) -> Bucket:
        """Make a new bucket."""
        return Bucket(self.client, f"bucket-{next(self._names)}")

    def reset(self) -> None:
        """Forget everything."""
        request = urllib.request.Request(f"{self.url}/moto-api/reset", method="POST")  # noqa: S310 - to ourselves
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request).close()


class Bucket:
    """A bucket, seen through a client that isn't ours."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self.name = name
        client.create_bucket(Bucket=name)  # again does nothing

    def put(self, key: str, content: bytes = b"content") -> None:
        """Put an object."""
        self._client.put_object(Bucket=self.name, Key=key, Body=content)

    def get(self, key: str) -> bytes:
        """Get an object."""
        content: bytes = self._client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return content

    def delete(self, key: str) -> None:
        """Delete an object."""
        self._client.delete_object(Bucket=self.name, Key=key)

    def keys(self, prefix: str = "") -> list[str]:
        """List the keys beneath a prefix."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def content(self, prefix: str = "") -> dict[str, bytes]:
        """Return every object beneath a prefix, by what follows it."""
        return {key[len(prefix) :]: self.get(key) for key in self.keys(prefix)}

    def written_last(self, prefix: str) -> str:
        """Return the key that was written last; of several in one second, the last that was made."""
        found = self._client.list_objects_v2(Bucket=self.name, Prefix=prefix)["Contents"]
        newest = max(entry["LastModified"] for entry in found)
        keys: list[str] = [entry["Key"] for entry in found if entry["LastModified"] == newest]
        return next((key for key in keys if key.endswith("_SUCCESS")), keys[-1])

    def unfinished(self) -> int:
        """Count the multipart uploads that were begun and neither completed nor aborted."""
        return len(self._client.list_multipart_uploads(Bucket=self.name).get("Uploads", []))
