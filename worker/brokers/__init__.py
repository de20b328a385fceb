"""What sources, sinks and `enqueue` share of message brokers: addresses, messages, and the rules of keeping them safe.

============ ======================================================================================
address      a broker's URL taken apart; its password in no message
messages     what a message carries: a batch or a reference to one, and who it is
references   from a reference to the bytes: ``file:`` below one folder, ``s3:`` in named places
fetched      files that references from afar were fetched into, until their batch is settled
engine       the seams of an engine: `Inlet` for taking, `Sender` for publishing
held         the messages that are ours, by ref; a redelivery of one is no second delivery
deaths       how often a message was in work when a worker died; durable before it is in work again
leases       signs of life for held messages, at a third of the lease
fitting      results that are larger than a broker takes
extras       a library that is not installed, told as the extra to install
============ ======================================================================================
"""
