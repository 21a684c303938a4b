"""Faults of the daemons: killed, frozen, doubled, coming and going."""
