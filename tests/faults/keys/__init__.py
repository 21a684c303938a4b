"""Order per key and slots, whatever happens."""
