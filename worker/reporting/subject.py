"""What a report is about."""

from collections.abc import Mapping, Sequence

import msgspec

from worker.ledger import Balance, ParkedGroup
from worker.reporting.figures import Figures


class Report(msgspec.Struct, frozen=True):
    """What a page is made of. `meanings` says in words what each disposition means, in the order to show them in.

    `filters` says in words which results were wanted, `made_at` when the page was made; `batches` are the newest
    first, `config` is how commands name the settings file.
    """

    figures: Figures
    parked: Sequence[ParkedGroup]
    batches: Sequence[Balance]
    meanings: Mapping[str, str]
    made_at: str
    filters: str = ""
    masked: bool = True
    config: str = ""
