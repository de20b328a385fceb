"""The limit that the worker finds by itself, and what an operator sees of it."""

import json

from tests.e2e.harness import Simulator, Site, log_lines
from tests.e2e.test_whole_path import put
from tests.oracle import assert_ledger_at_rest, assert_one_result_each, read_results

CLAIMS, BEARS = 1_500, 50
CUTS = {"cut", "grew"}


def test_the_limit_comes_near_what_the_service_bears_and_log_and_status_say_why_it_is_what_it_is(site: Site) -> None:
    put(site.inbox, CLAIMS, magic="OK-")

    with Simulator("--profile", "shedding", "--latency-scale", "0.2") as simulator:
        done = site.run_once(PRECHECK_API__BASE_URL=simulator.origin, PRECHECK_RETRY__MAX_ATTEMPTS="20")
        stats, results = simulator.get("stats"), read_results(site.results)
    told, shown = json.loads(site.run("status", "--json").stdout)["limit"], site.run("status").stdout.decode()

    changed = [line for line in log_lines(done.stdout) if line["event"] == "limiter.changed"]
    assert done.returncode == 0
    assert_one_result_each(results, CLAIMS)
    assert_ledger_at_rest(site.ledger)
    assert {result["disposition"] for result in results} == {"accepted"}
    assert stats["prechecks"] < 1.1 * CLAIMS
    assert BEARS / 2 < told["limit"] < 1.5 * BEARS
    assert told["reason"] in CUTS
    assert f"calls allowed in flight: {told['limit']} ({told['reason']})" in " ".join(shown.split())
    assert changed
    assert {line["reason"] for line in changed} <= CUTS | {"slow_start"}
    assert BEARS / 2 < changed[-1]["limit"] < 1.5 * BEARS
