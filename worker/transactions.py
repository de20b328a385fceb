"""The service's transaction ids: whose each one is, and which may be logged.

One id on two claims means that an answer may be another claim's, and a person must look. The ids of the last tens of
thousands of results are compared: a mixed-up connection shows at once.
"""

from collections import OrderedDict

from worker.result import Reason

REMEMBERED = 65_536
TELLING_CHARS = 5  # shorter numbers stand in many ids by chance

DUPLICATED = Reason(
    "transaction_duplicated",
    "The service used one transaction id for two claims, so this answer may belong to the other one.",
    "worker",
)


class Transactions:
    """Remembers which claim had each of the last transaction ids first."""

    def __init__(self) -> None:
        self._claims: OrderedDict[str, str] = OrderedDict()

    def other_claim(self, transaction_id: str, claim_id: str) -> str | None:
        """Enter the id as this claim's; returns the id of the other claim that had it before, None if none had."""
        first = self._claims.setdefault(transaction_id, claim_id)
        if len(self._claims) > REMEMBERED:
            self._claims.popitem(last=False)
        return None if first == claim_id else first


def loggable(transaction_id: str | None, patient_control_number: str | None) -> str | None:
    """Give a transaction id unless the service made it of the patient's number, which is for the result alone."""
    number = patient_control_number
    if not transaction_id or not number:
        return transaction_id
    made_of_it = transaction_id == number or (len(number) >= TELLING_CHARS and number in transaction_id)
    return None if made_of_it else transaction_id
