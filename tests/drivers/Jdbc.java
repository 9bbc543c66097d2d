import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.sql.Array;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HexFormat;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.ReentrantLock;
import java.util.stream.LongStream;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;

/**
 * pgjdbc, in HikariCP's pools: every way of preparing, autosave, read-only connections, cursors by fetch size, COPY,
 * rewritten batches, schemas, lists of hosts.
 *
 * <p>Called like the programs in Python, see work.py.
 */
final class Jdbc {
    private static final int WORKERS = number("DRIVERS_WORKERS", 6);
    private static final int ROUNDS = number("DRIVERS_ROUNDS", 2);
    private static final String ONLY = text("DRIVERS_ONLY", "");
    private static final String HOST = text("PGHOST", "127.0.0.1") + ":" + text("PGPORT", "6432");
    private static final int PATIENCE_MILLISECONDS = 30_000;

    /** What differs between the pools: each is another application's habits. */
    private static final List<String> HABITS = List.of(
            "prepareThreshold=0",
            "prepareThreshold=1&autosave=always",
            "prepareThreshold=5&autosave=conservative&reWriteBatchedInserts=true",
            "prepareThreshold=1&preparedStatementCacheQueries=3&binaryTransfer=false",
            "preferQueryMode=simple",
            "preferQueryMode=extendedCacheEverything&prepareThreshold=-1");

    private static final AtomicLong CHECKS = new AtomicLong();

    /** One at a time waits for somebody else while it keeps a server connection. */
    private static final ReentrantLock LISTENING = new ReentrantLock();

    /** Something that a worker does with a connection; {@code place} is a number nobody else has. */
    @FunctionalInterface
    private interface Piece {
        void work(Connection connection, int place) throws Exception;
    }

    private record Named(String name, Piece piece) {}

    private static final List<Named> PIECES = List.of(
            new Named("ownWrites", Jdbc::ownWrites),
            new Named("transactions", Jdbc::transactions),
            new Named("autosave", Jdbc::autosave),
            new Named("readOnly", Jdbc::readOnly),
            new Named("fetchSize", Jdbc::fetchSize),
            new Named("copy", Jdbc::copy),
            new Named("batches", Jdbc::batches),
            new Named("manyStatements", Jdbc::manyStatements),
            new Named("schemas", Jdbc::schemas),
            new Named("values", Jdbc::values),
            new Named("cancelling", Jdbc::cancelling),
            new Named("notifications", Jdbc::notifications),
            new Named("metadata", Jdbc::metadata),
            new Named("hosts", Jdbc::hosts));

    private Jdbc() {}

    private static String text(String name, String otherwise) {
        return Objects.requireNonNullElse(System.getenv(name), otherwise);
    }

    private static int number(String name, int otherwise) {
        return Integer.parseInt(text(name, Integer.toString(otherwise)));
    }

    private static String url(String hosts, String parameters) {
        return "jdbc:postgresql://" + hosts + "/" + text("PGDATABASE", "postgres") + "?user=" + text("PGUSER", "postgres")
                + "&" + parameters;
    }

    private static void check(Object got, Object want, String what) {
        if (!Objects.equals(got, want)) {
            throw new AssertionError(what + ": got " + got + ", want " + want);
        }
        CHECKS.incrementAndGet();
    }

    /** A statement that must fail. */
    @FunctionalInterface
    private interface Attempt {
        void run() throws Exception;
    }

    private static void rejected(String sqlstate, Attempt attempt) throws Exception {
        try {
            attempt.run();
        } catch (SQLException error) {
            check(error.getSQLState(), sqlstate, error.getMessage());
            return;
        }
        throw new AssertionError("went through; want SQLSTATE " + sqlstate);
    }

    private static void run(Connection connection, String sql, Object... parameters) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            bind(statement, parameters);
            statement.execute();
        }
    }

    private static void bind(PreparedStatement statement, Object... parameters) throws SQLException {
        for (int index = 0; index < parameters.length; index++) {
            statement.setObject(index + 1, parameters[index]);
        }
    }

    private static String one(Connection connection, String sql, Object... parameters) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            bind(statement, parameters);
            try (ResultSet rows = statement.executeQuery()) {
                rows.next();
                return rows.getString(1);
            }
        }
    }

    private static void ownWrites(Connection connection, int place) throws Exception {
        try (PreparedStatement insert = connection.prepareStatement(
                "INSERT INTO item (owner, kind, value) VALUES (?, 'own', ?)", Statement.RETURN_GENERATED_KEYS)) {
            for (int value = 0; value < 8; value++) {
                bind(insert, place, value);
                insert.executeUpdate();
                long key;
                try (ResultSet keys = insert.getGeneratedKeys()) {
                    keys.next();
                    key = keys.getLong("id");
                }
                check(one(connection, "SELECT value FROM item WHERE id = ?", key), Integer.toString(value), "own row");
                String count = one(connection, "SELECT count(*) FROM item WHERE owner = ? AND kind = 'own'", place);
                check(count, Integer.toString(value + 1), "own writes");
            }
        }
    }

    private static void transactions(Connection connection, int place) throws Exception {
        String insert = "INSERT INTO item (owner, kind, value) VALUES (?, 'transaction', ?)";
        String sum = "SELECT coalesce(sum(value), 0) FROM item WHERE owner = ? AND kind = 'transaction'";
        connection.setAutoCommit(false);
        run(connection, insert, place, 1);
        Savepoint savepoint = connection.setSavepoint();
        run(connection, insert, place, 2);
        connection.rollback(savepoint);
        check(one(connection, sum, place), "1", "after ROLLBACK TO");
        connection.commit();
        run(connection, insert, place, 4);
        connection.rollback();
        check(one(connection, sum, place), "1", "after ROLLBACK");
        connection.commit();
        for (int level : new int[] {Connection.TRANSACTION_SERIALIZABLE, Connection.TRANSACTION_REPEATABLE_READ}) {
            connection.setTransactionIsolation(level);
            check(connection.getTransactionIsolation(), level, "isolation");
            check(one(connection, "SELECT count(*) FROM place"), "1", "in this isolation");
            connection.commit();
        }
        connection.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
        connection.commit();
        connection.setAutoCommit(true);
    }

    private static void autosave(Connection connection, int place) throws Exception {
        boolean saves = connection.getMetaData().getURL().contains("autosave=always");
        connection.setAutoCommit(false);
        run(connection, "INSERT INTO item (owner, kind, value) VALUES (?, 'autosave', 1)", place);
        rejected("22012", () -> one(connection, "SELECT 1 / ?", 0));
        if (saves) {
            // The driver has gone back to the savepoint that it had set.
            check(one(connection, "SELECT count(*) FROM item WHERE owner = ? AND kind = 'autosave'", place), "1", "saved");
        } else {
            rejected("25P02", () -> one(connection, "SELECT 1"));
        }
        connection.rollback();
        connection.setAutoCommit(true);
        check(one(connection, "SELECT count(*) FROM item WHERE owner = ? AND kind = 'autosave'", place), "0", "rolled back");
    }

    private static void readOnly(Connection connection, int place) throws Exception {
        connection.setReadOnly(true);
        for (int turn = 0; turn < 3; turn++) {
            check(one(connection, "SELECT count(*) FROM place"), "1", "read only");
        }
        connection.setAutoCommit(false);
        check(one(connection, "SHOW transaction_read_only"), "on", "in a transaction");
        check(one(connection, "SELECT count(*) FROM place"), "1", "in a transaction");
        rejected("25006", () -> run(connection, "INSERT INTO place VALUES ('no')"));
        connection.rollback();
        connection.setReadOnly(false);
        run(connection, "INSERT INTO item (owner, kind, value) VALUES (?, 'writable', 1)", place);
        connection.commit();
        connection.setAutoCommit(true);
        check(one(connection, "SELECT count(*) FROM item WHERE owner = ? AND kind = 'writable'", place), "1", "written");
    }

    private static void fetchSize(Connection connection, int place) throws Exception {
        connection.setAutoCommit(false);
        try (PreparedStatement statement = connection.prepareStatement("SELECT n FROM generate_series(1, ?) n")) {
            statement.setFetchSize(70);
            statement.setInt(1, 500);
            long sum = 0;
            try (ResultSet rows = statement.executeQuery()) {
                while (rows.next()) {
                    sum += rows.getLong(1);
                    if (rows.getRow() % 200 == 0) {
                        // Another statement while the portal is open.
                        check(one(connection, "SELECT ?", place), Integer.toString(place), "between fetches");
                    }
                }
            }
            check(sum, 125_250L, "sum of what was fetched");
        }
        connection.commit();
        connection.setAutoCommit(true);
    }

    private static void copy(Connection connection, int place) throws Exception {
        StringBuilder rows = new StringBuilder();
        LongStream.range(0, 1000).forEach(value -> rows.append(place).append("\tcopy\t").append(value).append('\n'));
        var copies = connection.unwrap(PGConnection.class).getCopyAPI();
        long count = copies.copyIn("COPY item (owner, kind, value) FROM STDIN", new StringReader(rows.toString()));
        check(count, 1000L, "rows copied in");
        StringWriter got = new StringWriter();
        copies.copyOut("COPY (SELECT owner, kind, value FROM item WHERE owner = " + place
                + " AND kind = 'copy' ORDER BY value) TO STDOUT", got);
        check(got.toString(), rows.toString(), "rows copied out");
        rejected("22P02", () -> copies.copyIn("COPY item (owner, kind, value) FROM STDIN", new StringReader("x\ty\tz\n")));
        check(one(connection, "SELECT 1"), "1", "after a COPY that failed");
    }

    private static void batches(Connection connection, int place) throws Exception {
        try (PreparedStatement insert =
                connection.prepareStatement("INSERT INTO item (owner, kind, value) VALUES (?, 'batch', ?)")) {
            for (int value = 0; value < 300; value++) {
                bind(insert, place, value);
                insert.addBatch();
            }
            check(insert.executeBatch().length, 300, "a batch");
        }
        check(one(connection, "SELECT sum(value) FROM item WHERE owner = ? AND kind = 'batch'", place), "44850", "the batch");
        try (Statement statement = connection.createStatement()) {
            statement.addBatch("UPDATE item SET value = 1 WHERE kind = 'batch' AND owner = " + place);
            statement.addBatch("DELETE FROM item WHERE kind = 'batch' AND id % 2 = 0 AND owner = " + place);
            check(statement.executeBatch()[0], 300, "the first of a mixed batch");
            statement.addBatch("INSERT INTO item (owner, kind, value) VALUES (" + place + ", 'torn', 1)");
            statement.addBatch("SELECT 1 / 0");
            rejected("22012", statement::executeBatch);
        }
        String torn = one(connection, "SELECT count(*) FROM item WHERE kind = 'torn' AND owner = ?", place);
        check(connection.getAutoCommit() && (torn.equals("0") || torn.equals("1")), true, "a batch that fails");
    }

    private static void manyStatements(Connection connection, int place) throws Exception {
        // More texts than some of the pools keep prepared, and the same ones in every pool.
        for (int turn = 0; turn < 3; turn++) {
            for (int number = 0; number < 8; number++) {
                String sum = one(connection, "SELECT ? + " + number + " AS sum", turn);
                check(sum, Integer.toString(turn + number), "sum");
            }
        }
        try (PreparedStatement kept = connection.prepareStatement("SELECT ?::text || 'x'")) {
            for (int turn = 0; turn < 8; turn++) {
                kept.setString(1, "a" + turn);
                try (ResultSet rows = kept.executeQuery()) {
                    rows.next();
                    check(rows.getString(1), "a" + turn + "x", "a statement kept");
                }
                rejected("42P01", () -> one(connection, "SELECT * FROM nowhere"));
            }
        }
    }

    private static void schemas(Connection connection, int place) throws Exception {
        connection.setSchema("elsewhere");
        connection.setClientInfo("ApplicationName", "place " + place);
        for (int turn = 0; turn < 3; turn++) {
            check(one(connection, "SELECT name FROM place"), "elsewhere", "schema");
            check(connection.getSchema(), "elsewhere", "getSchema");
            check(one(connection, "SHOW application_name"), "place " + place, "ApplicationName");
        }
        connection.setSchema("public");
        check(one(connection, "SELECT name FROM place"), "here", "schema");
        connection.setClientInfo("ApplicationName", "jdbc work");
    }

    private static void values(Connection connection, int place) throws Exception {
        OffsetDateTime when = OffsetDateTime.parse("2026-01-31T12:30:15.123456Z");
        Array numbers = connection.createArrayOf("int4", new Integer[] {1, null, 3});
        byte[] bytes = new byte[5000];
        new Random(place).nextBytes(bytes);
        String sql = "SELECT ?::numeric, ?::timestamptz, ?::bytea, ?::int4[], ?::text, ?::bool";
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            // In simple mode the driver cannot write bytes into the text.
            boolean isText = connection.getMetaData().getURL().contains("preferQueryMode=simple");
            Object sent = isText ? "\\x" + HexFormat.of().formatHex(bytes) : bytes;
            bind(statement, new BigDecimal("12345.6789"), when, sent, numbers, "żółw 🐢", true);
            for (int turn = 0; turn < 6; turn++) {
                try (ResultSet row = statement.executeQuery()) {
                    row.next();
                    check(row.getBigDecimal(1), new BigDecimal("12345.6789"), "numeric");
                    check(row.getObject(2, OffsetDateTime.class).toInstant(), when.toInstant(), "timestamptz");
                    check(Arrays.equals(row.getBytes(3), bytes), true, "bytea");
                    check(List.of(((Integer[]) row.getArray(4).getArray()).length), List.of(3), "array");
                    check(row.getString(5), "żółw 🐢", "text");
                    check(row.getBoolean(6), true, "bool");
                }
            }
        }
        check(one(connection, "SELECT repeat('z', 500000)").length(), 500_000, "a long value");
    }

    private static void cancelling(Connection connection, int place) throws Exception {
        try (Statement statement = connection.createStatement()) {
            statement.setQueryTimeout(1);
            rejected("57014", () -> statement.execute("SELECT pg_sleep(30)"));
        }
        check(one(connection, "SELECT ?", place), Integer.toString(place), "after a cancel");
    }

    private static void notifications(Connection connection, int place) throws Exception {
        LISTENING.lock();
        try {
            run(connection, "LISTEN channel_" + place);
            try (Connection other = DriverManager.getConnection(url(HOST, "ApplicationName=teller"))) {
                run(other, "NOTIFY channel_" + place + ", 'told'");
            }
            PGNotification[] heard = connection.unwrap(PGConnection.class).getNotifications(PATIENCE_MILLISECONDS);
            check(heard.length == 1 ? heard[0].getParameter() : "nothing", "told", "notification");
            run(connection, "UNLISTEN *");
        } finally {
            LISTENING.unlock();
        }
    }

    private static void metadata(Connection connection, int place) throws Exception {
        List<String> columns = new ArrayList<>();
        try (ResultSet rows = connection.getMetaData().getColumns(null, "public", "item", null)) {
            while (rows.next()) {
                columns.add(rows.getString("COLUMN_NAME"));
            }
        }
        check(columns, List.of("id", "owner", "kind", "value"), "columns");
        try (ResultSet rows = connection.getMetaData().getPrimaryKeys(null, "public", "item")) {
            rows.next();
            check(rows.getString("COLUMN_NAME"), "id", "primary key");
        }
    }

    private static void hosts(Connection connection, int place) throws Exception {
        String twice = HOST + "," + HOST.replace("127.0.0.1", "localhost");
        for (String type : List.of("any", "primary", "preferSecondary")) {
            String parameters = "targetServerType=" + type + "&loadBalanceHosts=true&connectTimeout=30";
            try (Connection other = DriverManager.getConnection(url(twice, parameters))) {
                check(one(other, "SELECT pg_is_in_recovery()"), "f", type);
                run(other, "INSERT INTO item (owner, kind, value) VALUES (?, 'hosts', 1)", place);
            }
        }
        rejected("08001", () -> DriverManager.getConnection(url(twice, "targetServerType=secondary")).close());
        connection.setAutoCommit(false);
        String count = one(connection, "SELECT count(*) FROM item WHERE owner = ? AND kind = 'hosts'", place);
        check(count, "3", "what other connections have committed");
        connection.commit();
        connection.setAutoCommit(true);
    }

    private static HikariDataSource pool(String habits) {
        HikariConfig config = new HikariConfig();
        config.setJdbcUrl(url(HOST, habits + "&ApplicationName=jdbc%20work"));
        config.setMaximumPoolSize(2);
        config.setMinimumIdle(1);
        config.setConnectionTimeout(120_000);
        return new HikariDataSource(config);
    }

    private static void prepare() throws SQLException {
        try (Connection connection = DriverManager.getConnection(url(HOST, "")); Statement statement = connection.createStatement()) {
            statement.execute("CREATE TABLE item (id bigserial PRIMARY KEY, owner int NOT NULL, kind text NOT NULL, value bigint);"
                    + "CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.place AS SELECT 'elsewhere'::text AS name;"
                    + "CREATE TABLE place AS SELECT 'here'::text AS name");
        }
    }

    private static void worker(int number, List<HikariDataSource> pools) throws Exception {
        for (int round = 0; round < ROUNDS; round++) {
            int place = number * 100_000 + round;
            List<Named> pieces = new ArrayList<>(PIECES);
            Collections.shuffle(pieces, new Random(place));
            for (Named named : pieces) {
                if (named.name().contains(ONLY)) {
                    try (Connection connection = pools.get((number + round) % pools.size()).getConnection()) {
                        named.piece().work(connection, place);
                    }
                }
            }
        }
    }

    private static void work() throws Exception {
        List<HikariDataSource> pools = HABITS.stream().map(Jdbc::pool).toList();
        ExecutorService threads = Executors.newFixedThreadPool(WORKERS);
        List<Future<?>> workers = new ArrayList<>();
        for (int number = 0; number < WORKERS; number++) {
            int worker = number;
            workers.add(threads.submit(() -> {
                worker(worker, pools);
                return null;
            }));
        }
        for (Future<?> worker : workers) {
            worker.get();
        }
        threads.shutdown();
        pools.forEach(HikariDataSource::close);
    }

    public static void main(String[] arguments) {
        try {
            if (arguments[0].equals("prepare")) {
                prepare();
            } else {
                work();
            }
        } catch (Throwable failure) {
            failure.printStackTrace();
            // Workers that still wait for a server must not hold up the news.
            Runtime.getRuntime().halt(1);
        }
        System.out.println("pgjdbc " + org.postgresql.util.DriverInfo.DRIVER_VERSION + " (HikariCP): " + CHECKS + " answers checked");
    }
}
