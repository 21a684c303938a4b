import jakarta.persistence.Entity;
import jakarta.persistence.GeneratedValue;
import jakarta.persistence.GenerationType;
import jakarta.persistence.Id;
import jakarta.persistence.Table;
import org.hibernate.Session;
import org.hibernate.SessionFactory;
import org.hibernate.cfg.Configuration;

/** Hibernate. */
class HibernateOrm extends Shop {
    // docs:begin
    @Entity
    @Table(name = "shop_orders")
    static class Order {
        @Id
        @GeneratedValue(strategy = GenerationType.IDENTITY)
        Long id;
        String customer;
    }

    /** Enqueues in the session's transaction; returns the message's id. */
    static long enqueue(Session session, String topic, String key, String payload, String options) {
        String call = "CALL outbox_enqueue_returning_v1('shop.order', :topic, :key, :payload, :options)";
        return session.createNativeQuery(call, Long.class)
                .setParameter("topic", topic)
                .setParameter("key", key)
                .setParameter("payload", payload)
                .setParameter("options", options, String.class)
                .getSingleResult();
    }

    /** Stores an order and tells Kafka of it: both, or neither. */
    static long placeOrder(SessionFactory factory, String customer) {
        return factory.fromTransaction(session -> {
            Order order = new Order();
            order.customer = customer;
            session.persist(order);
            return enqueue(session, "shop", customer, "{\"order\":" + order.id + "}", null);
        });
    }
    // docs:end

    @Entity
    @Table(name = "shop_lines")
    static class Line {
        @Id
        @GeneratedValue(strategy = GenerationType.IDENTITY)
        Long id;
        Long order_id;
    }

    private final SessionFactory factory = open("");

    private static SessionFactory open(String options) {
        return new Configuration()
                .addAnnotatedClass(Order.class)
                .addAnnotatedClass(Line.class)
                .setProperty("hibernate.connection.url", URL + options)
                .setProperty("hibernate.connection.username", USER)
                .setProperty("hibernate.connection.password", PASSWORD)
                .setProperty("hibernate.hikari.maximumPoolSize", "1")
                .buildSessionFactory();
    }

    @Override
    <T> T within(Work<T> work) {
        return factory.fromTransaction(session -> {
            try {
                return work.run(session);
            } catch (RuntimeException error) {
                throw error;
            } catch (Exception error) {
                throw new IllegalArgumentException(error);
            }
        });
    }

    @Override
    <T> T onPool(Work<T> work) {
        return within(work); // which is Hikari's, of one connection
    }

    @Override
    long placeOrder(String customer) {
        return placeOrder(factory, customer);
    }

    @Override
    long enqueue(Object session, String topic, String key, String payload, String options) {
        return enqueue((Session) session, topic, key, payload, options);
    }

    @Override
    long order(Object session, String customer) {
        Order order = new Order();
        order.customer = customer;
        ((Session) session).persist(order);
        return order.id;
    }

    @Override
    int batch(Object session) {
        Session own = (Session) session;
        own.createNativeMutationQuery("CALL outbox_enqueue_batch_v1(:messages, @enqueued)")
                .setParameter("messages", THREE)
                .executeUpdate();
        return own.createNativeQuery("SELECT @enqueued", Integer.class).getSingleResult();
    }

    @Override
    long line(Object session) {
        Session own = (Session) session;
        own.createNativeMutationQuery("INSERT INTO shop_lines (order_id) VALUES (LAST_INSERT_ID())").executeUpdate();
        return own.createNativeQuery("SELECT order_id FROM shop_lines", Long.class).getSingleResult();
    }

    @Override
    long[] prepared() {
        long[] ids = new long[3];
        try (SessionFactory own = open("?useServerPrepStmts=true&cachePrepStmts=true")) {
            for (int number = 0; number < 3; number++) {
                String payload = "{\"order\":" + number + "}";
                ids[number] = own.fromTransaction(session -> enqueue(session, "shop", "Gus", payload, null));
            }
        }
        return ids;
    }

    public static void main(String[] arguments) throws Exception {
        new HibernateOrm().runAll();
        System.exit(0);
    }
}
