"""Faults of the network between the drivers and the servers."""
