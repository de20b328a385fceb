"""Precheck worker: sends X12 837 claims through a Claim Pre-Check API and leaves one true result for each.

::

    sources ─▶ intake ─▶ feeding ─▶ turns ─▶ submitter ─▶ precheck ─▶ recorder ─▶ ledger ─▶ outbox ─▶ sinks ─▶ settling

==================== =============================================================================================
The way of a claim
sources              where batches come from: a folder, a broker, files named one by one
intake               takes deliveries and opens them: survey, entry in the ledger, claims handed on
preparing            reads, surveys, hashes and cuts a delivery, in threads
waiting              deliveries of bytes that are being worked on already
feeding              the claims of an open batch: to the turns, or a result at once
screening            what is refused here and never sent
turns                which claim goes next: due repeats, then the open batches in turns
submitter            sends what gate, rate and limiter let through
reserving            notes ahead of time, many at once, that first attempts begin
lanes                the tasks that make attempts
attempting           one attempt of a claim, from its note in the ledger to what follows from its end
precheck             all that knows this API: request, answer, verdict, codes, client, connection guard, token
concluding           what the end of an attempt means where the service has not said it
recorder             one durable record and one log line for each result
transactions         transaction ids: whose each one is, and which may be logged
drafting             a verdict as a result record
unstored             results on their way to the disk: how many, how large, which next
ledger               the durable memory: a file, or a schema of PostgreSQL that a fleet shares
outbox               results from the ledger to one sink, in order
sinks                where results go: files, brokers, PostgreSQL
settling             ends a batch: all results in all sinks, then archived or acknowledged
replay               parked claims again, in the place of source and intake

The words for it
claim                a delivery, its batch, its claims
result               verdicts, dispositions, the result record
batches              the batches being worked on
effort               what a claim has cost so far
errors               every way in which work can fail
tally                what the worker counts about itself
ports                the seams to source, ledger, sinks and service, and what crosses them
feed                 the seam to what brings claims: intake or replay
x12                  X12 837 and its acknowledgements: bytes in, values out
flow                 the decisions about pace: gate, limiter, rate, retry, budget
settings             every setting, and what must hold between them

Around it
app                  runs the worker: the outermost task group, the first token, how it ended
parts                the composition root: opens the parts that the settings name, and wires them
pipeline             the task groups of the flow, and its drain
bounds               how much of a run may be in memory
pacing               makes the parts of `flow` by the settings
upkeep               what runs beside the flow: signals, pause, time limits, purge
inheritance          continues what a dead worker had begun, from its ledger in a file
shared_inheritance   the same, where a fleet shares the ledger
reconciliation       balances the books: claims in = results + pending
pausing              an operator's pause
alarm                what an operator is told when submission pauses
openings             what is logged of a batch as it is opened
limits               reports the limit, and keeps it for the next run
diagnosis            what an operator does about a service that is not well
fleet                limits that all workers of a fleet share
brokers              what sources and sinks share of message brokers
postgres             what sinks and ledger share of PostgreSQL

The process, and those who look at it
cli                  one module a command
telemetry            logs, the catalogue of events, metrics, probes
reporting            the HTML report
simulator            the API to test against, and generated claims
testing              a fake for every seam
bench                the performance figures
signals              signals while the event loop does not listen
openfiles            makes sure at the start that there are enough file descriptors
disk                 what a disk's errors mean, and new names made durable
paths                what stands at a path, and in words why that cannot be told
from_thread          asking the event loop from a thread
crashpoint           dying at a named step, for the tests
==================== =============================================================================================
"""

__version__ = "0.1.0"
