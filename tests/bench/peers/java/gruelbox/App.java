import com.gruelbox.transactionoutbox.Dialect;
import com.gruelbox.transactionoutbox.Instantiator;
import com.gruelbox.transactionoutbox.Persistor;
import com.gruelbox.transactionoutbox.Submitter;
import com.gruelbox.transactionoutbox.TransactionManager;
import com.gruelbox.transactionoutbox.TransactionOutbox;
import com.zaxxer.hikari.HikariDataSource;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.zip.CRC32;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/** An application with Gruelbox Transaction Outbox in it: `install`, `fill N`, `enqueue N`, or `relay`, which takes loads. */
public class App {
    private static final int THREADS = 32;
    private static final int QUEUE = 256;
    private static final int FLUSHED = 1000;
    // A message whose lock is not to be had at once waits for this long, 2 minutes by default.
    private static final Duration RETRY = Duration.ofSeconds(5);
    private static final int PER_TRANSACTION = 100;
    private static final String TOPIC = System.getenv("PEER_TOPIC");
    private static final HikariDataSource POOL = pool();
    private static final TransactionManager TRANSACTIONS = TransactionManager.fromDataSource(POOL);
    private static Publisher publisher;

    record Chat(int number, String key, String payload) {}

    /** What is scheduled. An interface, because the proxy of a class is made anew for each message. */
    public interface Publisher {
        void publish(String topic, String key, String payload) throws InterruptedException, ExecutionException;
    }

    /** Its effect is the record. */
    private static class KafkaPublisher implements Publisher {
        private final KafkaProducer<String, String> producer =
            new KafkaProducer<>(
                Map.of("bootstrap.servers", System.getenv("PEER_KAFKA"), "linger.ms", "0"),
                new StringSerializer(),
                new StringSerializer());

        @Override
        public void publish(String topic, String key, String payload) throws InterruptedException, ExecutionException {
            producer.send(new ProducerRecord<>(topic, key, payload)).get();
        }
    }

    public static void main(String[] arguments) throws Exception {
        switch (arguments[0]) {
            case "install" -> outbox((entry, process) -> { }, RETRY);
            case "fill" -> fill(Integer.parseInt(arguments[1]));
            case "enqueue" -> {
                var outbox = outbox((entry, process) -> { }, RETRY);
                var messages = Integer.parseInt(arguments[1]);
                for (var size : List.of(1, PER_TRANSACTION)) {  // a service that has run for some time is compiled
                    enqueueUs(outbox, messages, size);
                }
                System.out.printf("{\"in_1\": %.1f, \"in_100\": %.1f}%n",
                    enqueueUs(outbox, messages, 1), enqueueUs(outbox, messages, PER_TRANSACTION));
            }
            default -> relay();
        }
        POOL.close();
        System.exit(0);
    }

    private static TransactionOutbox outbox(Submitter submitter, Duration attemptFrequency) {
        return TransactionOutbox.builder()
            .transactionManager(TRANSACTIONS)
            .persistor(Persistor.forDialect(Dialect.MY_SQL_8))
            .instantiator(Instantiator.using(type -> publisher))
            .submitter(submitter)
            .attemptFrequency(attemptFrequency)
            .flushBatchSize(FLUSHED)
            .build();
    }

    /** A backlog as an application leaves it that ended before it could submit: due in a second. */
    private static void fill(int messages) throws Exception {
        var outbox = outbox((entry, process) -> { }, Duration.ofSeconds(1));
        for (var first = 1; first <= messages; first += PER_TRANSACTION) {
            var some = chats(first, Math.min(first + PER_TRANSACTION - 1, messages));
            TRANSACTIONS.inTransaction(() -> some.forEach(chat -> schedule(outbox, chat)));
        }
    }

    private static void schedule(TransactionOutbox outbox, Chat chat) {
        try {
            outbox.schedule(Publisher.class).publish(TOPIC, chat.key(), chat.payload());
        } catch (InterruptedException | ExecutionException error) {
            throw new IllegalStateException(error);
        }
    }

    private static void relay() throws Exception {
        publisher = new KafkaPublisher();
        // Whoever finds the queue full works itself, so that flush() takes no more than is soon done.
        var threads = new ThreadPoolExecutor(THREADS, THREADS, 0, TimeUnit.SECONDS,
            new ArrayBlockingQueue<>(QUEUE), new ThreadPoolExecutor.CallerRunsPolicy());
        var outbox = outbox(Submitter.withExecutor(threads), RETRY);
        var flushing = Executors.newSingleThreadScheduledExecutor(work -> {
            var thread = new Thread(work);
            thread.setDaemon(true);
            return thread;
        });
        flushing.scheduleWithFixedDelay(() -> {
            while (outbox.flush()) { }
        }, 0, 1, TimeUnit.SECONDS);
        var lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = lines.readLine()) != null; ) {
            var load = line.split(" ");
            System.out.println(load(outbox, Integer.parseInt(load[0]), Integer.parseInt(load[1]),
                Double.parseDouble(load[2]), Integer.parseInt(load[3]), Double.parseDouble(load[4])));
        }
    }

    /** When each message was committed, as JSON; see load() of peer.py. */
    private static String load(TransactionOutbox outbox, int first, int messages, double perS, int writers, double pause)
            throws Exception {
        var chats = chats(first, first + messages - 1);
        Map<Integer, Double> committed = Collections.synchronizedMap(new TreeMap<>());
        var together = new CyclicBarrier(writers);
        var threads = Executors.newFixedThreadPool(writers);
        var writing = new ArrayList<Future<?>>();
        for (var writer = 0; writer < writers; writer++) {
            var own = writer;
            writing.add(threads.submit(() -> {
                together.await();
                var began = System.nanoTime();
                for (var place = 0; place < messages; place++) {
                    var chat = chats.get(place);
                    if (crc(chat.key()) % writers == own) {
                        sleep(place / perS - (System.nanoTime() - began) / 1e9);
                        TRANSACTIONS.inTransaction(() -> {
                            schedule(outbox, chat);
                            sleep(pause * (crc("" + chat.number()) % 100) / 100);
                        });
                        var now = Instant.now();
                        committed.put(chat.number(), now.getEpochSecond() + now.getNano() / 1e9);
                    }
                }
                return null;
            }));
        }
        for (var one : writing) {
            one.get();
        }
        threads.shutdown();
        return committed.entrySet().stream()
            .map(one -> String.format("\"%d\": %.6f", one.getKey(), one.getValue()))
            .collect(Collectors.joining(", ", "{", "}"));
    }

    private static double enqueueUs(TransactionOutbox outbox, int messages, int size) {
        var payload = System.getenv("PEER_PAYLOAD");
        List<Double> took = new ArrayList<>();
        for (var done = 0; done < messages; done += size) {
            var first = done;
            var began = System.nanoTime();
            TRANSACTIONS.inTransaction(() -> {
                for (var number = first; number < first + size; number++) {
                    schedule(outbox, new Chat(number, "" + number, payload));
                }
            });
            took.add((System.nanoTime() - began) / 1e3 / size);
        }
        Collections.sort(took);
        return took.get(took.size() / 2);
    }

    private static List<Chat> chats(int first, int last) throws Exception {
        try (var connection = POOL.getConnection();
                var query = connection.prepareStatement(
                    "SELECT n, message_key, payload FROM " + System.getenv("PEER_CHAT") + " WHERE n BETWEEN ? AND ? ORDER BY n")) {
            query.setInt(1, first);
            query.setInt(2, last);
            var rows = query.executeQuery();
            List<Chat> chats = new ArrayList<>();
            while (rows.next()) {
                chats.add(new Chat(rows.getInt(1), rows.getString(2), rows.getString(3)));
            }
            return chats;
        }
    }

    private static void sleep(double seconds) {
        try {
            TimeUnit.NANOSECONDS.sleep((long) (seconds * 1e9));
        } catch (InterruptedException error) {
            throw new IllegalStateException(error);
        }
    }

    private static long crc(String text) {
        var crc = new CRC32();
        crc.update(text.getBytes());
        return crc.getValue();
    }

    private static HikariDataSource pool() {
        var pool = new HikariDataSource();
        pool.setJdbcUrl("jdbc:mysql://%s:%s/%s?rewriteBatchedStatements=true&cachePrepStmts=true".formatted(
            System.getenv("PEER_MYSQL_HOST"), System.getenv("PEER_MYSQL_PORT"), System.getenv("PEER_DATABASE")));
        pool.setUsername("root");
        pool.setMaximumPoolSize(2 * THREADS);
        return pool;
    }
}
