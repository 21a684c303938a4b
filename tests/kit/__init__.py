"""What tests, benchmarks and fault runs share: one class for a session, one for a daemon, one checker, ...

Nothing here depends on a folder of tests; ``fixtures`` alone needs pytest's run.
"""
