--;; a database that keeps a journal
CREATE TABLE journal (what text)
CREATE TABLE item (id int PRIMARY KEY, name text)
INSERT INTO item SELECT n, 'item ' || n FROM generate_series(1, 5) n
CREATE FUNCTION note(text) RETURNS int LANGUAGE sql AS 'INSERT INTO journal VALUES ($1) RETURNING 1'
CREATE FUNCTION folds(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM note(''folded''); RETURN $1; END'
CREATE FUNCTION folds_two(int, int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM note(''folded two''); RETURN $1 + $2; END'
CREATE OPERATOR +~+ (LEFTARG = int, RIGHTARG = int, FUNCTION = folds_two)
CREATE DOMAIN noted AS int CHECK (note('domain') = 1)
CREATE TYPE pair AS (a int, b noted)

--;; columns that a view has and does not show
CREATE VIEW xml_hidden AS SELECT 1 AS one FROM XMLTABLE('/a' PASSING '<a>1</a>' COLUMNS v noted PATH '.')
SELECT one FROM xml_hidden
CREATE VIEW json_hidden AS SELECT 1 AS one FROM jsonb_to_record('{"a": 1}') AS r (a noted)
SELECT one FROM json_hidden
CREATE VIEW json_set_hidden AS SELECT 1 AS one FROM json_to_recordset('[{"a": 1}]') AS r (a noted)
SELECT one FROM json_set_hidden
CREATE VIEW json_populate_hidden AS SELECT 1 AS one FROM jsonb_populate_recordset(NULL::pair, '[{"a": 1, "b": 2}]')
SELECT one FROM json_populate_hidden
CREATE VIEW rows_hidden AS SELECT 1 AS one FROM ROWS FROM (jsonb_to_record('{"a": 1}') AS (a noted), generate_series(1, 2))
SELECT one FROM rows_hidden
CREATE VIEW array_hidden AS SELECT 1 AS one FROM XMLTABLE('/a' PASSING '<a>{1}</a>' COLUMNS v noted[] PATH '.')
SELECT one FROM array_hidden
CREATE VIEW cte_hidden AS WITH w AS (SELECT 5::noted) SELECT 1 AS one FROM w
SELECT one FROM cte_hidden
CREATE VIEW order_hidden AS SELECT id FROM item ORDER BY folds(id)
SELECT id FROM order_hidden
CREATE VIEW window_hidden AS SELECT count(*) OVER (PARTITION BY folds(id)) FROM item
SELECT count FROM window_hidden
CREATE VIEW limit_hidden AS SELECT id FROM item LIMIT note('limit')
SELECT id FROM limit_hidden
CREATE VIEW row_compared AS SELECT id FROM item WHERE (id, id) < (folds(3), 3)
SELECT id FROM row_compared ORDER BY id
CREATE VIEW sampled AS SELECT id FROM item TABLESAMPLE system (100 * note('sample'))
SELECT count(id) FROM sampled
CREATE VIEW union_hidden AS SELECT 1 AS one UNION ALL SELECT note('union') WHERE false
SELECT one FROM union_hidden
CREATE VIEW lateral_hidden AS SELECT i.id FROM item i, LATERAL (SELECT note('lateral')) l WHERE i.id = 1
SELECT id FROM lateral_hidden
CREATE VIEW exists_hidden AS SELECT id FROM item i WHERE EXISTS (SELECT note('exists')) AND id = 1
SELECT id FROM exists_hidden
CREATE VIEW locks_hidden AS SELECT id FROM (SELECT id FROM item WHERE id = 1 FOR KEY SHARE) s
SELECT id FROM locks_hidden
CREATE VIEW of_catalog AS SELECT pg_is_in_recovery() AS r, inet_server_port() AS p
SELECT r FROM of_catalog
CREATE VIEW of_settings AS SELECT current_setting('in_hot_standby') AS s
SELECT s FROM of_settings
CREATE VIEW of_statistics AS SELECT count(*) > 0 AS some FROM pg_stat_activity
SELECT some FROM of_statistics
CREATE VIEW own_setting AS SELECT current_setting('app.own', true) AS s
SET app.own = 'mine'
SELECT s FROM own_setting
RESET app.own
CREATE VIEW notifies AS SELECT pg_notify('bell', 'view')
SELECT * FROM notifies
CREATE VIEW locks_session AS SELECT pg_try_advisory_lock(77) AS l
SELECT l FROM locks_session
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
SELECT pg_advisory_unlock(77)
CREATE VIEW sets_session AS SELECT set_config('work_mem', '765kB', false)
SELECT * FROM sets_session
SHOW work_mem
RESET work_mem
CREATE VIEW draws AS SELECT nextval('view_sequence') AS n
CREATE SEQUENCE view_sequence
CREATE VIEW draws AS SELECT nextval('view_sequence') AS n
SELECT n FROM draws
SELECT currval('view_sequence')
CREATE VIEW recalls AS SELECT currval('view_sequence') AS n
SELECT n FROM recalls
SELECT count(*) FROM journal

--;; what a planner computes
CREATE TABLE indexed (a int, b int)
INSERT INTO indexed SELECT n, n FROM generate_series(1, 100) n
CREATE INDEX ON indexed ((a + folds(1)))
SELECT count(*) FROM indexed WHERE a = 5
SELECT count(*) FROM indexed WHERE a + 1 = 5
CREATE TABLE indexed_by_operator (a int)
CREATE INDEX ON indexed_by_operator ((a + (1 +~+ 2)))
SELECT count(*) FROM indexed_by_operator WHERE a = 5
CREATE TABLE partial (a int)
CREATE INDEX ON partial (a) WHERE a > 1 +~+ 2
SELECT count(*) FROM partial WHERE a = 5
CREATE TABLE counted (a int, b int)
CREATE STATISTICS counted_stats ON (a + (1 +~+ 2)), b FROM counted
SELECT count(*) FROM counted WHERE a = 5
CREATE TABLE checked (a int CHECK (a < 1 +~+ 2))
SELECT count(*) FROM checked WHERE a = 1
SET constraint_exclusion = on
SELECT count(*) FROM checked WHERE a = 1
SELECT count(*) FROM checked WHERE a > 10
RESET constraint_exclusion
CREATE TABLE parent (a int)
CREATE TABLE child (CHECK (a > 1 +~+ 1)) INHERITS (parent)
SELECT count(*) FROM parent WHERE a = 1
CREATE TABLE parted (a int) PARTITION BY RANGE ((a + (1 +~+ 2)))
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10)
SELECT count(*) FROM parted WHERE a = 1
CREATE TABLE bounded (a int) PARTITION BY RANGE (a)
CREATE TABLE bounded_1 PARTITION OF bounded FOR VALUES FROM (1) TO (1 +~+ 10)
SELECT count(*) FROM bounded WHERE a = 3
CREATE TABLE generated (a int, b int GENERATED ALWAYS AS (a + (1 +~+ 2)) STORED)
SELECT count(*) FROM generated WHERE a = 3
CREATE TABLE defaulting (a int, b int DEFAULT 1 +~+ 2)
SELECT count(*) FROM defaulting
ALTER TABLE defaulting ADD c int DEFAULT folds(7)
SELECT c FROM defaulting
CREATE FUNCTION estimates(int, int) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM note(''estimate''); RETURN $1 = $2; END'
CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = estimates, RESTRICT = eqsel, JOIN = eqjoinsel)
SELECT count(*) FROM item WHERE id === 3
EXPLAIN (COSTS OFF) SELECT * FROM item WHERE id === 3
EXPLAIN (COSTS OFF) SELECT * FROM item WHERE id = folds(3)
EXPLAIN (COSTS OFF) SELECT * FROM indexed WHERE a = 3

--;; one name, a type and a function
CREATE FUNCTION noted(point) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 0'
SELECT noted(4)
SELECT noted('5')
SELECT noted(point '(1,2)')
CREATE FUNCTION reads_noted() RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN RETURN noted(6); END'
SELECT reads_noted()
SELECT (7).noted
CREATE TABLE shape (a int, b noted)
CREATE FUNCTION shape(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1'
SELECT shape(1)
SELECT shape(ROW(1, 2))
SELECT ROW(1, 2)::shape
SELECT (1, 2)::shape
CREATE DOMAIN int4 AS pg_catalog.int4 CHECK (note('int4') = 1)
SELECT '1'::int4
SELECT '1'::public.int4
SELECT '1'::integer
SELECT public.int4('1')
SELECT int4('1')
SET search_path = public, pg_catalog
SELECT '1'::int4
SELECT int4 '2'
SELECT '1'::integer
RESET search_path
DROP DOMAIN public.int4
SELECT '1'::int4

--;; domains over arrays
CREATE DOMAIN noted_list AS int[] CHECK (note('list') = 1)
CREATE DOMAIN plain_list AS int[]
CREATE FUNCTION takes_list(noted_list) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'
SELECT takes_list('{1}')
SELECT '{1}'::noted_list
SELECT '{1}'::plain_list
SELECT ARRAY[1, 2]::noted_list
SELECT '{"{1}"}'::noted_list[]
CREATE VIEW lists AS SELECT '{1}'::noted_list AS l
SELECT l FROM lists
CREATE FUNCTION makes_list() RETURNS int STABLE LANGUAGE plpgsql AS 'DECLARE l noted_list := ''{5}''; BEGIN RETURN l[1]; END'
SELECT makes_list()
PREPARE by_list(noted_list) AS SELECT $1
EXECUTE by_list('{1}')
SELECT * FROM jsonb_to_record('{"l": [1]}') AS r (l noted_list)

--;; aggregates and casts that hide behind others
CREATE TYPE shade AS ENUM ('light', 'dark')
CREATE FUNCTION shade_to_json(shade) RETURNS json IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM note(''to json''); RETURN ''1''; END'
SELECT to_json('light'::shade), row_to_json(ROW('light'::shade))
CREATE CAST (shade AS json) WITH FUNCTION shade_to_json(shade)
SELECT to_json('light'::shade)
SELECT json_agg(x) FROM unnest(ARRAY['light', 'dark']::shade[]) x
SELECT jsonb_build_object('a', 'light'::shade)
SELECT row_to_json(s) FROM (SELECT 'light'::shade AS a) s
SELECT array_to_json(enum_range(NULL::shade))
CREATE FUNCTION shade_text(shade) RETURNS text IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM note(''to text''); RETURN ''x''; END'
CREATE CAST (shade AS text) WITH FUNCTION shade_text(shade) AS IMPLICIT
SELECT 'light'::shade || 'x'
SELECT text('light'::shade)
SELECT upper('light'::shade)
SELECT format('%s', 'light'::shade), concat('light'::shade)
CREATE FUNCTION combine(int, int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM note(''combined''); RETURN $1 + $2; END'
CREATE AGGREGATE sum_combined(int) (SFUNC = int4pl, STYPE = int, COMBINEFUNC = combine, INITCOND = '0', PARALLEL = SAFE)
SELECT sum_combined(id) FROM item
CREATE AGGREGATE least_of(int) (SFUNC = int4smaller, STYPE = int, SORTOP = <)
SELECT least_of(id) FROM item
CREATE FUNCTION steps(internal, int) RETURNS internal LANGUAGE internal AS 'int8_avg_accum'
SELECT avg(id), sum(id), max(name) FROM item
CREATE FUNCTION array_step(anyarray, anyelement) RETURNS anyarray LANGUAGE plpgsql AS 'BEGIN PERFORM note(''any step''); RETURN $1 || $2; END'
CREATE AGGREGATE collect(anyelement) (SFUNC = array_step, STYPE = anyarray, INITCOND = '{}')
SELECT collect(id) FROM item
CREATE VIEW collected AS SELECT collect(id) FROM item
SELECT * FROM collected
SELECT count(*) FROM journal

--;; rules, policies and triggers, seen from a read
CREATE TABLE watched (id int, name text)
CREATE RULE watch AS ON INSERT TO watched DO ALSO INSERT INTO journal VALUES ('watched')
SELECT * FROM watched
CREATE FUNCTION on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM note(''ddl '' || tg_tag); END'
CREATE EVENT TRIGGER ddl_watch ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION on_ddl()
CREATE TABLE seen_by_trigger (a int)
SELECT * FROM seen_by_trigger
DROP EVENT TRIGGER ddl_watch
CREATE VIEW writable AS SELECT id, name FROM watched
CREATE FUNCTION instead() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO journal VALUES (''instead''); RETURN NEW; END'
CREATE TRIGGER instead INSTEAD OF INSERT ON writable FOR EACH ROW EXECUTE FUNCTION instead()
SELECT * FROM writable
INSERT INTO writable VALUES (1, 'x') RETURNING id
CREATE ROLE objects_reader
GRANT SELECT ON watched, writable TO objects_reader
GRANT INSERT ON journal TO objects_reader
ALTER TABLE watched ENABLE ROW LEVEL SECURITY
CREATE POLICY watching ON watched FOR SELECT USING (note('policy') = 1)
SELECT * FROM watched
SELECT * FROM writable
SET ROLE objects_reader
SELECT * FROM watched
SELECT * FROM writable
RESET ROLE
ALTER VIEW writable SET (security_invoker = true)
SET ROLE objects_reader
SELECT * FROM writable
RESET ROLE
ALTER TABLE watched DISABLE ROW LEVEL SECURITY
SET ROLE objects_reader
SELECT * FROM watched
RESET ROLE
CREATE TABLE heirs () INHERITS (watched)
ALTER TABLE heirs ENABLE ROW LEVEL SECURITY
CREATE POLICY inherited ON heirs USING (note('heir') = 1)
GRANT SELECT ON heirs TO objects_reader
SET ROLE objects_reader
SELECT * FROM watched
SELECT * FROM heirs
RESET ROLE
DROP TABLE watched CASCADE
DROP OWNED BY objects_reader
DROP ROLE objects_reader
SELECT count(*) FROM journal
