"""Real MySQL and Kafka servers for development, demos and tests; no root needed.

``python -m tests.servers up`` is the one command; see ``__main__`` for the others.
"""
