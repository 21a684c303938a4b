"""Faults: real processes that are killed and stopped while real chat goes through, and a checker of what arrived.

``python -m tests.faults`` runs all of it; a short selection is among the tests. One module a fault, each with a
function that does it and returns a report; ``stage`` has the servers, ``checker`` decides what was lost.
"""
