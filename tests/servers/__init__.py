"""Real MySQL and Kafka servers for development, demos and tests; no root needed.

``python tests/servers up`` starts them; see ``command`` for what else there is. Nothing here needs the rest of
``tests``, and only ``fixtures`` and ``missing`` need pytest.
"""
