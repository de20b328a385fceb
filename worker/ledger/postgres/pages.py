"""Queries that end a page by its bytes: the lengths of what lies in a table are known without reading it."""

from worker.ports import PAGE_BYTES


def paged(query: str, body: str, *, order: str) -> str:
    """Have a query give rows, in this order, until they are longer than a page; never none if there is one.

    `body` names the column that counts. A last column is added: how long the rows before are together.
    """
    return f"""
SELECT * FROM (
    SELECT *, sum(octet_length({body})) OVER (ORDER BY {order}) - octet_length({body}) AS before FROM ({query}) AS found
) AS page WHERE before <= {PAGE_BYTES} ORDER BY {order}
"""  # noqa: S608 - joined from constants
