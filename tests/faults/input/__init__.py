"""Faults of what comes in: payloads, names, foreign records, handlers."""
