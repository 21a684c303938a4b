"""Faults of the network between the daemons and the servers."""
