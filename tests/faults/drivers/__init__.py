"""Faults of the drivers: killed, frozen, doubled, coming and going."""
