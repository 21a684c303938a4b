import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;

/** JDBC with Connector/J. */
class Jdbc extends Shop {
    // docs:begin
    /** Enqueues in the connection's transaction; returns the message's id. */
    static long enqueue(Connection connection, String topic, String key, String payload, String options)
            throws SQLException {
        String call = "CALL outbox_enqueue_returning_v1('shop.order', ?, ?, ?, ?)";
        try (PreparedStatement statement = connection.prepareStatement(call)) {
            statement.setString(1, topic);
            statement.setString(2, key);
            statement.setString(3, payload);
            statement.setString(4, options);
            try (ResultSet rows = statement.executeQuery()) {
                rows.next();
                return rows.getLong("id");
            }
        }
    }

    /** Stores an order and tells Kafka of it: both, or neither. */
    static long placeOrder(Connection connection, String customer) throws SQLException {
        connection.setAutoCommit(false);
        try {
            long order = storeOrder(connection, customer);
            long message = enqueue(connection, "shop", customer, "{\"order\":" + order + "}", null);
            connection.commit();
            return message;
        } catch (SQLException error) {
            connection.rollback();
            throw error;
        }
    }
    // docs:end

    static long storeOrder(Connection connection, String customer) throws SQLException {
        String insert = "INSERT INTO shop_orders (customer) VALUES (?)";
        try (PreparedStatement statement = connection.prepareStatement(insert, Statement.RETURN_GENERATED_KEYS)) {
            statement.setString(1, customer);
            statement.executeUpdate();
            ResultSet keys = statement.getGeneratedKeys();
            keys.next();
            return keys.getLong(1);
        }
    }

    private final Connection connection = DriverManager.getConnection(URL, USER, PASSWORD);
    private final HikariDataSource pool;

    Jdbc() throws SQLException {
        HikariConfig config = new HikariConfig();
        config.setJdbcUrl(URL);
        config.setUsername(USER);
        config.setPassword(PASSWORD);
        config.setMaximumPoolSize(1);
        pool = new HikariDataSource(config);
    }

    @Override
    <T> T within(Work<T> work) throws Exception {
        return within(connection, work);
    }

    @Override
    <T> T onPool(Work<T> work) throws Exception {
        try (Connection taken = pool.getConnection()) {
            return within(taken, work);
        }
    }

    private static <T> T within(Connection taken, Work<T> work) throws Exception {
        taken.setAutoCommit(false);
        try {
            T result = work.run(taken);
            taken.commit();
            return result;
        } catch (Exception error) {
            taken.rollback();
            throw error;
        }
    }

    @Override
    long placeOrder(String customer) throws Exception {
        return placeOrder(connection, customer);
    }

    @Override
    long enqueue(Object session, String topic, String key, String payload, String options) throws Exception {
        return enqueue((Connection) session, topic, key, payload, options);
    }

    @Override
    long order(Object session, String customer) throws Exception {
        return storeOrder((Connection) session, customer);
    }

    @Override
    int batch(Object session) throws Exception {
        try (PreparedStatement call = ((Connection) session).prepareStatement("CALL outbox_enqueue_batch_v1(?, @enqueued)")) {
            call.setString(1, THREE);
            call.execute();
        }
        return (int) number(session, "SELECT @enqueued");
    }

    @Override
    long line(Object session) throws Exception {
        try (Statement statement = ((Connection) session).createStatement()) {
            statement.executeUpdate("INSERT INTO shop_lines (order_id) VALUES (LAST_INSERT_ID())");
        }
        return number(session, "SELECT order_id FROM shop_lines");
    }

    private static long number(Object session, String query) throws SQLException {
        try (Statement statement = ((Connection) session).createStatement(); ResultSet rows = statement.executeQuery(query)) {
            rows.next();
            return rows.getLong(1);
        }
    }

    @Override
    long[] prepared() throws Exception {
        long[] ids = new long[3];
        String url = URL + "?useServerPrepStmts=true&cachePrepStmts=true";
        try (Connection own = DriverManager.getConnection(url, USER, PASSWORD);
                PreparedStatement call = own.prepareStatement(
                        "CALL outbox_enqueue_returning_v1('shop.order', 'shop', 'Gus', ?, NULL)")) {
            for (int number = 0; number < 3; number++) {
                call.setString(1, "{\"order\":" + number + "}");
                try (ResultSet rows = call.executeQuery()) {
                    rows.next();
                    ids[number] = rows.getLong(1);
                }
            }
        }
        return ids;
    }

    public static void main(String[] arguments) throws Exception {
        new Jdbc().runAll();
        System.exit(0);
    }
}
