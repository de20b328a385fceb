"""Places in S3, and references to objects.

A place is ``s3://BUCKET/FOLDER/?region=…&endpoint=…&ca_file=…``, all but the bucket optional; what is followed lies in
the bucket and below the folder. A reference is ``s3://BUCKET/KEY?versionId=…&etag=…``, the key percent-encoded where it
holds ``?``, ``#`` or ``%``; version and ETag are optional, and what they name is what is read.
"""

import re
from urllib.parse import parse_qsl, quote, unquote, urlencode

import msgspec

from worker.brokers.references import BadReference
from worker.errors import SettingsError
from worker.settings.urls import http_problem, read_parameters

PARAMETERS = ("region", "endpoint", "ca_file")
VERSION, ETAG = "versionId", "etag"

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z")
_PINS = {VERSION: re.compile(r"[!-~]{1,1024}\Z"), ETAG: re.compile(r"[0-9A-Za-z+/=_-]{1,256}\Z")}
MOST_KEY_BYTES = 1024


class Bucket(msgspec.Struct, frozen=True):
    """A place of the settings. `folder` is "" or ends in ``/``; `region` and `endpoint` are "" for the usual ones."""

    name: str
    folder: str
    region: str
    endpoint: str
    ca_file: str

    @property
    def shown(self) -> str:
        """Name the place to people."""
        return f"s3://{self.name}/{self.folder}"

    def holds(self, wanted: "ObjectReference") -> bool:
        """Tell whether the object lies here, by its name."""
        return wanted.bucket == self.name and wanted.key.startswith(self.folder) and wanted.key != self.folder


class ObjectReference(msgspec.Struct, frozen=True):
    """One object; `version` and `etag` are "" where the producer said nothing of them."""

    bucket: str
    key: str
    version: str = ""
    etag: str = ""

    def __str__(self) -> str:
        """Write it as it stands in a message."""
        pins = {name: value for name, value in ((VERSION, self.version), (ETAG, self.etag)) if value}
        return f"s3://{self.bucket}/{quote(self.key)}" + (f"?{urlencode(pins)}" if pins else "")


def parse_bucket(url: str, *, setting: str) -> Bucket:
    """Take a place of the settings apart.

    :raises worker.errors.SettingsError: naming `setting`, if it cannot be read so.
    """
    place, _, query = url.partition("?")
    if not place.startswith("s3://"):
        raise SettingsError([f"{setting}: must be places like s3://bucket/folder/"])
    name, _, folder = place.removeprefix("s3://").partition("/")
    try:
        given, problems = read_parameters(query, dict.fromkeys(PARAMETERS, ""), setting=setting)
    except ValueError:
        raise SettingsError([f"{setting}: the parameters after ? cannot be read"]) from None
    folder = unquote(folder)
    if not _BUCKET.match(name):
        problems.append(f"{setting}: the bucket's name is none that S3 allows")
    if folder and (folder.startswith("/") or _steps_aside(folder)):
        problems.append(f"{setting}: the folder after the bucket must be a plain one, like day/")
    if given["endpoint"] and (text := http_problem(given["endpoint"], origin=True)):
        problems.append(f"{setting}: parameter endpoint {text}")
    if problems:
        raise SettingsError(problems)
    if folder and not folder.endswith("/"):
        folder += "/"  # otherwise s3://bucket/day would let s3://bucket/day-of-others/x through
    return Bucket(name, folder, given["region"], given["endpoint"], given["ca_file"])


def parse_reference(reference: str) -> ObjectReference:
    """Take a reference of a message apart.

    :raises worker.brokers.references.BadReference: if it names no object.
    """
    place, _, query = reference.partition("?")
    bucket, _, key = place.removeprefix("s3://").partition("/") if place.startswith("s3://") else ("", "", "")
    try:
        key = unquote(key, errors="strict")
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise BadReference("reference_unreadable", "the reference is not written as one to an object is") from None
    pins = dict(pairs)
    if not _BUCKET.match(bucket) or not key or len(key.encode()) > MOST_KEY_BYTES or "\0" in key:
        raise BadReference("reference_unreadable", "the reference names no object: s3://bucket/key")
    if len(pins) < len(pairs) or not all(name in _PINS and _PINS[name].match(value) for name, value in pairs):
        raise BadReference("reference_unreadable", f"after ? {VERSION} and {ETAG} may stand, once each")
    if _steps_aside(key):
        # S3 takes them literally; a gateway before it might walk there.
        raise BadReference("reference_outside", "keys with steps like .. are not followed")
    return ObjectReference(bucket, key, pins.get(VERSION, ""), pins.get(ETAG, ""))


def _steps_aside(key: str) -> bool:
    return any(step in (".", "..") for step in key.split("/"))
