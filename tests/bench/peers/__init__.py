"""outboxd beside its peers, in one run: ``python -m tests.bench.peers``, which is ``make bench PEERS=1``.

One module a peer; ``measure`` has what is done with each, ``arrived`` counts what a topic got wrong.
"""
