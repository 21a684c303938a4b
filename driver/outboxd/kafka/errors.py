"""Whose fault an error is that Kafka answers to a record, or the client in its place; ARCHITECTURE.md has the table."""

from confluent_kafka import KafkaError

HOPELESS = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.TOPIC_EXCEPTION, KafkaError.INVALID_RECORD}
"""The record's own, and no later attempt can change it."""

OF_A_BATCH = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.INVALID_RECORD,
    KafkaError.INVALID_MSG,
    KafkaError.POLICY_VIOLATION,
    KafkaError._INVALID_DIFFERENT_RECORD,
}
"""A broker answers with these to a whole batch because of one record in it."""

REFUSED = HOPELESS | OF_A_BATCH | {KafkaError._INVALID_ARG, KafkaError._BAD_MSG}
"""The record's own: it is dead, or its retry is counted."""

OF_A_TOPIC = {
    # It is not there, or not for this account.
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.UNKNOWN_TOPIC_ID,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    # Its leader or its replicas are not.
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.REPLICA_NOT_AVAILABLE,
    KafkaError.NOT_ENOUGH_REPLICAS,
    KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    KafkaError.KAFKA_STORAGE_ERROR,
    KafkaError.ELIGIBLE_LEADERS_NOT_AVAILABLE,
    KafkaError.PREFERRED_LEADER_NOT_AVAILABLE,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    # Its configuration, which an operator can change.
    KafkaError.INVALID_TIMESTAMP,
    KafkaError.INVALID_REQUIRED_ACKS,
    KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
    KafkaError.UNSUPPORTED_COMPRESSION_TYPE,
}
"""The topic's: its messages wait, no retry is counted, and other topics go on. All other errors are the cluster's."""
