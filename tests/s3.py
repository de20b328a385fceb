"""Buckets for tests, at the moto that SQS's tests use."""

from typing import Any
from uuid import uuid4

from aiobotocore.session import AioSession

from tests.brokers import finish
from tests.sqs import REGION, endpoint


class Store:
    """A bucket of one's own, at `url`; whoever makes it removes it."""

    def __init__(self) -> None:
        self.bucket = f"precheck-{uuid4().hex}"
        self._do("create_bucket", CreateBucketConfiguration={"LocationConstraint": REGION})

    def place(self, folder: str = "", *, origin: str = "") -> str:
        """Name a folder of the bucket as the settings do."""
        return f"s3://{self.bucket}/{folder}?region={REGION}&endpoint={origin or endpoint()}"

    def reference(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"

    def put(self, key: str, body: bytes) -> str:
        """Put an object there; returns its ETag."""
        return str(self._do("put_object", Key=key, Body=body)["ETag"]).strip('"')

    def keep_versions(self) -> None:
        self._do("put_bucket_versioning", VersioningConfiguration={"Status": "Enabled"})

    def remove(self) -> None:
        for one in self._do("list_object_versions").get("Versions", []):
            self._do("delete_object", Key=one["Key"], VersionId=one["VersionId"])
        self._do("delete_bucket")

    def _do(self, call: str, **given: Any) -> Any:
        async def done() -> Any:
            async with AioSession().create_client("s3", region_name=REGION, endpoint_url=endpoint()) as client:
                return await getattr(client, call)(Bucket=self.bucket, **given)

        return finish(done())
