"""Bytes to text for people and records; X12 itself is handled as bytes throughout.

The basic and extended character sets of X12 (X222A1 appendix B.1.1.2.2) are ASCII. Names outside of it arrive
as UTF-8 or as Latin-1, and nothing in an interchange says which.
"""


def text(data: bytes) -> str:
    """Decode as UTF-8 where that is possible, else as Latin-1; never fails and never drops a byte."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")
