"""Faults: servers, network and processes that fail while real chat goes through, and a checker of what arrived.

``python -m tests.faults`` runs all of it; a short selection is among the tests. A fault is a function that does it and
returns a report; they are in a folder for what fails, and listed in ``catalogue``. Here is what they share: ``stage``
has the servers, ``under_load`` keeps applications and daemons at work while a fault is done, ``checker`` decides what
was lost.
"""
