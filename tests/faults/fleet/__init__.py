"""Faults of a fleet: some databases, or one of the daemons that share all of them, are away."""
