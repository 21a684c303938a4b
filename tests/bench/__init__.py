"""The benchmark: ``python -m tests.bench`` measures outboxd against plain SQL on the machine at hand.

One module a measurement; ``stage`` has the servers and the backlog, ``drain`` the run they share.
"""
