--;; read harmless
EXPLAIN SELECT * FROM t
--;; read harmless
EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) SELECT * FROM t
--;; read harmless
EXPLAIN VERBOSE SELECT 1
--;; read harmless varies
EXPLAIN ANALYZE SELECT * FROM t
--;; read harmless exact varies
EXPLAIN (ANALYZE true, BUFFERS) SELECT * FROM t
--;; read harmless
EXPLAIN DELETE FROM t
--;; read harmless
EXPLAIN WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x
--;; read harmless
EXPLAIN SELECT * FROM t FOR UPDATE
--;; read harmless
EXPLAIN CREATE TABLE x AS SELECT 1
--;; read harmless
EXPLAIN SELECT * INTO x FROM t
--;; read harmless
EXPLAIN DECLARE c CURSOR FOR SELECT 1
--;; read harmless
EXPLAIN MERGE INTO t USING u ON t.id = u.t_id WHEN MATCHED THEN DELETE
--;; write data_modification
EXPLAIN ANALYZE DELETE FROM t
--;; write data_modification
EXPLAIN (ANALYZE) INSERT INTO t VALUES (1)
--;; write data_modification
EXPLAIN ANALYZE VERBOSE UPDATE t SET id = 1
--;; write row_lock
EXPLAIN ANALYZE SELECT * FROM t FOR UPDATE
--;; write data_modification exact
EXPLAIN (ANALYZE on) DELETE FROM t
--;; write data_modification exact
EXPLAIN (ANALYZE 1) DELETE FROM t
--;; write data_modification exact
EXPLAIN (ANALYZE 'true') DELETE FROM t
--;; read harmless exact
EXPLAIN (ANALYZE 'off') DELETE FROM t
--;; read harmless exact
EXPLAIN (ANALYZE OFF) DELETE FROM t
--;; read harmless exact
EXPLAIN (ANALYZE 0) DELETE FROM t
--;; read harmless exact
EXPLAIN (ANALYZE, ANALYZE false) DELETE FROM t
--;; write data_modification exact
EXPLAIN (ANALYZE false, ANALYZE) DELETE FROM t
--;; write data_modification exact
EXPLAIN (ANALYZE maybe) DELETE FROM t
--;; write data_modification exact
EXPLAIN ("analyze" on) DELETE FROM t
--;; write unknown_function
EXPLAIN SELECT my_function()
--;; write unknown_function hidden_code
EXPLAIN ANALYZE SELECT my_function()
--;; primary server_function
EXPLAIN SELECT pg_advisory_lock(1)
--;; primary server_function pin(advisory_lock)
EXPLAIN ANALYZE SELECT pg_advisory_lock(1)
--;; primary sql_execute plan(p)
EXPLAIN EXECUTE p
--;; primary sql_execute execute(p)
EXPLAIN ANALYZE EXECUTE p (lower('A'))
--;; write write_function uses_sequence plan(p)
EXPLAIN EXECUTE p (nextval('s'))
--;; write utility pin(temporary_object:x)
EXPLAIN ANALYZE CREATE TEMP TABLE x AS SELECT 1
--;; neutral harmless route[read,harmless] exact
EXPLAIN (ROUTE) SELECT 1
--;; neutral harmless route[write,data_modification] exact
explain ( route ) DELETE FROM t;
--;; neutral harmless route[neutral,transaction_control,begin()] exact
/* why */ EXPLAIN (ROUTE) BEGIN
--;; neutral harmless route[write,unparsable] exact
EXPLAIN (ROUTE) SELEC 1
--;; neutral harmless route[neutral,empty] exact
EXPLAIN (ROUTE)
--;; read harmless
COPY t TO STDOUT
--;; read harmless
COPY t (id, name) TO STDOUT WITH (FORMAT csv, HEADER)
--;; read harmless
COPY (SELECT * FROM t) TO STDOUT
--;; read harmless
COPY (VALUES (1)) TO STDOUT
--;; write row_lock
COPY (SELECT * FROM t FOR UPDATE) TO STDOUT
--;; write unknown_function hidden_code
COPY (SELECT my_function()) TO STDOUT
--;; primary server_relation
COPY pg_stat_activity TO STDOUT
--;; primary copy_to_server
COPY t TO '/tmp/x'
--;; primary copy_to_server
COPY (SELECT 1) TO PROGRAM 'cat'
--;; write copy_from
COPY t FROM '/tmp/x'
--;; write copy_from
COPY t FROM PROGRAM 'cat' WHERE id > 1
--;; write copy_from
COPY t (id) FROM STDIN (FORMAT binary)
--;; write data_modification
COPY (DELETE FROM t RETURNING *) TO STDOUT
