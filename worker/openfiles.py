"""Enough file descriptors for all calls at once: found out at the start and not in the middle of the night.

A process that runs out of them fails at whatever it does next, be it a connection, a file of claims or the ledger. The
soft limit, 1,024 on most systems, is raised as far as needed; only the hard one needs an operator.
"""

import resource

from worker.errors import SettingsError

# For input files, ledger, sinks, logs, the probes' callers, the event loop: generous.
BESIDE_CALLS = 256


def provide_open_files(most_in_flight: int) -> int:
    """See to it that this process may open enough files for so many calls at once; returns how many it may now open.

    :raises SettingsError: if the hard limit forbids it.
    """
    needed = most_in_flight + BESIDE_CALLS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise SettingsError(
            [
                f"flow.max_in_flight: {most_in_flight:,} calls at once need {needed:,} open files, and this process "
                f"may have {hard:,}; raise the limit (ulimit -Hn, LimitNOFILE= of systemd, --ulimit nofile= of docker) "
                "or lower the setting"
            ]
        )
    # A connection that is not used again lives on for a moment beside the one that takes its place.
    wanted = needed + most_in_flight
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
