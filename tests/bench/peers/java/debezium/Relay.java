import static java.util.Map.entry;

import io.debezium.embedded.Connect;
import io.debezium.engine.DebeziumEngine;
import io.debezium.engine.RecordChangeEvent;
import io.debezium.engine.format.ChangeEventFormat;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.connect.source.SourceRecord;

/** Debezium's engine with the outbox event router: reads the binary log, and produces as its server's Kafka sink does. */
public class Relay {
    private static final KafkaProducer<String, String> PRODUCER = producer();

    public static void main(String[] arguments) throws Exception {
        var properties = new Properties();
        properties.putAll(Map.ofEntries(
            entry("name", "peers"),
            entry("connector.class", "io.debezium.connector.mysql.MySqlConnector"),
            entry("offset.storage", "org.apache.kafka.connect.storage.FileOffsetBackingStore"),
            entry("offset.storage.file.filename", "offsets"),
            entry("schema.history.internal", "io.debezium.storage.file.history.FileSchemaHistory"),
            entry("schema.history.internal.file.filename", "history"),
            entry("database.hostname", environment("PEER_MYSQL_HOST")),
            entry("database.port", environment("PEER_MYSQL_PORT")),
            entry("database.user", "root"),
            entry("database.password", ""),
            entry("database.server.id", "4711"),
            entry("topic.prefix", "peers"),
            entry("database.include.list", environment("PEER_DATABASE")),
            entry("table.include.list", environment("PEER_DATABASE") + ".outboxevent"),
            entry("transforms", "outbox"),
            entry("transforms.outbox.type", "io.debezium.transforms.outbox.EventRouter"),
            entry("transforms.outbox.route.topic.replacement", "${routedByValue}")));
        for (var argument : arguments) {  // what is tuned: NAME=VALUE
            var pair = argument.split("=", 2);
            properties.setProperty(pair[0], pair[1]);
        }
        var engine = DebeziumEngine.create(ChangeEventFormat.of(Connect.class))
            .using(properties)
            .notifying(Relay::forward)
            .using((success, message, error) -> {
                if (!success) {
                    System.err.println(message);
                    System.exit(1);
                }
            })
            .build();
        var thread = Executors.newSingleThreadExecutor();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                engine.close();
                thread.shutdown();
                thread.awaitTermination(20, TimeUnit.SECONDS);
            } catch (Exception error) {
                error.printStackTrace();
            }
        }));
        thread.execute(engine);
    }

    private static void forward(
            List<RecordChangeEvent<SourceRecord>> events,
            DebeziumEngine.RecordCommitter<RecordChangeEvent<SourceRecord>> committer) throws InterruptedException {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (var event : events) {
            var record = event.record();
            if (record.value() instanceof String value) {  // not one of the schema's changes
                sent.add(PRODUCER.send(new ProducerRecord<>(record.topic(), (String) record.key(), value)));
            }
        }
        PRODUCER.flush();
        try {
            for (var one : sent) {
                one.get();
            }
        } catch (ExecutionException error) {
            throw new IllegalStateException(error);
        }
        for (var event : events) {
            committer.markProcessed(event);
        }
        committer.markBatchFinished();
    }

    private static KafkaProducer<String, String> producer() {
        var properties = new Properties();
        properties.put("bootstrap.servers", environment("PEER_KAFKA"));
        return new KafkaProducer<>(properties, new StringSerializer(), new StringSerializer());
    }

    private static String environment(String name) {
        return System.getenv(name);
    }
}
