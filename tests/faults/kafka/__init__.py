"""Faults of Kafka: brokers, topics, groups and limits."""
