import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.jdbc.datasource.DataSourceTransactionManager;
import org.springframework.jdbc.datasource.DriverManagerDataSource;
import org.springframework.jdbc.datasource.SingleConnectionDataSource;
import org.springframework.transaction.support.TransactionTemplate;

/** Spring's JdbcTemplate. */
class Spring extends Shop {
    private static JdbcTemplate jdbc;
    private static TransactionTemplate transaction;

    // docs:begin
    /** Enqueues in the transaction under way; returns the message's id. */
    static long enqueue(String topic, String key, String payload, String options) {
        String call = "CALL outbox_enqueue_returning_v1('shop.order', ?, ?, ?, ?)";
        return jdbc.queryForObject(call, Long.class, topic, key, payload, options);
    }

    /** Stores an order and tells Kafka of it: both, or neither. A method with @Transactional does the same. */
    static long storeAndTell(String customer) {
        return transaction.execute(status -> {
            jdbc.update("INSERT INTO shop_orders (customer) VALUES (?)", customer);
            Long order = jdbc.queryForObject("SELECT LAST_INSERT_ID()", Long.class);
            return enqueue("shop", customer, "{\"order\":" + order + "}", null);
        });
    }
    // docs:end

    private static void use(javax.sql.DataSource source) {
        jdbc = new JdbcTemplate(source);
        transaction = new TransactionTemplate(new DataSourceTransactionManager(source));
    }

    @Override
    <T> T within(Work<T> work) {
        return transaction.execute(status -> {
            try {
                return work.run(null);
            } catch (RuntimeException error) {
                throw error;
            } catch (Exception error) {
                throw new IllegalArgumentException(error);
            }
        });
    }

    @Override
    <T> T onPool(Work<T> work) {
        use(one);
        return within(work);
    }

    private final SingleConnectionDataSource one = new SingleConnectionDataSource(URL, USER, PASSWORD, true);

    @Override
    long placeOrder(String customer) {
        return storeAndTell(customer);
    }

    @Override
    long enqueue(Object session, String topic, String key, String payload, String options) {
        return enqueue(topic, key, payload, options);
    }

    @Override
    long order(Object session, String customer) {
        jdbc.update("INSERT INTO shop_orders (customer) VALUES (?)", customer);
        return jdbc.queryForObject("SELECT LAST_INSERT_ID()", Long.class);
    }

    @Override
    int batch(Object session) {
        jdbc.update("CALL outbox_enqueue_batch_v1(?, @enqueued)", THREE);
        return jdbc.queryForObject("SELECT @enqueued", Integer.class);
    }

    @Override
    long line(Object session) {
        jdbc.update("INSERT INTO shop_lines (order_id) VALUES (LAST_INSERT_ID())");
        return jdbc.queryForObject("SELECT order_id FROM shop_lines", Long.class);
    }

    @Override
    long[] prepared() {
        use(new DriverManagerDataSource(URL + "?useServerPrepStmts=true", USER, PASSWORD));
        long[] ids = new long[3];
        for (int number = 0; number < 3; number++) {
            ids[number] = enqueue("shop", "Gus", "{\"order\":" + number + "}", null);
        }
        return ids;
    }

    public static void main(String[] arguments) throws Exception {
        use(new DriverManagerDataSource(URL, USER, PASSWORD));
        new Spring().runAll();
        System.exit(0);
    }
}
