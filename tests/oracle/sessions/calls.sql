--;; a database that keeps a journal
CREATE TABLE journal (what text)
CREATE TABLE item (id int PRIMARY KEY, name text)
INSERT INTO item SELECT n, 'item ' || n FROM generate_series(1, 5) n
CREATE FUNCTION note(text) RETURNS int LANGUAGE sql AS 'INSERT INTO journal VALUES ($1) RETURNING 1'
CREATE SEQUENCE counter

--;; functions of rows, in both notations
CREATE FUNCTION shout(item) RETURNS text LANGUAGE sql AS 'SELECT note(''shout'') || $1.name'
CREATE FUNCTION plain(item) RETURNS text LANGUAGE sql STABLE AS 'SELECT $1.name'
SELECT shout(item) FROM item WHERE id = 1
SELECT item.shout FROM item WHERE id = 1
SELECT i.shout FROM item i WHERE id = 1
SELECT (i).shout FROM item i WHERE id = 1
SELECT (i.*).shout FROM item i WHERE id = 1
SELECT shout(i.*) FROM item i WHERE id = 1
SELECT shout((i)) FROM item i WHERE id = 1
SELECT id FROM item i WHERE i.shout IS NOT NULL AND id = 1
SELECT (SELECT i).shout FROM item i WHERE id = 1
SELECT (s.i).shout FROM (SELECT i FROM item i WHERE id = 1) s
SELECT ((ARRAY[i])[1]).shout FROM item i WHERE id = 1
SELECT shout(ROW(7, 'seven')::item)
SELECT (ROW(7, 'seven')::item).shout
SELECT i.plain, plain(i), (i).plain FROM item i WHERE id = 1
SELECT public.item.shout FROM public.item WHERE id = 1
CREATE FUNCTION freshly(item) RETURNS int LANGUAGE sql AS 'SELECT note(''freshly'')'
SELECT i.freshly FROM item i WHERE id = 2
DROP FUNCTION freshly(item)
SELECT i.freshly FROM item i WHERE id = 2
SELECT ('counter'::regclass).nextval
SELECT x.nextval FROM to_regclass('counter') x
SELECT x.pg_relation_size >= 0 FROM to_regclass('item') x
SELECT (now()).date IS NULL
SELECT ('a'::text).upper

--;; aggregates and window functions
CREATE FUNCTION step(int, int) RETURNS int LANGUAGE sql AS 'SELECT note(''step'') + $1 + $2'
CREATE FUNCTION finish(int) RETURNS int LANGUAGE sql AS 'SELECT note(''finish'') + $1'
CREATE FUNCTION unstep(int, int) RETURNS int LANGUAGE sql AS 'SELECT $1 - $2'
CREATE AGGREGATE total_step(int) (SFUNC = step, STYPE = int, INITCOND = '0')
CREATE AGGREGATE total_finish(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0', FINALFUNC = finish)
CREATE AGGREGATE total_plain(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0')
CREATE AGGREGATE total_moving(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0', MSFUNC = step, MINVFUNC = unstep, MSTYPE = int, MINITCOND = '0')
CREATE FUNCTION next_row(int) RETURNS int LANGUAGE sql AS 'SELECT note(''star'') + $1'
CREATE AGGREGATE rows(*) (SFUNC = next_row, STYPE = int, INITCOND = '0')
SELECT total_step(id) FROM item
SELECT total_finish(id) FROM item
SELECT total_plain(id) FROM item
SELECT total_plain(id) OVER (ORDER BY id) FROM item
SELECT total_moving(id) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM item
SELECT rows(*) FROM item
SELECT total_step(DISTINCT id) FILTER (WHERE id > 2) FROM item
SELECT total_step(id) OVER w FROM item WINDOW w AS (PARTITION BY id % 2 ORDER BY id) ORDER BY 1
CREATE FUNCTION ranked(float8, anyelement) RETURNS float8 LANGUAGE plpgsql AS 'BEGIN PERFORM note(''ordered''); RETURN coalesce($1, 0) + 1; END'
CREATE AGGREGATE within(ORDER BY anyelement) (SFUNC = ranked, STYPE = float8)
SELECT within() WITHIN GROUP (ORDER BY id) FROM item
CREATE FUNCTION wfunc() RETURNS bigint LANGUAGE internal WINDOW AS 'window_row_number'
SELECT wfunc() OVER (ORDER BY id) FROM item

--;; functions that return rows
CREATE FUNCTION series() RETURNS SETOF int LANGUAGE plpgsql AS 'BEGIN PERFORM note(''series''); RETURN QUERY SELECT id FROM item; END'
CREATE FUNCTION table_of() RETURNS TABLE (a int, b text) STABLE LANGUAGE sql AS 'SELECT id, name FROM item'
SELECT * FROM series()
SELECT series()
SELECT * FROM item, series() s WHERE id = s AND id = 1
SELECT * FROM table_of() WHERE a = 1
SELECT (table_of()).b
SELECT (table_of()).*
SELECT t.b FROM table_of() WITH ORDINALITY t
SELECT * FROM item LEFT JOIN LATERAL (SELECT * FROM series() s WHERE s = item.id) l ON true WHERE id = 1
CREATE FUNCTION record_of() RETURNS record LANGUAGE sql AS 'SELECT note(''record''), 2'
SELECT * FROM record_of() AS r (a int, b int)
SELECT record_of()
CREATE FUNCTION out_of(OUT a int, OUT b int) LANGUAGE sql AS 'SELECT note(''out''), 2'
SELECT * FROM out_of()
SELECT (out_of()).b

--;; functions that run what they are given
CREATE FUNCTION run(text) RETURNS void LANGUAGE plpgsql AS 'BEGIN EXECUTE $1; END'
CREATE FUNCTION ask(text) RETURNS text LANGUAGE plpgsql STABLE AS 'DECLARE r text; BEGIN EXECUTE $1 INTO r; RETURN r; END'
SELECT run('INSERT INTO journal VALUES (''run'')')
SELECT ask('SELECT count(*)::text FROM item')
SELECT ask('SELECT note(''ask'')::text')
SELECT query_to_xml('SELECT id FROM item WHERE id = 1', true, false, '')
SELECT query_to_xml('SELECT note(''xml'') AS n', true, false, '')
SELECT query_to_xmlschema('SELECT 1 AS a', false, false, '')
SELECT table_to_xml('item', true, false, '')
SELECT table_to_xmlschema('item', true, false, '') IS NOT NULL
CREATE VIEW noting AS SELECT note('view') AS n
SELECT table_to_xml('noting', true, false, '')
SELECT schema_to_xml('public', true, false, '') IS NOT NULL
SELECT database_to_xml(true, false, '') IS NOT NULL
SELECT word FROM ts_stat('SELECT to_tsvector(''simple'', name) FROM item') ORDER BY word LIMIT 2
SELECT * FROM ts_stat('SELECT to_tsvector(''a'' || note(''stat''))')
SELECT ts_rewrite('a'::tsquery, 'SELECT ''a''::tsquery, ''b''::tsquery')
SELECT ts_rewrite('a'::tsquery, 'a'::tsquery, 'c'::tsquery)
CREATE EXTENSION tablefunc
SELECT * FROM crosstab('SELECT 1, ''a''::text, note(''crosstab'')') AS c (a int, b int)
SELECT * FROM crosstab('SELECT 1, ''a''::text, 2') AS c (a int, b int)
SELECT count(*) FROM normal_rand(3, 0, 1)
SELECT run('CREATE FUNCTION made_by_run() RETURNS int IMMUTABLE LANGUAGE sql AS ''SELECT 1''')
SELECT made_by_run()
SELECT run('CREATE OR REPLACE FUNCTION made_by_run() RETURNS int IMMUTABLE LANGUAGE plpgsql AS ''BEGIN RETURN note($$made$$); END''')
SELECT made_by_run()
SELECT run('ALTER TABLE item SET UNLOGGED')
SELECT count(*) FROM item
SELECT run('ALTER TABLE item SET LOGGED')
SELECT count(*) FROM item
DO $$ BEGIN EXECUTE 'CREATE OR REPLACE FUNCTION made_by_run() RETURNS int LANGUAGE sql AS ''SELECT 2'''; END $$
SELECT made_by_run()
SELECT run('SET work_mem = ''123kB''')
SHOW work_mem
SELECT run('RESET work_mem')
SHOW work_mem

--;; numbers that sequences give
SELECT nextval('counter')
SELECT currval('counter'), lastval()
SELECT setval('counter', 10)
SELECT nextval('counter'::regclass), nextval('public.counter')
SELECT last_value, is_called FROM counter
SELECT * FROM counter
TABLE counter
SELECT last_value FROM pg_sequences WHERE sequencename = 'counter'
SELECT pg_sequence_last_value('counter')
SELECT seqstart, seqincrement FROM pg_sequence WHERE seqrelid = 'counter'::regclass
SELECT sequence_name FROM information_schema.sequences ORDER BY 1
CREATE TABLE serials (id serial, x int)
SELECT pg_get_serial_sequence('serials', 'id')
INSERT INTO serials (x) VALUES (1) RETURNING id
SELECT nextval(pg_get_serial_sequence('serials', 'id'))
CREATE VIEW sequence_view AS SELECT last_value FROM counter
SELECT * FROM sequence_view
CREATE FUNCTION draws() RETURNS bigint STABLE LANGUAGE sql AS 'SELECT nextval(''counter'')'
SELECT draws()
SELECT count(*) FROM generate_series(1, 3) WHERE nextval('counter') > 0
SELECT lastval()
DISCARD SEQUENCES
SELECT lastval()
ALTER SEQUENCE counter RESTART
SELECT nextval('counter')

--;; procedures and blocks
CREATE PROCEDURE writes() LANGUAGE plpgsql AS 'BEGIN PERFORM note(''p''); COMMIT; PERFORM note(''q''); ROLLBACK; END'
CREATE PROCEDURE idles() LANGUAGE plpgsql AS 'BEGIN NULL; END'
CREATE PROCEDURE atomic() LANGUAGE sql BEGIN ATOMIC INSERT INTO journal VALUES ('atomic'); END
CALL writes()
CALL idles()
CALL atomic()
DO 'BEGIN PERFORM note(''do''); END'
DO LANGUAGE plpgsql $$ BEGIN RAISE NOTICE 'count %', (SELECT count(*) FROM item); END $$
DO $$ BEGIN PERFORM set_config('app.by_do', 'x', false); END $$
SHOW app.by_do
DO $$ BEGIN CREATE TEMP TABLE by_do (a int); END $$
SELECT count(*) FROM by_do
DROP TABLE by_do
DO $$ DECLARE r record; BEGIN FOR r IN SELECT * FROM item LOOP INSERT INTO journal VALUES (r.name); END LOOP; END $$
SELECT count(*) FROM journal
