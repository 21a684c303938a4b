"""Faults of what comes in: payloads, names, records of strangers, handlers."""
