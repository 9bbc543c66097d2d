--;; a database
CREATE TABLE journal (what text)
CREATE TABLE item (id int PRIMARY KEY, name text)
INSERT INTO item SELECT n, 'item ' || n FROM generate_series(1, 5) n
CREATE UNLOGGED TABLE fleeting AS SELECT 1 AS a
CREATE SEQUENCE counter
CREATE FUNCTION note(text) RETURNS int LANGUAGE sql AS 'INSERT INTO journal VALUES ($1) RETURNING 1'
CREATE FUNCTION tells() RETURNS bool LANGUAGE sql STABLE AS 'SELECT pg_is_in_recovery()'
CREATE FUNCTION survives() RETURNS text LANGUAGE plpgsql AS
 'BEGIN PERFORM nextval(''counter''); RETURN ''drawn''; EXCEPTION WHEN read_only_sql_transaction THEN RETURN ''refused''; END'
CREATE FUNCTION counts(name text) RETURNS bigint LANGUAGE plpgsql AS
 'DECLARE n bigint; BEGIN EXECUTE ''SELECT count(*) FROM '' || name INTO n; RETURN n; END'

--;; an unlogged table
BEGIN READ ONLY
SELECT count(*) FROM fleeting
COMMIT
BEGIN READ ONLY
SELECT count(*) FROM item
SELECT count(*) FROM fleeting
SELECT count(*) FROM item
COMMIT
BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY
SELECT count(*) FROM fleeting
SELECT count(*) FROM item
COMMIT

--;; whether it is a standby
BEGIN READ ONLY
SELECT pg_is_in_recovery()
COMMIT
START TRANSACTION READ ONLY
SELECT 1
SELECT pg_is_in_recovery(), tells()
SHOW in_hot_standby
SHOW transaction_read_only
SELECT current_setting('transaction_read_only'), current_setting('in_hot_standby')
COMMIT

--;; transaction numbers
BEGIN READ ONLY
SELECT txid_current() > 0
SELECT txid_current() = txid_current()
COMMIT
BEGIN READ ONLY
SELECT count(*) FROM item
SELECT pg_current_xact_id() IS NOT NULL, pg_current_xact_id_if_assigned() IS NULL
SELECT pg_current_xact_id_if_assigned() IS NULL
COMMIT

--;; notifications
BEGIN READ ONLY
SELECT pg_notify('a', 'b')
COMMIT
BEGIN READ ONLY
SELECT count(*) FROM item
NOTIFY a, 'c'
COMMIT
BEGIN READ ONLY
LISTEN bell
UNLISTEN *
COMMIT
BEGIN READ ONLY
SELECT 1
LISTEN bell
ROLLBACK
SELECT * FROM pg_listening_channels()

--;; locks
BEGIN READ ONLY
LOCK TABLE item IN SHARE MODE
COMMIT
BEGIN READ ONLY
SELECT 1
LOCK TABLE item
ROLLBACK
BEGIN READ ONLY
LOCK TABLE item IN ACCESS SHARE MODE
SELECT count(*) FROM item
LOCK TABLE item IN EXCLUSIVE MODE NOWAIT
COMMIT
BEGIN READ ONLY
SELECT pg_advisory_lock(7)
SELECT pg_advisory_unlock(7)
COMMIT
BEGIN READ ONLY
SELECT pg_try_advisory_xact_lock(8)
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
COMMIT
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
BEGIN READ ONLY
SELECT id FROM item FOR UPDATE
ROLLBACK
BEGIN READ ONLY
SELECT id FROM item FOR KEY SHARE
ROLLBACK

--;; positions
BEGIN READ ONLY
SELECT pg_current_wal_lsn() IS NOT NULL
COMMIT
BEGIN READ ONLY
SELECT 1
SELECT pg_walfile_name(pg_current_wal_insert_lsn()) IS NOT NULL
SELECT pg_last_wal_replay_lsn() IS NULL
COMMIT

--;; becomes read write
BEGIN READ ONLY
SET TRANSACTION READ WRITE
INSERT INTO journal VALUES ('allowed')
COMMIT
BEGIN READ ONLY
SAVEPOINT s
SET LOCAL transaction_read_only = off
INSERT INTO journal VALUES ('allowed at first')
ROLLBACK TO s
INSERT INTO journal VALUES ('refused again')
ROLLBACK
BEGIN READ ONLY
SELECT 1
SET TRANSACTION READ WRITE
ROLLBACK
BEGIN READ ONLY
SELECT set_config('transaction_read_only', 'off', true)
ROLLBACK
BEGIN READ ONLY
SHOW transaction_isolation
SET TRANSACTION READ WRITE
INSERT INTO journal VALUES ('allowed behind SHOW')
COMMIT
BEGIN READ ONLY
BEGIN READ WRITE
INSERT INTO journal VALUES ('allowed by a second BEGIN')
COMMIT
BEGIN READ ONLY
SELECT 1
BEGIN READ WRITE
ROLLBACK
BEGIN READ ONLY
RESET transaction_read_only
INSERT INTO journal VALUES ('reset')
ROLLBACK
SELECT * FROM journal ORDER BY what

--;; becomes read write by a setting
BEGIN READ ONLY
SET transaction_read_only TO off
INSERT INTO journal VALUES ('allowed again')
COMMIT

--;; becomes of another level
BEGIN READ ONLY
SET TRANSACTION ISOLATION LEVEL SERIALIZABLE
SELECT count(*) FROM item
SHOW transaction_isolation
COMMIT
BEGIN READ ONLY
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ
SHOW transaction_isolation
SELECT count(*) FROM fleeting
COMMIT
BEGIN READ ONLY
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ
SAVEPOINT s
SELECT pg_is_in_recovery()
COMMIT
BEGIN READ ONLY
SELECT 1
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ
ROLLBACK
BEGIN READ ONLY
SELECT 1
SET TRANSACTION ISOLATION LEVEL READ COMMITTED
SELECT count(*) FROM fleeting
ROLLBACK
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY DEFERRABLE
SHOW transaction_deferrable
SELECT txid_current_if_assigned()
COMMIT
BEGIN READ ONLY, DEFERRABLE
SELECT 1
SHOW transaction_deferrable
SELECT pg_is_in_recovery()
COMMIT
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE
SELECT count(*) FROM item
SELECT pg_is_in_recovery()
COMMIT

--;; is prepared
BEGIN READ ONLY
SELECT count(*) FROM item
PREPARE TRANSACTION 'stranger_4'
ROLLBACK PREPARED 'stranger_4'

--;; refuses every write
BEGIN READ ONLY
INSERT INTO journal VALUES ('refused')
SELECT 1
ROLLBACK
BEGIN READ ONLY
SELECT count(*) FROM item
UPDATE item SET name = 'x'
COMMIT
BEGIN READ ONLY
SELECT nextval('counter')
ROLLBACK
BEGIN READ ONLY
SELECT setval('counter', 4)
ROLLBACK
BEGIN READ ONLY
SELECT note('refused')
ROLLBACK
BEGIN READ ONLY
SELECT survives()
SELECT survives()
COMMIT
BEGIN READ ONLY
CREATE TEMP TABLE t (a int)
ROLLBACK
BEGIN READ ONLY
CREATE TABLE made (a int)
ROLLBACK
BEGIN READ ONLY
TRUNCATE item
ROLLBACK
BEGIN READ ONLY
VACUUM item
ROLLBACK
BEGIN READ ONLY
ANALYZE item
ROLLBACK
BEGIN READ ONLY
COPY item FROM STDIN
ROLLBACK
BEGIN READ ONLY
GRANT SELECT ON item TO PUBLIC
ROLLBACK
BEGIN READ ONLY
DO $$BEGIN INSERT INTO journal VALUES ('refused'); END$$
ROLLBACK
BEGIN READ ONLY
DO $$BEGIN PERFORM 1; END$$
SELECT 1
COMMIT
BEGIN READ ONLY
EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) INSERT INTO journal VALUES ('refused')
ROLLBACK
BEGIN READ ONLY
EXPLAIN (COSTS off) INSERT INTO journal VALUES ('explained')
COMMIT
BEGIN READ ONLY
SELECT lo_create(0) > 0
ROLLBACK
BEGIN READ ONLY
REFRESH MATERIALIZED VIEW nowhere
ROLLBACK
BEGIN READ ONLY
CREATE ROLE stranger_read_only
ROLLBACK
BEGIN READ ONLY
CHECKPOINT
COMMIT
SELECT last_value, is_called FROM counter

--;; savepoints and settings go along
BEGIN READ ONLY
SET LOCAL work_mem = '1MB'
SAVEPOINT a
SET LOCAL search_path = nowhere
SAVEPOINT b
SELECT count(*) FROM public.item
SET LOCAL work_mem = '2MB'
ROLLBACK TO b
SELECT pg_is_in_recovery(), current_setting('work_mem'), current_setting('search_path')
SELECT count(*) FROM item
ROLLBACK TO b
RELEASE b
ROLLBACK TO a
SELECT count(*) FROM item
SHOW search_path
COMMIT
SHOW work_mem
BEGIN READ ONLY
SET work_mem = '3MB'
SELECT 1
SELECT txid_current() > 0
COMMIT
SHOW work_mem
RESET work_mem
BEGIN READ ONLY
SELECT set_config('app.tenant', 'one', true)
SELECT current_setting('app.tenant')
SELECT current_setting('app.tenant'), pg_is_in_recovery()
COMMIT

--;; an error and a savepoint
BEGIN READ ONLY
SAVEPOINT s
SELECT 1/0
SELECT pg_is_in_recovery()
ROLLBACK TO s
SELECT pg_is_in_recovery()
COMMIT
BEGIN READ ONLY
SELECT count(*) FROM item
SAVEPOINT s
SELECT count(*) FROM nowhere
ROLLBACK TO SAVEPOINT s; SELECT count(*) FROM fleeting
COMMIT
BEGIN READ ONLY
SELECT 1/0
COMMIT; SELECT pg_is_in_recovery()

--;; cursors
BEGIN READ ONLY
DECLARE c CURSOR FOR SELECT id FROM item ORDER BY id
FETCH 2 FROM c
MOVE 1 FROM c
FETCH 1 FROM c
CLOSE c
SELECT pg_is_in_recovery()
FETCH 1 FROM c
ROLLBACK
BEGIN READ ONLY
SAVEPOINT s
DECLARE c CURSOR FOR SELECT id FROM item ORDER BY id
DECLARE d CURSOR FOR SELECT id FROM item ORDER BY id
FETCH 2 FROM d
ROLLBACK TO s
SELECT count(*) FROM fleeting
FETCH 1 FROM d
ROLLBACK
BEGIN READ ONLY
DECLARE c SCROLL CURSOR FOR SELECT id FROM item ORDER BY id
DECLARE "D" CURSOR FOR SELECT 1
FETCH LAST FROM c
CLOSE ALL
SELECT txid_current() > 0
COMMIT
BEGIN READ ONLY
DECLARE c CURSOR WITH HOLD FOR SELECT id FROM item ORDER BY id
COMMIT
FETCH 2 FROM c
INSERT INTO journal VALUES ('behind a cursor')
CLOSE c
BEGIN READ ONLY
DECLARE c CURSOR FOR SELECT * FROM fleeting
FETCH c
COMMIT
BEGIN READ ONLY
CLOSE nowhere
ROLLBACK
SELECT * FROM journal ORDER BY what

--;; one text
BEGIN READ ONLY; SELECT count(*) FROM item
SELECT pg_is_in_recovery()
COMMIT
BEGIN READ ONLY; SELECT pg_is_in_recovery(); COMMIT
BEGIN READ ONLY; SELECT count(*) FROM item; COMMIT; INSERT INTO journal VALUES ('behind the end')
BEGIN READ ONLY; SET LOCAL work_mem = '1MB'; SELECT 1
SHOW work_mem
COMMIT
BEGIN ISOLATION LEVEL READ COMMITTED, READ ONLY; SELECT 1; SELECT 2
SAVEPOINT s
SELECT txid_current() > 0
ROLLBACK TO s
COMMIT
BEGIN READ ONLY
SELECT 1; SELECT 2; COMMIT
BEGIN READ ONLY
SELECT 1; COMMIT; INSERT INTO journal VALUES ('behind a commit')
BEGIN READ ONLY
COMMIT; INSERT INTO journal VALUES ('behind an empty one')
BEGIN READ ONLY
SELECT 1
ROLLBACK; BEGIN; INSERT INTO journal VALUES ('behind a rollback'); COMMIT
BEGIN READ ONLY
COMMIT; BEGIN READ ONLY; SELECT count(*) FROM fleeting
INSERT INTO journal VALUES ('refused')
ROLLBACK
BEGIN READ ONLY; SELECT 1/0; SELECT 2
SELECT 3
ROLLBACK
BEGIN READ ONLY; SELECT 1
ROLLBACK AND CHAIN
SHOW transaction_read_only
SELECT count(*) FROM fleeting
COMMIT AND CHAIN
INSERT INTO journal VALUES ('refused in a chain')
ROLLBACK
SELECT * FROM journal ORDER BY what

--;; by default
SET default_transaction_read_only = on
BEGIN
SELECT count(*) FROM item
SELECT count(*) FROM fleeting
COMMIT
BEGIN
SET TRANSACTION READ WRITE
INSERT INTO journal VALUES ('by default')
COMMIT
BEGIN
SELECT pg_is_in_recovery()
COMMIT
BEGIN READ WRITE
INSERT INTO journal VALUES ('read write')
COMMIT
INSERT INTO journal VALUES ('refused')
SELECT count(*) FROM fleeting
RESET default_transaction_read_only
SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, ISOLATION LEVEL REPEATABLE READ
BEGIN
SELECT count(*) FROM fleeting
COMMIT
BEGIN
SHOW transaction_isolation
SELECT count(*) FROM item
COMMIT
SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, ISOLATION LEVEL SERIALIZABLE
BEGIN
SELECT count(*) FROM item
SELECT pg_is_in_recovery()
COMMIT
RESET ALL
SELECT * FROM journal ORDER BY what

--;; by SET TRANSACTION
BEGIN
SET TRANSACTION READ ONLY
SELECT count(*) FROM item
SELECT count(*) FROM fleeting
COMMIT
BEGIN
SET TRANSACTION READ ONLY
SET TRANSACTION READ WRITE
INSERT INTO journal VALUES ('changed its mind')
COMMIT
BEGIN
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY
SELECT pg_is_in_recovery()
SHOW transaction_isolation
COMMIT
BEGIN
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY
SELECT count(*) FROM item
SELECT count(*) FROM item WHERE id > 2
COMMIT
BEGIN
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY
SELECT pg_export_snapshot() IS NOT NULL
COMMIT
BEGIN
SET TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE
SELECT pg_is_in_recovery()
COMMIT
BEGIN
SET transaction_read_only = on
SELECT count(*) FROM fleeting
INSERT INTO journal VALUES ('refused')
ROLLBACK
BEGIN
SAVEPOINT s
SET TRANSACTION READ ONLY
SELECT count(*) FROM fleeting
RELEASE s
INSERT INTO journal VALUES ('behind a release')
COMMIT
SELECT * FROM journal ORDER BY what

--;; prepared statements
PREPARE reads AS SELECT count(*) FROM item
PREPARE tells AS SELECT pg_is_in_recovery()
PREPARE writes AS INSERT INTO journal VALUES ('refused')
BEGIN READ ONLY
EXECUTE reads
EXECUTE tells
EXECUTE reads
COMMIT
BEGIN READ ONLY
EXECUTE writes
ROLLBACK
BEGIN READ ONLY
SELECT 1
PREPARE inside AS SELECT pg_is_in_recovery()
EXECUTE inside
ROLLBACK
EXECUTE inside
BEGIN READ ONLY
SELECT 1
DEALLOCATE inside
EXECUTE inside
ROLLBACK
SELECT name FROM pg_prepared_statements ORDER BY name
DEALLOCATE ALL

--;; text that is run
BEGIN READ ONLY
SELECT counts('item')
SELECT counts('fleeting')
COMMIT
BEGIN READ ONLY
SELECT 1
SELECT counts('fleeting')
COMMIT
BEGIN READ ONLY
SELECT query_to_xml('SELECT pg_is_in_recovery()', false, false, '')
COMMIT

--;; pipelines
\pipe BEGIN READ ONLY \; SELECT count(*) FROM item
SELECT count(*) FROM fleeting
COMMIT
\pipe BEGIN READ ONLY \; SELECT count(*) FROM fleeting
SELECT count(*) FROM item
COMMIT
\pipe BEGIN READ ONLY \; SELECT count(*) FROM item \; COMMIT
\pipe BEGIN READ ONLY \; SELECT count(*) FROM item \; COMMIT \; INSERT INTO journal VALUES ('behind a pipeline')
\pipe BEGIN READ ONLY
\pipe SELECT 1 \; SELECT pg_is_in_recovery()
\pipe SELECT 2 \; COMMIT
\pipe BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY
\run [] SELECT count(*) FROM fleeting
\run [] SELECT count(*) FROM item
\run [] COMMIT
\pipe BEGIN READ ONLY \; SELECT 1 \; SELECT 1/0 \; SELECT 2
SELECT pg_is_in_recovery()
ROLLBACK
\parse begins BEGIN READ ONLY
\parse standby SELECT pg_is_in_recovery()
\parse items SELECT count(*) FROM item WHERE id > $1
\bind begins []
\bind items [2]
\bind standby []
\bind items [3]
ROLLBACK
\bind begins []
\bind standby []
COMMIT
\run [] BEGIN READ ONLY
\run [v] SELECT set_config('app.tenant', $1, true)
\run [] SELECT current_setting('app.tenant')
\run [] COMMIT
\pipe BEGIN \; SET TRANSACTION READ ONLY \; SELECT count(*) FROM fleeting
INSERT INTO journal VALUES ('refused')
ROLLBACK
\pipe SELECT 1 \; BEGIN READ ONLY \; SELECT 2
SELECT count(*) FROM item
COMMIT
SELECT * FROM journal ORDER BY what

--;; temporary objects
CREATE TEMP TABLE own (a int)
CREATE TEMP SEQUENCE own_counter
BEGIN READ ONLY
INSERT INTO own VALUES (1)
SELECT nextval('own_counter')
SELECT count(*), pg_is_in_recovery() FROM own
SELECT nextval('counter')
ROLLBACK
DROP TABLE own
DROP SEQUENCE own_counter
BEGIN READ ONLY
SELECT count(*) FROM own
ROLLBACK

--;; roles and what is asked of the session
BEGIN READ ONLY
SET LOCAL ROLE pg_monitor
SELECT current_user
SELECT current_user, pg_is_in_recovery()
RESET ROLE
SELECT current_user = session_user
COMMIT
BEGIN READ ONLY
SET CONSTRAINTS ALL DEFERRED
SELECT 1
SELECT txid_current() > 0
DISCARD PLANS
DISCARD ALL
ROLLBACK
BEGIN READ ONLY
UNLISTEN *
SELECT lastval()
ROLLBACK
BEGIN READ ONLY
SELECT currval('counter')
ROLLBACK
SELECT nextval('counter')
BEGIN READ ONLY
SELECT 1
SELECT currval('counter'), lastval()
COMMIT

--;; ends that are none
COMMIT
BEGIN READ ONLY
BEGIN READ ONLY
SELECT 1
START TRANSACTION
SELECT count(*) FROM fleeting
COMMIT
ROLLBACK
BEGIN READ ONLY
COMMIT
BEGIN READ ONLY
ROLLBACK
BEGIN READ ONLY
SAVEPOINT s
RELEASE nowhere
ROLLBACK TO s
END
