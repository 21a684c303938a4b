"""`outboxd top`: a live view of one outbox, or of all of a fleet."""
