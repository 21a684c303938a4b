import io.apicurio.registry.serde.avro.AvroKafkaDeserializer;
import io.apicurio.registry.serde.avro.AvroKafkaSerializer;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.generic.GenericRecordBuilder;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.StringDeserializer;

/** Avro by a schema registry: framed by its serializer, sent by the outbox, and read back by its deserializer. */
class Registry {
    private static final String TOPIC = System.getenv("TOPIC");
    private static final Map<String, Object> SETTINGS = Map.of(
            "apicurio.registry.url", System.getenv("REGISTRY"),
            "apicurio.registry.auto-register", true);
    private static final Schema ORDER = new Schema.Parser().parse("""
            {"type": "record", "name": "Order", "fields": [
              {"name": "order", "type": "long"}, {"name": "customer", "type": "string"}]}""");

    // docs:begin
    /** Enqueues a record as the registry's serializer frames it: a zero byte, the schema's id, and the Avro. */
    static void enqueue(Connection connection, AvroKafkaSerializer<GenericRecord> serializer, String key, GenericRecord value)
            throws Exception {
        String call = "CALL outbox_enqueue_bytes_v1('shop.order_avro', ?, ?, ?, 'application/avro', NULL, @id)";
        try (PreparedStatement statement = connection.prepareStatement(call)) {
            statement.setString(1, TOPIC);
            statement.setString(2, key);
            statement.setBytes(3, value == null ? null : serializer.serialize(TOPIC, value)); // NULL is a tombstone
            statement.execute();
        }
    }
    // docs:end

    private static void send() throws Exception {
        try (AvroKafkaSerializer<GenericRecord> serializer = new AvroKafkaSerializer<>();
                Connection connection = DriverManager.getConnection(Shop.URL, Shop.USER, Shop.PASSWORD)) {
            serializer.configure(SETTINGS, false);
            connection.setAutoCommit(false);
            for (String customer : List.of("Ada", "Bob 🎉")) {
                GenericRecord order =
                        new GenericRecordBuilder(ORDER).set("order", 1L << 40).set("customer", customer).build();
                enqueue(connection, serializer, customer, order);
            }
            enqueue(connection, serializer, "Ada", null);
            connection.commit();
        }
    }

    private static void receive() {
        Map<String, Object> kafka = Map.of(
                "bootstrap.servers", System.getenv("BOOTSTRAP"), "group.id", TOPIC, "auto.offset.reset", "earliest");
        AvroKafkaDeserializer<GenericRecord> deserializer = new AvroKafkaDeserializer<>();
        deserializer.configure(SETTINGS, false);
        try (var consumer = new KafkaConsumer<>(kafka, new StringDeserializer(), deserializer)) {
            consumer.subscribe(List.of(TOPIC));
            int missing = 3;
            while (missing > 0) {
                for (ConsumerRecord<String, GenericRecord> record : consumer.poll(Duration.ofSeconds(1))) {
                    missing--;
                    GenericRecord value = record.value();
                    Shop.report("received", Map.of(
                            "key", record.key(),
                            "order", value == null ? 0L : value.get("order"),
                            "customer", value == null ? "" : value.get("customer"),
                            "size", record.serializedValueSize()));
                }
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments[0].equals("send")) {
            send();
        } else {
            receive();
        }
        System.exit(0);
    }
}
