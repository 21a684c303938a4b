import jakarta.persistence.ParameterMode;
import java.sql.CallableStatement;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.Types;
import java.util.Map;
import java.util.concurrent.Callable;
import org.hibernate.cfg.Configuration;
import org.hibernate.procedure.ProcedureCall;
import org.springframework.jdbc.core.simple.SimpleJdbcCall;
import org.springframework.jdbc.datasource.DriverManagerDataSource;

/** The ways to call a procedure with an OUT parameter: which work depends on how the account has got its rights. */
class Outs {
    private static final String[] VALUES = {"shop.order", "shop", "Out", "{}"};

    private static long jdbc(String options) throws Exception {
        try (Connection connection = DriverManager.getConnection(Shop.URL + options, Shop.USER, Shop.PASSWORD);
                CallableStatement call = connection.prepareCall("{call outbox_enqueue_v1(?, ?, ?, ?, ?, ?)}")) {
            for (int at = 0; at < VALUES.length; at++) {
                call.setString(at + 1, VALUES[at]);
            }
            call.setNull(5, Types.INTEGER);
            call.registerOutParameter(6, Types.BIGINT);
            call.execute();
            return call.getLong(6);
        }
    }

    private static long spring() {
        SimpleJdbcCall call = new SimpleJdbcCall(new DriverManagerDataSource(Shop.URL, Shop.USER, Shop.PASSWORD))
                .withProcedureName("outbox_enqueue_v1");
        Map<String, Object> found = call.execute(VALUES[0], VALUES[1], VALUES[2], VALUES[3], null);
        return ((Number) found.get("p_id")).longValue();
    }

    private static long hibernate() {
        try (var factory = new Configuration()
                .setProperty("hibernate.connection.url", Shop.URL)
                .setProperty("hibernate.connection.username", Shop.USER)
                .setProperty("hibernate.connection.password", Shop.PASSWORD)
                .buildSessionFactory()) {
            return factory.fromTransaction(session -> {
                ProcedureCall call = session.createStoredProcedureCall("outbox_enqueue_v1");
                for (int at = 0; at < VALUES.length; at++) {
                    call.registerParameter(at + 1, String.class, ParameterMode.IN);
                    call.setParameter(at + 1, VALUES[at]);
                }
                call.registerParameter(5, Integer.class, ParameterMode.IN);
                call.setParameter(5, 3);
                call.registerParameter(6, Long.class, ParameterMode.OUT);
                call.execute();
                return ((Number) call.getOutputParameterValue(6)).longValue();
            });
        }
    }

    private static void report(String name, Callable<Long> way) {
        try {
            Shop.report(name, Map.of("id", way.call(), "error", ""));
        } catch (Exception error) {
            Throwable cause = error;
            while (cause.getCause() != null) {
                cause = cause.getCause();
            }
            Shop.report(name, Map.of("id", 0L, "error", String.valueOf(cause.getMessage()).replace("\n", " ")));
        }
    }

    public static void main(String[] arguments) {
        report("prepareCall", () -> jdbc(""));
        report("prepareCall by position", () -> jdbc("?noAccessToProcedureBodies=true"));
        report("SimpleJdbcCall", Outs::spring);
        report("procedure query", Outs::hibernate);
        System.exit(0);
    }
}
