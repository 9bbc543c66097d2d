/*
 * libpq: pipelines, prepared statements, single-row mode, COPY, cancelling, target_session_attrs.
 *
 * As many connections as there are workers are used in turn by one thread, so that transactions and pipelines of several
 * clients are open at once. Called like the programs in Python, see work.py.
 */
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_WORKERS 64
#define PIPELINE 30
#define CANCEL_AGAIN_MILLISECONDS 500

static long checks = 0;

static void die(const char *what, const char *got, const char *want)
{
    fprintf(stderr, "%s: got %s, want %s\n", what, got, want);
    exit(1);
}

static void check(const char *got, const char *want, const char *what)
{
    if (strcmp(got, want) != 0)
        die(what, got, want);
    checks++;
}

static void check_number(long got, long want, const char *what)
{
    char texts[2][32];
    snprintf(texts[0], sizeof texts[0], "%ld", got);
    snprintf(texts[1], sizeof texts[1], "%ld", want);
    check(texts[0], texts[1], what);
}

static long setting(const char *name, long otherwise)
{
    const char *text = getenv(name);
    return text ? atol(text) : otherwise;
}

static PGconn *connection(const char *parameters)
{
    PGconn *connection = PQconnectdb(parameters);
    if (PQstatus(connection) != CONNECTION_OK)
        die("connecting", PQerrorMessage(connection), parameters);
    return connection;
}

/* Checks the state of a result, and its only value if there is to be one. */
static void expect(PGresult *result, ExecStatusType status, const char *value, const char *what)
{
    if (PQresultStatus(result) != status)
        die(what, PQresultErrorMessage(result), PQresStatus(status));
    if (value)
        check(PQgetvalue(result, 0, 0), value, what);
    else
        checks++;
    PQclear(result);
}

static void expect_error(PGresult *result, const char *sqlstate, const char *what)
{
    const char *got = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    check(got ? got : PQresStatus(PQresultStatus(result)), sqlstate, what);
    PQclear(result);
}

/* The next result of a pipeline, and the end of its statement. */
static PGresult *next_of_pipeline(PGconn *connection)
{
    PGresult *result = PQgetResult(connection);
    PGresult *end = PQgetResult(connection);
    if (end)
        die("the end of a statement", PQresStatus(PQresultStatus(end)), "nothing");
    return result;
}

static void send_number(PGconn *connection, const char *sql, long number)
{
    char text[32];
    const char *values[1] = {text};
    snprintf(text, sizeof text, "%ld", number);
    if (!PQsendQueryParams(connection, sql, 1, NULL, values, NULL, NULL, 0))
        die("sending", PQerrorMessage(connection), sql);
}

static void start_pipeline(PGconn *connection, long place)
{
    check_number(PQenterPipelineMode(connection), 1, "PQenterPipelineMode");
    for (long n = 0; n < PIPELINE; n++)
        send_number(connection, "SELECT $1::int8 * 2", place + n);
    send_number(connection, "INSERT INTO item (owner, value) VALUES ($1, 1)", place);
    send_number(connection, "SELECT count(*) FROM item WHERE owner = $1", place);
    check_number(PQpipelineSync(connection), 1, "PQpipelineSync");
    /* A second pipeline behind it, which fails in its middle. */
    send_number(connection, "INSERT INTO item (owner, value) VALUES ($1, 2)", place);
    send_number(connection, "SELECT 1 / ($1::int8 - $1::int8)", place);
    send_number(connection, "INSERT INTO item (owner, value) VALUES ($1, 4)", place);
    check_number(PQpipelineSync(connection), 1, "PQpipelineSync");
    send_number(connection, "SELECT sum(value) FROM item WHERE owner = $1", place);
    check_number(PQpipelineSync(connection), 1, "PQpipelineSync");
}

static void finish_pipeline(PGconn *connection, long place)
{
    for (long n = 0; n < PIPELINE; n++) {
        char want[32];
        snprintf(want, sizeof want, "%ld", (place + n) * 2);
        expect(next_of_pipeline(connection), PGRES_TUPLES_OK, want, "of a pipeline");
    }
    expect(next_of_pipeline(connection), PGRES_COMMAND_OK, NULL, "INSERT in a pipeline");
    expect(next_of_pipeline(connection), PGRES_TUPLES_OK, "1", "own write in a pipeline");
    expect(PQgetResult(connection), PGRES_PIPELINE_SYNC, NULL, "the first Sync");
    expect(next_of_pipeline(connection), PGRES_COMMAND_OK, NULL, "INSERT before an error");
    expect_error(next_of_pipeline(connection), "22012", "an error in a pipeline");
    expect(next_of_pipeline(connection), PGRES_PIPELINE_ABORTED, NULL, "after the error");
    expect(PQgetResult(connection), PGRES_PIPELINE_SYNC, NULL, "the second Sync");
    expect(next_of_pipeline(connection), PGRES_TUPLES_OK, "1", "the failed pipeline has left nothing");
    expect(PQgetResult(connection), PGRES_PIPELINE_SYNC, NULL, "the third Sync");
    check_number(PQexitPipelineMode(connection), 1, "PQexitPipelineMode");
}

static void prepared(PGconn *connection, long place)
{
    char text[32];
    const char *values[1] = {text};
    /* All connections use the same names, for different texts. */
    snprintf(text, sizeof text, "SELECT %ld + $1::int8", place);
    expect(PQprepare(connection, "sum", text, 0, NULL), PGRES_COMMAND_OK, NULL, "PQprepare");
    for (long n = 0; n < 5; n++) {
        char want[32];
        snprintf(text, sizeof text, "%ld", n);
        snprintf(want, sizeof want, "%ld", place + n);
        expect(PQexecPrepared(connection, "sum", 1, values, NULL, NULL, 0), PGRES_TUPLES_OK, want, "PQexecPrepared");
        expect(PQexec(connection, "SELECT 'between'"), PGRES_TUPLES_OK, "between", "between");
    }
    PGresult *described = PQdescribePrepared(connection, "sum");
    check_number(PQnparams(described), 1, "parameters");
    check_number(PQparamtype(described, 0), 20, "the parameter's type");
    PQclear(described);
    expect_error(PQprepare(connection, "sum", "SELECT 1", 0, NULL), "42P05", "a name twice");
    expect(PQexec(connection, "DEALLOCATE sum"), PGRES_COMMAND_OK, NULL, "DEALLOCATE");
    expect_error(PQexecPrepared(connection, "sum", 1, values, NULL, NULL, 0), "26000", "after DEALLOCATE");
}

static void row_by_row(PGconn *connection)
{
    long sum = 0;
    PGresult *result;
    check_number(PQsendQuery(connection, "SELECT generate_series(1, 500)"), 1, "PQsendQuery");
    check_number(PQsetSingleRowMode(connection), 1, "PQsetSingleRowMode");
    while ((result = PQgetResult(connection)) != NULL) {
        if (PQresultStatus(result) == PGRES_SINGLE_TUPLE)
            sum += atol(PQgetvalue(result, 0, 0));
        PQclear(result);
    }
    check_number(sum, 125250, "rows one by one");
}

static void copy(PGconn *connection, long place)
{
    char line[64];
    char *got;
    long sum = 0;
    expect(PQexec(connection, "COPY item (owner, value) FROM STDIN"), PGRES_COPY_IN, NULL, "COPY FROM");
    for (long n = 0; n < 200; n++) {
        int length = snprintf(line, sizeof line, "%ld\t%ld\n", -place - 1, n);
        check_number(PQputCopyData(connection, line, length), 1, "PQputCopyData");
    }
    check_number(PQputCopyEnd(connection, NULL), 1, "PQputCopyEnd");
    expect(PQgetResult(connection), PGRES_COMMAND_OK, NULL, "copied");
    PQclear(PQgetResult(connection));
    snprintf(line, sizeof line, "COPY (SELECT value FROM item WHERE owner = %ld) TO STDOUT", -place - 1);
    expect(PQexec(connection, line), PGRES_COPY_OUT, NULL, "COPY TO");
    while (PQgetCopyData(connection, &got, 0) > 0) {
        sum += atol(got);
        PQfreemem(got);
    }
    check_number(sum, 19900, "what was copied");
    PQclear(PQgetResult(connection));
    PQclear(PQgetResult(connection));
    expect(PQexec(connection, "COPY item (owner, value) FROM STDIN"), PGRES_COPY_IN, NULL, "COPY FROM");
    check_number(PQputCopyEnd(connection, "given up"), 1, "PQputCopyEnd");
    expect_error(PQgetResult(connection), "57014", "a COPY given up");
    PQclear(PQgetResult(connection));
}

/* Whether there is something to read within this time. */
static int hears_something(PGconn *connection, int milliseconds)
{
    struct pollfd socket = {.fd = PQsocket(connection), .events = POLLIN};
    if (poll(&socket, 1, milliseconds) > 0)
        PQconsumeInput(connection);
    return !PQisBusy(connection);
}

static void cancel(PGconn *connection)
{
    char error[256];
    PGcancel *key = PQgetCancel(connection);
    check_number(PQsendQuery(connection, "SELECT pg_sleep(30)"), 1, "PQsendQuery");
    /* A request that comes before the statement has begun cancels nothing. */
    do {
        if (!PQcancel(key, error, sizeof error))
            die("PQcancel", error, "a request");
    } while (!hears_something(connection, CANCEL_AGAIN_MILLISECONDS));
    expect_error(PQgetResult(connection), "57014", "a cancelled statement");
    PQclear(PQgetResult(connection));
    PQfreeCancel(key);
    expect(PQexec(connection, "SELECT 7"), PGRES_TUPLES_OK, "7", "after a cancel");
}

static void target_session_attributes(void)
{
    const char *accepted[] = {"any", "read-write", "primary", "prefer-standby"};
    const char *refused[] = {"read-only", "standby"};
    char parameters[128];
    for (size_t n = 0; n < sizeof accepted / sizeof *accepted; n++) {
        snprintf(parameters, sizeof parameters, "target_session_attrs=%s", accepted[n]);
        PGconn *other = connection(parameters);
        expect(PQexec(other, "SHOW transaction_read_only"), PGRES_TUPLES_OK, "off", accepted[n]);
        check(PQparameterStatus(other, "in_hot_standby"), "off", accepted[n]);
        PQfinish(other);
    }
    for (size_t n = 0; n < sizeof refused / sizeof *refused; n++) {
        snprintf(parameters, sizeof parameters, "target_session_attrs=%s", refused[n]);
        PGconn *other = PQconnectdb(parameters);
        check_number(PQstatus(other), CONNECTION_BAD, refused[n]);
        PQfinish(other);
    }
    PGconn *reader = connection("target_session_attrs=read-only options='-c default_transaction_read_only=on'");
    expect(PQexec(reader, "SELECT count(*) FROM place"), PGRES_TUPLES_OK, "1", "a read-only session");
    expect_error(PQexec(reader, "INSERT INTO place VALUES ('no')"), "25006", "a read-only session");
    PQfinish(reader);
}

static void prepare(void)
{
    PGconn *owner = connection("");
    expect(PQexec(owner, "CREATE TABLE item (id bigserial PRIMARY KEY, owner int8, value int8);"
                         "CREATE TABLE place AS SELECT 'here'::text AS name"),
           PGRES_COMMAND_OK, NULL, "tables");
    PQfinish(owner);
}

static void work(void)
{
    long workers = setting("DRIVERS_WORKERS", 6), rounds = setting("DRIVERS_ROUNDS", 2);
    PGconn *connections[MOST_WORKERS];
    workers = workers < MOST_WORKERS ? workers : MOST_WORKERS;
    for (long worker = 0; worker < workers; worker++)
        connections[worker] = connection("");
    for (long round = 0; round < rounds; round++) {
        for (long worker = 0; worker < workers; worker++)
            start_pipeline(connections[worker], worker * 100000 + round);
        for (long worker = workers - 1; worker >= 0; worker--)
            finish_pipeline(connections[worker], worker * 100000 + round);
        for (long worker = 0; worker < workers; worker++) {
            prepared(connections[worker], worker * 100000 + round);
            row_by_row(connections[worker]);
            copy(connections[worker], worker * 100000 + round);
            cancel(connections[worker]);
        }
        target_session_attributes();
    }
    for (long worker = 0; worker < workers; worker++)
        PQfinish(connections[worker]);
}

int main(int count, char **arguments)
{
    if (count == 2 && strcmp(arguments[1], "prepare") == 0)
        prepare();
    else
        work();
    printf("libpq %d: %ld answers checked\n", PQlibVersion(), checks);
    return 0;
}
