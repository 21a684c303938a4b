"""Faults of MySQL: restarts, locks, limits, failover and clocks."""
