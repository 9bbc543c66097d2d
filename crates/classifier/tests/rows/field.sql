--;; write row_lock
SELECT * FROM (SELECT * FROM t FOR UPDATE) x
--;; write row_lock
SELECT * FROM t FOR NO KEY UPDATE SKIP LOCKED
--;; write row_lock
SELECT * FROM t FOR SHARE OF t NOWAIT
--;; write row_lock
SELECT * FROM t FOR KEY SHARE
--;; write row_lock
SELECT 1 WHERE EXISTS (SELECT 1 FROM t FOR UPDATE)
--;; write row_lock
WITH x AS (SELECT * FROM t FOR UPDATE) SELECT * FROM x
--;; write row_lock
SELECT 1 UNION ALL (SELECT id FROM t FOR SHARE)
--;; write row_lock
VALUES ((SELECT id FROM t LIMIT 1 FOR UPDATE))
--;; write row_lock
SELECT 1 ORDER BY (SELECT id FROM t LIMIT 1 FOR UPDATE)
--;; write row_lock
SELECT 1 LIMIT (SELECT id FROM t LIMIT 1 FOR UPDATE)
--;; write row_lock
SELECT sum(1) OVER (ORDER BY (SELECT id FROM t LIMIT 1 FOR UPDATE))
--;; write row_lock
SELECT count(*) FILTER (WHERE EXISTS (SELECT 1 FROM t FOR UPDATE)) FROM u
--;; write row_lock
SELECT CASE WHEN true THEN (SELECT id FROM t LIMIT 1 FOR UPDATE) END
--;; write row_lock
SELECT ARRAY(SELECT id FROM t FOR UPDATE)
--;; write row_lock
SELECT * FROM u JOIN t ON EXISTS (SELECT 1 FROM t FOR UPDATE)
--;; write row_lock
SELECT * FROM u, LATERAL (SELECT * FROM t WHERE t.id = u.id FOR UPDATE) x
--;; write data_modifying_cte
WITH x AS (INSERT INTO t VALUES (1) RETURNING *) SELECT * FROM x
--;; write data_modifying_cte
WITH x AS (UPDATE t SET id = 1) SELECT 1
--;; write data_modifying_cte
WITH a AS (SELECT 1), x AS (DELETE FROM t RETURNING *) SELECT * FROM a
--;; write data_modifying_cte
WITH a AS (WITH b AS (DELETE FROM t RETURNING *) SELECT * FROM b) SELECT * FROM a
--;; write select_into
SELECT * INTO n FROM t
--;; write select_into pin(temporary_object:n)
SELECT * INTO TEMP n FROM t
--;; write select_into pin(temporary_object:n)
SELECT 1 INTO LOCAL TEMPORARY TABLE n
--;; write select_into pin(temporary_object:n)
SELECT 1 INTO pg_temp.n
--;; write select_into pin(temporary_object:n)
SELECT 1 INTO TEMP n UNION SELECT 2
--;; write unknown_function hidden_code
SELECT audit(1)
--;; write unknown_function hidden_code
SELECT app.audit(1)
--;; write write_function
SELECT pg_notify('a', 'b')
--;; write write_function
SELECT pg_catalog.pg_notify('a', 'b')
--;; write unknown_function hidden_code
SELECT create_distributed_table('t', 'id')
--;; read harmless varies
SELECT random(), gen_random_uuid()
--;; primary server_function pin(advisory_lock)
SELECT pg_advisory_lock(1)
--;; primary server_function pin(advisory_lock)
SELECT pg_advisory_lock(hashtext('a'))
--;; primary server_function pin(advisory_lock)
SELECT pg_catalog.pg_try_advisory_lock_shared(1, 2)
--;; primary server_function pin(advisory_lock)
SELECT pg_advisory_lock(id) FROM t
--;; primary server_function
SELECT pg_advisory_xact_lock($1)
--;; primary server_function
SELECT pg_try_advisory_xact_lock_shared(1)
--;; write copy_from
COPY t FROM STDIN
--;; write data_modification
COPY (INSERT INTO t VALUES (1) RETURNING id) TO STDOUT
--;; neutral transaction_control begin(serializable,ro)
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY
--;; neutral session_setting session_characteristics(ro) exact
SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY
--;; write utility pin(temporary_object:x)
CREATE TEMP TABLE x (a int)
--;; write write_function
SELECT txid_current()
--;; write write_function
SELECT pg_current_xact_id()
--;; write utility
ALTER SYSTEM RESET ALL
--;; write utility
CHECKPOINT
--;; write write_function
SELECT pg_stat_reset()
--;; write write_function
SELECT pg_reload_conf()
--;; write write_function
SELECT pg_create_physical_replication_slot('a')
--;; write write_function
SELECT lo_create(0)
--;; write utility
EXPLAIN ANALYZE CREATE TABLE x AS SELECT 1
--;; write write_function
SELECT brin_summarize_new_values('i')
--;; write write_function
SELECT pg_wal_replay_resume()
--;; primary sequence_state
SELECT last_value FROM s
--;; primary sequence_state
SELECT is_called FROM app.counter
--;; primary sequence_state
SELECT * FROM t_id_seq
--;; primary sequence_state
SELECT * FROM app.t_id_seq
--;; primary server_relation
SELECT * FROM pg_stat_activity
--;; primary server_relation
SELECT * FROM pg_prepared_xacts
--;; read harmless
SELECT * FROM t FOR READ ONLY
--;; read harmless
EXPLAIN INSERT INTO t VALUES (1)
--;; read harmless
EXPLAIN UPDATE t SET id = 1
--;; read harmless
SELECT 'it''s \' AS a, 'DELETE' AS b
--;; read harmless
SELECT '/*' AS a, '*/' AS b, '--' AS c
--;; read harmless
SELECT 1 AS a$x$, 2 AS b$x$
--;; read harmless
SELECT 1 AS U&"d\0061t\+000061"
--;; read harmless
SELECT 1 /* DELETE FROM t; */ -- DELETE FROM t
--;; read harmless
SELECT $$; DELETE FROM t; $$, $x$ $$ $x$
--;; write data_modification
SELECT 1 /* /* nested */ still */; DELETE FROM t
--;; read harmless
SELECT "delete" FROM (SELECT 1 AS "delete", 2 AS "for update") x
--;; write data_modification
/* SELECT */ DELETE FROM t
--;; write data_modification
-- SELECT
DELETE FROM t
