"""Names and packets that go wrong for real, each in a network namespace of its own."""

import json
import os
import shutil
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.integration.clients import REJECTED, always, client_of, failing_attempt, make_claim
from tests.integration.faultserver import FaultServer
from tests.integration.test_client_tls import server_side
from worker.errors import NotSent
from worker.result import Disposition

ALONE = ("unshare", "--net", "--mount", "--propagation", "private")


@pytest.fixture(scope="module")
def namespaces() -> None:
    if shutil.which("ip") is None:
        pytest.skip("needs iproute2")
    if os.geteuid() or subprocess.run([*ALONE, "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs root and the right to make network and mount namespaces")


def secluded(case: str) -> dict[str, Any]:
    command = [*ALONE, sys.executable, "-m", "tests.integration.secluded", case]
    done = subprocess.run(command, check=False, capture_output=True, timeout=60, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr.decode()
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


@pytest.mark.usefixtures("namespaces")
class TestInANetworkOfItsOwn:
    @pytest.mark.fault(102)
    @pytest.mark.parametrize(
        ("case", "code"),
        [("blackhole", "connect_timeout"), ("unreachable", "connect_failed"), ("refused", "connect_refused")],
    )
    def test_a_host_that_cannot_be_reached_got_nothing(self, case: str, code: str) -> None:
        assert secluded(case) == {"class": "NotSent", "code": code}

    @pytest.mark.fault(104)
    def test_a_path_that_dies_after_the_request_is_an_unknown_outcome(self) -> None:
        assert secluded("silence_after_the_request") == {"class": "Ambiguous", "code": "attempt_timeout"}

    @pytest.mark.fault(101)
    def test_a_dead_ipv6_address_does_not_hide_a_good_ipv4_one(self) -> None:
        assert secluded("dead_ipv6_beside_ipv4") == {"class": "Verdict", "code": "rejected"}

    @pytest.mark.fault(101)
    @pytest.mark.parametrize("case", ["servfail", "no_such_name"])
    def test_a_name_that_is_not_given_got_nothing(self, case: str) -> None:
        assert secluded(case) == {"class": "NotSent", "code": "dns_failed", "asked": True}

    @pytest.mark.fault(101)
    def test_a_silent_resolver_holds_up_neither_files_nor_another_host(self) -> None:
        assert secluded("silent_resolver") == {"codes": ["dns_failed"], "first": ["files", "another host"]}


@pytest.mark.fault(103)
async def test_a_certificate_rotated_while_all_runs_is_looked_at_anew(tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    tls: ssl.SSLContext = server_side(authority)

    async with (
        FaultServer(always(body=REJECTED), tls=tls) as server,
        client_of(server.origin, ca_file=str(tmp_path / "ca.pem")) as client,
    ):
        before = await client.attempt(make_claim(1))
        stranger.issue_cert("localhost").configure_cert(tls)
        meanwhile = await failing_attempt(client)
        authority.issue_cert("localhost").configure_cert(tls)
        after = await client.attempt(make_claim(2))

    assert isinstance(meanwhile, NotSent)
    assert meanwhile.code == "tls_error"
    assert [before.disposition, after.disposition] == [Disposition.REJECTED] * 2
    assert len(server.requests) == 2
