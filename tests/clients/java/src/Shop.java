import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.sql.SQLException;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;

/** What the programs share: where the shop is, payloads, and the cases, which a program's driver goes through. */
abstract class Shop {
    static final String URL =
            "jdbc:mysql://%s:%s/%s".formatted(variable("HOST"), variable("PORT"), variable("DATABASE"));
    static final String USER = variable("USER");
    static final String PASSWORD = variable("PASSWORD");

    /** More than 1 MiB, with what a driver that writes the values into the statement could get wrong. */
    static final String LARGE = "{\"text\":\"" + "🎉 \\\" \\\\ ' ? ".repeat(90_000) + "\"}";
    static final String THREE = "[" + String.join(",", List.of(message(1), message(2), message(3))) + "]";

    static String variable(String name) {
        return System.getenv("SHOP_" + name);
    }

    private static String message(int order) {
        return "{\"biz_type\":\"shop.order\",\"topic\":\"shop\",\"key\":\"Cleo\",\"payload\":{\"order\":%d}}".formatted(order);
    }

    /** Runs in a transaction of the driver's. */
    interface Work<T> {
        T run(Object session) throws Exception;
    }

    abstract <T> T within(Work<T> work) throws Exception;

    /** The same on a connection of a pool of one. */
    abstract <T> T onPool(Work<T> work) throws Exception;

    abstract long placeOrder(String customer) throws Exception;

    abstract long enqueue(Object session, String topic, String key, String payload, String options) throws Exception;

    /** Stores an order; returns its id. */
    abstract long order(Object session, String customer) throws Exception;

    /** Enqueues the three messages; returns how many were stored. */
    abstract int batch(Object session) throws Exception;

    /** Stores a line for LAST_INSERT_ID(); returns the id of its order. */
    abstract long line(Object session) throws Exception;

    abstract long[] prepared() throws Exception;

    void runAll() throws Exception {
        report("commit", Map.of("id", placeOrder("Ada")));

        long[] gone = new long[1];
        try {
            within(session -> {
                order(session, "Bob");
                gone[0] = enqueue(session, "shop", "Bob", "{}", null);
                throw new IllegalStateException("enough");
            });
        } catch (IllegalStateException enough) {
            report("rollback", Map.of("id", gone[0]));
        }

        int enqueued = within(session -> {
            order(session, "Cleo");
            return batch(session);
        });
        report("batch", Map.of("enqueued", enqueued));

        long[] ids = new long[2];
        for (int turn = 0; turn < 2; turn++) {
            ids[turn] = within(session -> enqueue(session, "shop", "Dora", "{}", "{\"dedup_key\":\"order 1\"}"));
        }
        report("dedup", Map.of("ids", ids));

        long large = within(session -> enqueue(session, "shop", "Eve", LARGE, null));
        byte[] sum = MessageDigest.getInstance("SHA-256").digest(LARGE.getBytes(StandardCharsets.UTF_8));
        report("large", Map.of("id", large, "sha256", HexFormat.of().formatHex(sum)));

        try {
            within(session -> enqueue(session, "", "Fay", "{}", null));
        } catch (Exception error) {
            SQLException refused = why(error);
            report("refused", Map.of("errno", refused.getErrorCode(), "message", refused.getMessage()));
        }

        report("prepared", Map.of("ids", prepared()));

        ids[0] = onPool(session -> enqueue(session, "shop", "Hal", "{}", null));
        try {
            onPool(session -> enqueue(session, "", "Hal", "{}", null));
        } catch (Exception refused) {
            why(refused);
        }
        ids[1] = onPool(session -> enqueue(session, "shop", "Hal", "{}", null));
        report("pool", Map.of("ids", ids));

        long[] found = within(session -> {
            long order = order(session, "Ida");
            enqueue(session, "shop", "Ida", "{}", null);
            return new long[] {order, line(session)};
        });
        report("last_insert_id", Map.of("order", found[0], "line_order", found[1]));
    }

    /** The driver's own error, whatever it is wrapped in. */
    static SQLException why(Throwable error) {
        for (Throwable cause = error; cause != null; cause = cause.getCause()) {
            if (cause instanceof SQLException found) {
                return found;
            }
        }
        throw new IllegalStateException(error);
    }

    static void report(String name, Map<String, Object> found) {
        StringBuilder line = new StringBuilder("{\"case\":\"" + name + "\"");
        found.forEach((key, value) -> line.append(",\"").append(key).append("\":").append(json(value)));
        System.out.println(line.append("}"));
    }

    private static String json(Object value) {
        if (value instanceof long[] ids) {
            return java.util.Arrays.toString(ids);
        }
        return value instanceof Number ? value.toString() : "\"" + value.toString().replace("\"", "\\\"") + "\"";
    }
}
