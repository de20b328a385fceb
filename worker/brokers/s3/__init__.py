"""Amazon S3, as far as references lead there: objects below places that the settings name, and nothing else.

======= ==========================================================================
address the places of ``input.reference_buckets``, and references to objects in them
session one client a place, errors translated
objects from a reference to the bytes, and from an object to its reference
======= ==========================================================================
"""

from worker.brokers.s3.address import Bucket, ObjectReference, parse_bucket
from worker.brokers.s3.objects import S3Objects

__all__ = ["Bucket", "ObjectReference", "S3Objects", "parse_bucket"]
