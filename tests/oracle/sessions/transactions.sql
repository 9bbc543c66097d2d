--;; a database that keeps a journal
CREATE TABLE journal (what text)
CREATE TABLE item (id int PRIMARY KEY, name text)
INSERT INTO item SELECT n, 'item ' || n FROM generate_series(1, 5) n
CREATE UNLOGGED TABLE fleeting AS SELECT 1 AS a
CREATE FUNCTION note(text) RETURNS int LANGUAGE sql AS 'INSERT INTO journal VALUES ($1) RETURNING 1'

--;; read only
BEGIN READ ONLY
SELECT count(*) FROM item
INSERT INTO journal VALUES ('refused')
SELECT 1
ROLLBACK
BEGIN READ ONLY
SELECT note('refused')
ROLLBACK
BEGIN TRANSACTION READ ONLY, ISOLATION LEVEL REPEATABLE READ
SELECT count(*) FROM item
SELECT nextval('nowhere')
COMMIT
START TRANSACTION READ ONLY
SELECT count(*) FROM nowhere
COMMIT
BEGIN READ ONLY
SHOW transaction_read_only
COMMIT
UNLISTEN *
BEGIN READ ONLY
SELECT pg_advisory_xact_lock(1)
COMMIT
BEGIN READ ONLY
CREATE TEMP TABLE own (a int)
ROLLBACK
CREATE TEMP TABLE own (a int)
BEGIN READ ONLY
INSERT INTO own VALUES (1)
SELECT count(*) FROM own
COMMIT
DROP TABLE own
BEGIN READ ONLY
SELECT * FROM item WHERE id = 1 FOR UPDATE
ROLLBACK
BEGIN READ ONLY; SELECT count(*) FROM item; SELECT pg_is_in_recovery(); COMMIT

--;; modes set after the beginning
BEGIN
SET TRANSACTION READ ONLY
SELECT count(*) FROM item
INSERT INTO journal VALUES ('refused')
ROLLBACK
BEGIN READ ONLY
SELECT 1
SET TRANSACTION READ WRITE
ROLLBACK
BEGIN
SELECT 1
SET TRANSACTION READ ONLY
SELECT 1
INSERT INTO journal VALUES ('refused')
ROLLBACK
BEGIN
SET transaction_read_only = on
SELECT count(*) FROM item
COMMIT
SET transaction_read_only TO off
SET TRANSACTION READ WRITE
SET TRANSACTION READ ONLY
INSERT INTO journal VALUES ('not bound')
SET LOCAL transaction_read_only = on
SELECT set_config('transaction_read_only', 'on', false)
SELECT set_config('transaction_read_only', 'off', false)
BEGIN
SELECT set_config('transaction_read_only', 'on', true)
INSERT INTO journal VALUES ('refused')
ROLLBACK
BEGIN READ ONLY
SAVEPOINT a
SET TRANSACTION READ WRITE
ROLLBACK TO a
SELECT 1
COMMIT
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE
SELECT count(*) FROM item
COMMIT
BEGIN ISOLATION LEVEL SERIALIZABLE
INSERT INTO journal VALUES ('serializable')
COMMIT
BEGIN READ ONLY
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ
SHOW transaction_isolation
SELECT count(*) FROM item
COMMIT
RESET transaction_isolation
BEGIN READ ONLY DEFERRABLE
SHOW transaction_deferrable
COMMIT

--;; modes of sessions
SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY
SELECT count(*) FROM item
SHOW default_transaction_read_only
INSERT INTO journal VALUES ('refused')
BEGIN
SELECT count(*) FROM item
INSERT INTO journal VALUES ('refused')
ROLLBACK
BEGIN READ WRITE
INSERT INTO journal VALUES ('read write')
COMMIT
SELECT note('refused')
SELECT txid_current() > 0
SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE
INSERT INTO journal VALUES ('again')
SET default_transaction_read_only = on
SELECT count(*) FROM item
INSERT INTO journal VALUES ('refused')
CREATE TABLE refused (a int)
SET default_transaction_read_only = off
SET default_transaction_isolation = 'serializable'
SELECT count(*) FROM item
SHOW transaction_isolation
BEGIN READ ONLY
SELECT count(*) FROM item
COMMIT
INSERT INTO journal VALUES ('serializable')
RESET default_transaction_isolation
SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY
SELECT count(*) FROM item
BEGIN ISOLATION LEVEL READ COMMITTED
SELECT count(*) FROM item
COMMIT
RESET ALL
SHOW transaction_isolation
BEGIN; SET default_transaction_read_only = on; ROLLBACK
INSERT INTO journal VALUES ('rolled back default')
BEGIN
SET LOCAL default_transaction_read_only = on
COMMIT
INSERT INTO journal VALUES ('local default')

--;; a role whose transactions are read only
CREATE ROLE stranger_reads LOGIN SUPERUSER
ALTER ROLE stranger_reads SET default_transaction_read_only = on
SET SESSION AUTHORIZATION stranger_reads
SHOW default_transaction_read_only
INSERT INTO journal VALUES ('authorized')
RESET SESSION AUTHORIZATION
DROP ROLE stranger_reads

--;; savepoints
BEGIN
INSERT INTO journal VALUES ('kept')
SAVEPOINT a
INSERT INTO journal VALUES ('lost')
SELECT 1/0
SELECT 1
ROLLBACK TO a
SELECT count(*) FROM journal WHERE what = 'lost'
SAVEPOINT a
RELEASE a
ROLLBACK TO SAVEPOINT a
RELEASE SAVEPOINT nowhere
ROLLBACK TO a
COMMIT
SELECT count(*) FROM journal WHERE what = 'kept'
SAVEPOINT outside
ROLLBACK TO outside
RELEASE outside
BEGIN
SAVEPOINT "Quoted Point"
SET LOCAL work_mem = '1MB'
ROLLBACK TO "Quoted Point"
SHOW work_mem
COMMIT AND CHAIN
SELECT 1
ROLLBACK AND CHAIN
INSERT INTO journal VALUES ('chained')
COMMIT
COMMIT AND CHAIN
BEGIN READ ONLY
SELECT 1
COMMIT AND CHAIN
SHOW transaction_read_only
INSERT INTO journal VALUES ('refused in chain')
ROLLBACK
BEGIN
BEGIN
COMMIT
COMMIT
ABORT
END
BEGIN WORK
END WORK
BEGIN
SELECT nowhere
COMMIT
SELECT count(*) FROM journal WHERE what = 'chained'

--;; two phases
BEGIN
INSERT INTO journal VALUES ('prepared')
PREPARE TRANSACTION 'stranger_1'
SELECT gid FROM pg_prepared_xacts WHERE gid = 'stranger_1'
SELECT count(*) FROM journal WHERE what = 'prepared'
COMMIT PREPARED 'stranger_1'
SELECT count(*) FROM journal WHERE what = 'prepared'
BEGIN
CREATE OR REPLACE FUNCTION two_phase() RETURNS int LANGUAGE sql AS 'SELECT note(''two phase'')'
PREPARE TRANSACTION 'stranger_2'
SELECT two_phase()
COMMIT PREPARED 'stranger_2'
SELECT two_phase()
BEGIN
SELECT 1
PREPARE TRANSACTION 'stranger_3'
ROLLBACK PREPARED 'stranger_3'
ROLLBACK PREPARED 'stranger_3'

--;; definitions in transactions
BEGIN
CREATE FUNCTION brief() RETURNS int LANGUAGE sql AS 'SELECT note(''brief'')'
SELECT brief()
ROLLBACK
SELECT brief()
CREATE FUNCTION brief() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 0'
SELECT brief()
BEGIN
CREATE OR REPLACE FUNCTION brief() RETURNS int LANGUAGE sql AS 'SELECT note(''brief again'')'
SAVEPOINT a
DROP FUNCTION brief()
ROLLBACK TO a
COMMIT
SELECT brief()
BEGIN; CREATE OR REPLACE FUNCTION brief() RETURNS int LANGUAGE sql AS 'SELECT 1'; ROLLBACK
SELECT brief()
SELECT set_config('app.a', 'outside', false)
SELECT current_setting('app.a')
SET app.a = 'said'
SELECT current_setting('app.a') FROM item WHERE id = 1
BEGIN
SET LOCAL app.a = 'local'
SELECT current_setting('app.a') FROM item WHERE id = 1
COMMIT
SELECT current_setting('app.a') FROM item WHERE id = 1
BEGIN
SET CONSTRAINTS ALL DEFERRED
COMMIT
CREATE TABLE deferring (a int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)
BEGIN
INSERT INTO deferring VALUES (1), (1)
SELECT count(*) FROM deferring
COMMIT
SELECT count(*) FROM deferring
SELECT * FROM journal ORDER BY what

--;; settings that change answers
SET TimeZone = 'Asia/Tokyo'
SELECT '2020-01-01 00:00+00'::timestamptz
SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE
SELECT '2020-01-01 00:00+00'::timestamptz
SET TIME ZONE LOCAL
SET TIME ZONE -7
SELECT '2020-01-01 00:00+00'::timestamptz FROM item WHERE id = 1
SET DateStyle = 'German'
SELECT date '2020-02-01'
SET IntervalStyle = 'iso_8601'
SELECT interval '1 day 2 hours'
SET bytea_output = 'escape'
SELECT '\x6162'::bytea
SET extra_float_digits = -4
SELECT 0.1::float8 + 0.2
SET transform_null_equals = on
SELECT count(*) FROM item WHERE name = NULL
SET lc_monetary = 'C'
SELECT 12.3::numeric::money
SET xmlbinary = 'hex'
SELECT xmlelement(name a, '\x6162'::bytea)
SET array_nulls = off
SELECT '{NULL}'::text[]
SET quote_all_identifiers = on
SELECT quote_ident('a'), pg_get_viewdef('pg_user'::regclass) IS NOT NULL
SET backslash_quote = off
SET escape_string_warning = off
SET standard_conforming_strings = off
SELECT 'a\'b'
SELECT 'a\\b', E'a\\b'
RESET standard_conforming_strings
SET default_text_search_config = 'pg_catalog.simple'
SELECT to_tsvector('the cats')
SET statement_timeout = '10min'
SET row_security = on
SET search_path = public
SET client_min_messages = 'error'
SET enable_seqscan = off
SET geqo = off
SET session_replication_role = 'replica'
INSERT INTO journal VALUES ('replica role')
SHOW session_replication_role
RESET ALL
SELECT date '2020-02-01', interval '1 day 2 hours'
SET LOCAL DateStyle = 'SQL'
SELECT date '2020-02-01'
SET nowhere = 1
SET work_mem = 'much'
SET app.x = 1
SELECT current_setting('app.x'), current_setting('app.never', true)
SELECT current_setting('app.never_either')
SELECT set_config('DateStyle', 'SQL', false), date '2020-02-01'
SELECT date '2020-02-01'
SET DateStyle TO DEFAULT
SELECT date '2020-02-01'
