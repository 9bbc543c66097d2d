--;; a database that keeps a journal
CREATE TABLE journal (what text)
CREATE TABLE item (id int PRIMARY KEY, name text)
INSERT INTO item SELECT n, 'item ' || n FROM generate_series(1, 5) n
CREATE FUNCTION note(text) RETURNS int LANGUAGE sql AS 'INSERT INTO public.journal VALUES ($1) RETURNING 1'

--;; what is seen of temporary schemas
SELECT current_schemas(true)
SELECT pg_my_temp_schema() = 0
CREATE TEMP TABLE passing (a int)
SELECT array_length(current_schemas(true), 1)
SELECT pg_my_temp_schema() = 0
SELECT pg_is_other_temp_schema(pg_my_temp_schema())
DROP TABLE passing

--;; and by who comes next
SELECT 1

--;; settings of every kind
SET TIME ZONE 'Asia/Tokyo'
SELECT extract(timezone FROM now())
SET TIME ZONE LOCAL
SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE
SELECT extract(timezone FROM now())
RESET TIME ZONE
SET XML OPTION DOCUMENT
SELECT '<a/>'::xml
SELECT 'no document'::xml
SET XML OPTION CONTENT
SELECT 'content'::xml
SET bytea_output = escape
SELECT '\x01'::bytea
SET intervalstyle = 'iso_8601'
SELECT interval '1 day'
SET extra_float_digits = -10
SELECT 0.1::float8 + 0.2::float8
SET lc_messages = 'C'
SET client_min_messages = debug1
SET client_min_messages = notice
SET transform_null_equals = on
SELECT NULL = NULL
SET array_nulls = off
SELECT '{NULL}'::text[]
SET backslash_quote = off
SET escape_string_warning = off
SELECT 'a\b'
SET quote_all_identifiers = on
SELECT pg_get_viewdef('pg_user'::regclass) LIKE '%"usename"%'
SET default_text_search_config = 'pg_catalog.german'
SELECT to_tsvector('Häuser'), get_current_ts_config()
SET from_collapse_limit = 1
SET geqo_seed = 0.5
SET enable_seqscan = off
EXPLAIN (COSTS OFF) SELECT * FROM item WHERE id = 1
SET gin_fuzzy_search_limit = 5
SET xmlbinary = hex
SELECT xmlelement(name a, '\x01'::bytea)
SET datestyle = 'SQL, DMY'
SELECT date '2020-02-01'
SET timezone_abbreviations = 'Australia'
SELECT '2020-01-01 00:00 EST'::timestamptz AT TIME ZONE 'UTC'
SET row_security = off
SET check_function_bodies = off
SET default_transaction_deferrable = on
SET statement_timeout = '1min'
SET lock_timeout = 1000
SET idle_in_transaction_session_timeout = '1h'
SET application_name = 'strange'
SELECT current_setting('application_name') = 'strange'
SET session_replication_role = replica
SELECT count(*) FROM item
SET session_replication_role = DEFAULT
SELECT set_config('app.one', '1', false), set_config('app.two', '2', false)
SELECT current_setting('app.one'), current_setting('app.two')
SET app.three.four = 'x'
SELECT current_setting('app.three.four')
SET "App.Case" = 'y'
SELECT current_setting('app.case'), current_setting('APP.CASE')
SET app.list = a, b, 'c d'
SELECT current_setting('app.list')
BEGIN; SET app.one = 'undone'; ROLLBACK
SELECT current_setting('app.one')
RESET ALL
SELECT current_setting('app.one', true), current_setting('app.two', true)

--;; sessions that are read only, and not
SET default_transaction_read_only = on
INSERT INTO journal VALUES ('refused')
SELECT note('refused')
SELECT count(*) FROM journal
SET default_transaction_read_only = off
SELECT note('allowed')
SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE
SELECT count(*) FROM item
SHOW transaction_isolation
SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ
SELECT count(*) FROM item
SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE
SELECT note('allowed again')
SET transaction_read_only = on
SELECT note('alone')
SET transaction_isolation = 'serializable'
SELECT 1

--;; hints that ask for the impossible
/* pgweir: replica */ SELECT note('hinted')
/* pgweir: replica */ INSERT INTO journal VALUES ('hinted')
/* pgweir: replica */ SELECT * FROM item WHERE id = 1 FOR UPDATE
/* pgweir: replica */ SELECT count(*) FROM item
/* pgweir: primary */ SELECT count(*) FROM item
/* pgweir: replica */ CREATE TABLE hinted (a int)
/* pgweir: replica */ SELECT * FROM hinted
/* pgweir: replica */ BEGIN; INSERT INTO journal VALUES ('hinted in a block'); COMMIT
/* pgweir: replica */ SELECT 1; INSERT INTO journal VALUES ('hinted second')
/* pgweir: replica */ EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) INSERT INTO journal VALUES ('hinted analyzed')
/* pgweir: replica */ DO $$ BEGIN PERFORM note('hinted block'); END $$
/* pgweir: replica */ WITH i AS (INSERT INTO journal VALUES ('hinted with') RETURNING 1) SELECT * FROM i
/* pgweir: nowhere */ SELECT 1
SET pgweir.route = 'replica'
SELECT note('told')
INSERT INTO journal VALUES ('told')
SELECT count(*) FROM item
CREATE SEQUENCE told
SELECT nextval('told')
SELECT currval('told')
RESET pgweir.route
SELECT * FROM journal ORDER BY what

--;; notices, warnings and errors
DO $$ BEGIN RAISE NOTICE 'a notice'; RAISE WARNING 'a warning'; END $$
SELECT 1 / 0
SELECT 1 / 0; SELECT note('never')
SELECT note('first'), 1 / (SELECT 0)
SELECT * FROM nowhere
SELECT nowhere(1)
SELECT 'x'::nowhere
SELECT 'x'::int
SELECT item.nowhere FROM item
SELECT no.such.schema.at.all()
SELECT * FROM no_schema.item
SELECT 1 OPERATOR(nowhere.+) 2
SELECT 'a' <~~~> 'b'
SELECT count(*) FROM journal

--;; numbers of transactions, and snapshots
SELECT txid_current_if_assigned() IS NULL, pg_current_xact_id_if_assigned() IS NULL
SELECT txid_current() > 0, pg_current_xact_id() IS NOT NULL
SELECT txid_snapshot_xmin('10:20:10,14,15'), pg_snapshot_xmax('10:20:'), pg_visible_in_snapshot('5', '10:20:')
SELECT txid_current_snapshot() IS NOT NULL, pg_current_snapshot() IS NOT NULL
SELECT txid_status(3), pg_xact_status('3') IS NOT NULL
SELECT age('3'::xid) > 0, mxid_age('1'::xid) >= 0, age(relfrozenxid) > 0 FROM pg_class WHERE relname = 'item'
SELECT age(datfrozenxid) = age(datfrozenxid) FROM pg_database WHERE datname = current_database()
SELECT age(timestamp '2020-01-01'), age(timestamp '2020-01-02', timestamp '2020-01-01')
SELECT pg_export_snapshot() IS NOT NULL
BEGIN ISOLATION LEVEL REPEATABLE READ
SELECT pg_export_snapshot() IS NOT NULL
COMMIT
SELECT pg_last_committed_xact()
SELECT xmin::text::int > 0 FROM item WHERE id = 1
SELECT pg_get_multixact_members('1')
