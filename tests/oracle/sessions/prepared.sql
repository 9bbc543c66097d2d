--;; a database that keeps a journal
CREATE TABLE journal (what text)
CREATE TABLE item (id int PRIMARY KEY, name text)
INSERT INTO item SELECT n, 'item ' || n FROM generate_series(1, 5) n
CREATE FUNCTION note(text) RETURNS int LANGUAGE sql AS 'INSERT INTO journal VALUES ($1) RETURNING 1'
CREATE FUNCTION quiet(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1'
CREATE DOMAIN noted AS int CHECK (note('domain') = 1)
CREATE DOMAIN noted_twice AS noted
CREATE SEQUENCE counter

--;; what stands between the parentheses of EXECUTE
PREPARE reads(int) AS SELECT name FROM item WHERE id = $1
EXECUTE reads(1)
EXECUTE reads(note('argument'))
EXECUTE reads(quiet(2))
EXECUTE reads(quiet(note('deep argument')))
EXECUTE reads(1 + note('sum'))
EXECUTE reads(CASE WHEN true THEN note('case') END)
EXECUTE reads(nextval('counter'))
EXECUTE reads(nextval('counter')::int)
EXECUTE reads(currval('counter')::int)
EXECUTE reads('4')
EXECUTE reads(4::noted)
EXECUTE reads(pg_is_in_recovery()::int)
EXECUTE reads((SELECT 1))
EXECUTE reads(txid_current()::text::int)
EXECUTE reads(pg_try_advisory_xact_lock(5)::int)
EXECUTE reads
EXECUTE reads(1, 2)
EXECUTE reads(note('one'), note('two'))
PREPARE planned(int) AS SELECT name FROM item WHERE id = $1
EXPLAIN (COSTS OFF) EXECUTE planned(note('explained argument'))
EXPLAIN (COSTS OFF) EXECUTE planned(1)
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) EXECUTE planned(1)
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) EXECUTE planned(note('analyzed argument'))
SET plan_cache_mode = force_generic_plan
EXPLAIN (COSTS OFF) EXECUTE planned(1)
RESET plan_cache_mode
CREATE TABLE executed AS EXECUTE reads(note('created'))
EXECUTE reads(note('first')); SELECT 1
SELECT 1; EXECUTE reads(note('second'))
PREPARE sets(text) AS SELECT $1
EXECUTE sets(set_config('app.by_argument', 'told', false))
SELECT current_setting('app.by_argument', true)
EXECUTE sets(set_config('work_mem', '321kB', false))
SHOW work_mem
RESET work_mem
CREATE FUNCTION pg_temp.mine() RETURNS int LANGUAGE sql AS 'SELECT public.note(''temporary argument'')'
EXECUTE reads(pg_temp.mine())
DISCARD ALL
EXECUTE reads(1)

--;; the types of a prepared statement's parameters
PREPARE by_domain(noted) AS SELECT $1
EXECUTE by_domain(5)
PREPARE by_deep_domain(noted_twice) AS SELECT $1 + 1
EXECUTE by_deep_domain(6)
PREPARE by_domains(noted[]) AS SELECT $1
EXECUTE by_domains('{7,8}')
PREPARE by_int(int, text) AS SELECT $1 + 1, $2
EXECUTE by_int(9, 'x')
PREPARE by_unknown(nothing) AS SELECT $1
EXPLAIN (COSTS OFF) EXECUTE by_domain(10)
PREPARE by_column(item.id%TYPE) AS SELECT $1
EXECUTE by_column(3)
PREPARE infers AS SELECT $1::noted
EXECUTE infers(11)
PREPARE chooses AS SELECT name FROM item WHERE id = $1
EXECUTE chooses(1)
EXECUTE chooses('1')

--;; plans of statements by their names
PREPARE plan_read AS SELECT name FROM item WHERE id = $1
PREPARE plan_write AS INSERT INTO journal VALUES ($1)
PREPARE plan_note AS SELECT note($1)
PREPARE plan_delete AS DELETE FROM journal WHERE what = $1 RETURNING what
PREPARE plan_set AS SELECT set_config('work_mem', '543kB', false)
PREPARE plan_lock AS SELECT pg_advisory_lock(99)
PREPARE plan_row_lock AS SELECT id FROM item WHERE id = 1 FOR UPDATE
EXPLAIN (COSTS OFF) EXECUTE plan_read(1)
EXPLAIN (COSTS OFF) EXECUTE plan_write('a')
EXPLAIN (COSTS OFF) EXECUTE plan_note('a')
EXPLAIN (COSTS OFF) EXECUTE plan_delete('a')
EXPLAIN (COSTS OFF) EXECUTE plan_set
SHOW work_mem
EXPLAIN (COSTS OFF) EXECUTE plan_lock
SELECT pg_advisory_unlock(99)
EXPLAIN (COSTS OFF) EXECUTE plan_row_lock
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) EXECUTE plan_read(1)
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) EXECUTE plan_write('analyzed')
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) EXECUTE plan_note('analyzed')
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) EXECUTE plan_set
SHOW work_mem
EXPLAIN (ANALYZE off, COSTS OFF) EXECUTE plan_write('off')
EXPLAIN (COSTS OFF) EXECUTE nowhere
EXPLAIN (COSTS OFF) EXECUTE plan_read(1); SELECT 1
EXPLAIN (COSTS OFF) EXECUTE plan_read
DEALLOCATE plan_read
EXPLAIN (COSTS OFF) EXECUTE plan_read(1)
BEGIN
EXPLAIN (COSTS OFF) EXECUTE plan_note('b')
EXECUTE plan_note('in a block')
ROLLBACK
CREATE OR REPLACE FUNCTION quiet(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN note(''no longer quiet''); END'
PREPARE plan_folds AS SELECT name FROM item WHERE id = quiet(1)
EXPLAIN (COSTS OFF) EXECUTE plan_folds
EXECUTE plan_folds
CREATE OR REPLACE FUNCTION quiet(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1'
EXPLAIN (COSTS OFF) EXECUTE plan_folds
CREATE TABLE explained AS EXECUTE nowhere
EXPLAIN (COSTS OFF) CREATE TABLE explained AS EXECUTE plan_note('c')
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) CREATE TABLE explained AS EXECUTE plan_note('d')
SELECT * FROM explained

--;; statements that list what is prepared
PREPARE listed AS SELECT 1
SELECT name, statement FROM pg_prepared_statements ORDER BY name
CREATE VIEW mine AS SELECT name, statement FROM pg_prepared_statements ORDER BY name
SELECT * FROM mine
CREATE FUNCTION how_many() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM pg_prepared_statements'
SELECT how_many()
CREATE FUNCTION how_many_plpgsql() RETURNS bigint LANGUAGE plpgsql STABLE AS 'BEGIN RETURN (SELECT count(*) FROM pg_prepared_statement()); END'
SELECT how_many_plpgsql()
DEALLOCATE ALL
SELECT * FROM mine
SELECT how_many(), how_many_plpgsql()
SELECT count(*) FROM journal

--;; the same by the protocol
\parse kept SELECT name FROM item WHERE id = $1
\bind kept [1]
SELECT name, statement FROM pg_prepared_statements ORDER BY name
EXPLAIN (COSTS OFF) EXECUTE kept(1)
EXECUTE kept(note('by the protocol'))
EXECUTE kept(2)
\run [] EXECUTE kept(note('in a portal'))
\run [] EXECUTE kept(3)
\parse executes EXECUTE kept(note('again'))
\bind executes []
\bind executes []
\pipe SELECT 1 \; EXECUTE kept(note('piped')) \; SELECT 2
SELECT * FROM journal ORDER BY what
