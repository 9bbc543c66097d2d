--;; a database that keeps a journal
CREATE TABLE journal (what text)
CREATE TABLE item (id int PRIMARY KEY, name text, price numeric)
INSERT INTO item SELECT n, 'item ' || n, n * 1.5 FROM generate_series(1, 12) n
CREATE FUNCTION note(text) RETURNS int LANGUAGE sql AS 'INSERT INTO journal VALUES ($1) RETURNING 1'
CREATE FUNCTION quiet(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1'
SELECT note('plain')
SELECT quiet(note('inner'))
SELECT id FROM item WHERE id = 3 AND note('where') = 1
SELECT count(*) FILTER (WHERE note('filter') = 1) FROM item WHERE id < 3
SELECT id FROM item WHERE id < 3 ORDER BY note('order'), id
SELECT id FROM item ORDER BY id LIMIT note('limit')
SELECT id FROM item ORDER BY id LIMIT 1 OFFSET note('offset')
SELECT sum(id) OVER (ORDER BY id ROWS BETWEEN note('frame') PRECEDING AND CURRENT ROW) FROM item WHERE id < 3
SELECT CASE WHEN true THEN note('case') END
SELECT coalesce(NULL, note('coalesce')), nullif(note('nullif'), 2), greatest(1, note('greatest'))
SELECT ARRAY[note('array')], ROW(note('row')), (ARRAY[1, 2])[note('subscript')]
VALUES (note('values'))
SELECT 1 UNION SELECT note('union')
SELECT * FROM (SELECT note('subselect')) s
SELECT id FROM item i WHERE EXISTS (SELECT FROM item WHERE id = i.id AND note('exists') = 1) AND id = 1
SELECT x FROM item, LATERAL (SELECT note('lateral') + item.id) l (x) WHERE id = 2
SELECT * FROM note('from')
SELECT * FROM note('ordinality') WITH ORDINALITY
SELECT * FROM ROWS FROM (note('rows from'), generate_series(1, 2))
WITH w AS (SELECT note('with')) SELECT * FROM w
WITH w AS MATERIALIZED (SELECT note('never read')) SELECT 1
SELECT id FROM item GROUP BY id, note('group') HAVING note('having') = 1 ORDER BY id LIMIT 2
SELECT DISTINCT ON (note('distinct')) id FROM item ORDER BY note('distinct'), id
SELECT string_agg(name, ',' ORDER BY note('aggregate order'), id) FROM item WHERE id < 3
SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY note('within')) FROM item WHERE id < 3
SELECT * FROM generate_series(1, note('series'))
SELECT * FROM item a JOIN item b ON a.id = b.id AND note('join') = 1 WHERE a.id = 1
SELECT GROUPING(id), id FROM item WHERE id = 1 GROUP BY ROLLUP (id, note('rollup')) ORDER BY 1, 2
SELECT xmlelement(name a, note('xml'))
SELECT x.* FROM XMLTABLE('/a' PASSING xmlparse(document '<a>' || note('xmltable') || '</a>') COLUMNS v int PATH '.') x
SELECT x.* FROM XMLTABLE('/a' PASSING '<a/>' COLUMNS v int PATH 'b' DEFAULT note('xmldefault')) x
SELECT id FROM item TABLESAMPLE bernoulli (100 * note('sample')) REPEATABLE (note('repeatable')) WHERE id = 1
TABLE journal

--;; views upon views
CREATE VIEW reading AS SELECT id, name FROM item
CREATE VIEW noting AS SELECT id, note('view') FROM item WHERE id = 1
CREATE VIEW over_noting AS SELECT * FROM noting
CREATE RECURSIVE VIEW counting (n) AS SELECT 1 UNION ALL SELECT n + note('recursive') FROM counting WHERE n < 2
CREATE VIEW locking AS SELECT id FROM item WHERE id = 1 FOR UPDATE
CREATE VIEW lateral_noting AS SELECT x FROM item, LATERAL note(name) x WHERE id = 1
CREATE VIEW invoking WITH (security_invoker) AS SELECT note('invoker')
CREATE VIEW barrier WITH (security_barrier) AS SELECT id FROM item WHERE note('barrier') = 1 AND id = 1
CREATE VIEW ruled AS SELECT 1 AS a
CREATE OR REPLACE RULE "_RETURN" AS ON SELECT TO ruled DO INSTEAD SELECT note('rule') AS a
SELECT count(*) FROM reading
SELECT * FROM noting
SELECT count(*) FROM over_noting
SELECT id FROM over_noting
SELECT * FROM counting
SELECT * FROM locking
SELECT * FROM lateral_noting
SELECT * FROM invoking
SELECT * FROM barrier
SELECT * FROM ruled
TABLE ruled
COPY (SELECT * FROM ruled) TO STDOUT
COPY (SELECT * FROM reading WHERE id = 1) TO STDOUT
COPY reading TO STDOUT
SELECT (SELECT a FROM ruled), (SELECT count(*) FROM reading)
SELECT r FROM reading r WHERE id = 1
SELECT pg_get_viewdef('noting'::regclass)
DROP VIEW ruled
SELECT * FROM ruled
CREATE TABLE ruled (a int)
SELECT * FROM ruled

--;; operators
CREATE FUNCTION add_noting(int, int) RETURNS int LANGUAGE sql AS 'SELECT note(''operator'') + $1 + $2'
CREATE FUNCTION not_noting(int) RETURNS int LANGUAGE sql AS 'SELECT note(''prefix'') + $1'
CREATE OPERATOR +~+ (LEFTARG = int, RIGHTARG = int, FUNCTION = add_noting)
CREATE OPERATOR !!! (RIGHTARG = int, FUNCTION = not_noting)
CREATE OPERATOR --> (LEFTARG = int, RIGHTARG = int, FUNCTION = int4pl)
SELECT 1 +~+ 2
SELECT 1+~+2
SELECT !!!5
SELECT 1 OPERATOR(public.+~+) 2
SELECT 3 +~+ ANY (ARRAY[1, 2]) FROM item WHERE false
SELECT id FROM item WHERE id + 1 = 1 +~+ 2
CREATE OPERATOR + (LEFTARG = text, RIGHTARG = text, FUNCTION = textcat)
SELECT 'a'::text + 'b'::text
CREATE FUNCTION text_noting(text, text) RETURNS text LANGUAGE sql AS 'SELECT note(''text minus'')::text'
CREATE OPERATOR - (LEFTARG = text, RIGHTARG = text, FUNCTION = text_noting)
SELECT 'a'::text - 'b'::text
SELECT 5 - 3
SELECT 'a' - 'b'
CREATE FUNCTION like_noting(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT note(''like'') = 1'
CREATE SCHEMA ops
CREATE OPERATOR ops.~~ (LEFTARG = text, RIGHTARG = text, FUNCTION = like_noting)
CREATE OPERATOR ops.= (LEFTARG = text, RIGHTARG = text, FUNCTION = like_noting)
SELECT 'a'::text LIKE 'b'::text
SET search_path = ops, pg_catalog, public
SELECT 'a'::text LIKE 'b'::text
SELECT 'a'::text = 'b'::text, 'a'::text IN ('b'::text), CASE 'a'::text WHEN 'b' THEN 1 END
SELECT 'a'::text IS DISTINCT FROM 'b'::text, nullif('a'::text, 'b'::text)
RESET search_path
SELECT 'a'::text LIKE 'b'::text
DROP SCHEMA ops CASCADE
SELECT 'a'::text = 'b'::text

--;; casts, domains, types
CREATE DOMAIN noted AS int CHECK (note('domain') = 1)
CREATE DOMAIN noted_twice AS noted
CREATE DOMAIN noted_list AS int[] CHECK (note('list') = 1)
CREATE DOMAIN plain_domain AS int CHECK (VALUE > 0)
CREATE TYPE pair AS (a int, b noted)
CREATE TYPE pairs AS (p pair[])
SELECT 1::noted
SELECT noted '2'
SELECT CAST('3' AS noted_twice)
SELECT noted(4)
SELECT '{5,6}'::noted[]
SELECT '{7}'::_noted
SELECT '{8}'::public._noted_twice
SELECT '{9}'::noted_list
SELECT ARRAY[1, 2]::noted_list
SELECT '(1,2)'::pair
SELECT ROW(1, 2)::pair
SELECT pair '(3,4)'
SELECT '{"(1,2)"}'::_pair
SELECT '("{""(1,2)""}")'::pairs
SELECT ARRAY[ROW(1, 2)::pair]
SELECT (ROW(1, 2)::pair).b
SELECT jsonb_populate_record(NULL::pair, '{"a": 1, "b": 2}')
SELECT * FROM jsonb_to_record('{"a": 1}') AS r (a noted)
SELECT * FROM json_to_recordset('[{"a": 1}]') AS r (a noted)
SELECT * FROM jsonb_populate_recordset(NULL::pair, '[{"a": 1, "b": 2}]')
SELECT x.* FROM XMLTABLE('/a' PASSING '<a>1</a>' COLUMNS v noted PATH '.') x
SELECT xmlserialize(content '<a/>' AS text)
SELECT NULL::noted
SELECT 1::plain_domain
SELECT 0::plain_domain
SELECT domain_in('11', 'noted'::regtype, -1)
SELECT array_in('{12}', 'noted'::regtype, -1)
SELECT record_in('(1,2)', 'pair'::regtype, -1)
CREATE TYPE shade AS ENUM ('light', 'dark')
CREATE FUNCTION shade_noting(shade) RETURNS int LANGUAGE sql AS 'SELECT note(''cast'')'
CREATE CAST (shade AS int) WITH FUNCTION shade_noting(shade)
SELECT 'light'::shade::int
SELECT 'light'::shade
SELECT CAST(x AS int) FROM unnest(enum_range(NULL::shade)) x
CREATE FUNCTION text_to_int(text) RETURNS int LANGUAGE sql AS 'SELECT note(''text cast'')'
CREATE CAST (text AS int) WITH FUNCTION text_to_int(text)
SELECT '5'::text::int
SELECT CAST(name AS int) FROM item WHERE id = 1
SELECT CAST(name AS integer) FROM item WHERE id = 1
CREATE FUNCTION casting(text) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN $1::integer; END'
SELECT casting('1')
DROP CAST (text AS int)
CREATE FUNCTION bool_to_date(bool) RETURNS date LANGUAGE sql AS 'SELECT note(''implicit''), date ''2000-01-01'' LIMIT 1'
CREATE FUNCTION bool_to_date(bool) RETURNS date LANGUAGE plpgsql AS 'BEGIN PERFORM note(''implicit''); RETURN date ''2000-01-01''; END'
CREATE CAST (bool AS date) WITH FUNCTION bool_to_date(bool) AS IMPLICIT
SELECT date '1999-01-01' < true
SELECT extract(year FROM true)
DROP CAST (bool AS date)
SELECT date '1999-01-01' < true

--;; ranges and classes of operators
CREATE FUNCTION noting_compare(int, int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM note(''compare''); RETURN $1 - $2; END'
CREATE OPERATOR CLASS noting_ops FOR TYPE int USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 noting_compare(int, int)
CREATE TYPE noted_range AS RANGE (SUBTYPE = int, SUBTYPE_OPCLASS = noting_ops)
SELECT noted_range(1, 5)
SELECT '[1,3]'::noted_range
SELECT '{[1,3],[7,9]}'::noted_multirange
SELECT noted_multirange(noted_range(1, 2))
SELECT '{"[1,3]"}'::_noted_range
CREATE FUNCTION json_noting(json, json) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM note(''json compare''); RETURN CASE WHEN $1::text < $2::text THEN -1 WHEN $1::text = $2::text THEN 0 ELSE 1 END; END'
CREATE FUNCTION json_lt(json, json) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT $1::text < $2::text'
CREATE FUNCTION json_le(json, json) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT $1::text <= $2::text'
CREATE FUNCTION json_eq(json, json) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT $1::text = $2::text'
CREATE FUNCTION json_ge(json, json) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT $1::text >= $2::text'
CREATE FUNCTION json_gt(json, json) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT $1::text > $2::text'
CREATE OPERATOR <% (LEFTARG = json, RIGHTARG = json, FUNCTION = json_lt)
CREATE OPERATOR <=% (LEFTARG = json, RIGHTARG = json, FUNCTION = json_le)
CREATE OPERATOR =% (LEFTARG = json, RIGHTARG = json, FUNCTION = json_eq)
CREATE OPERATOR >=% (LEFTARG = json, RIGHTARG = json, FUNCTION = json_ge)
CREATE OPERATOR >% (LEFTARG = json, RIGHTARG = json, FUNCTION = json_gt)
SELECT x FROM (VALUES ('1'::json), ('2')) v (x) ORDER BY x
CREATE OPERATOR CLASS json_ops DEFAULT FOR TYPE json USING btree AS OPERATOR 1 <%, OPERATOR 2 <=%, OPERATOR 3 =%, OPERATOR 4 >=%, OPERATOR 5 >%, FUNCTION 1 json_noting(json, json)
SELECT x::text FROM (VALUES ('1'::json), ('2')) v (x) ORDER BY x
SELECT DISTINCT x::text FROM (VALUES ('1'::json), ('1')) v (x)
SELECT count(*) FROM (SELECT '1'::json UNION SELECT '1'::json) u
DROP OPERATOR FAMILY json_ops USING btree CASCADE
SELECT x FROM (VALUES ('1'::json), ('2')) v (x) ORDER BY x
CREATE TABLE by_class (a int) PARTITION BY RANGE (a noting_ops)
CREATE TABLE by_class_1 PARTITION OF by_class FOR VALUES FROM (0) TO (10)
SELECT * FROM by_class WHERE a = 3
CREATE INDEX ON item (id noting_ops)
SELECT count(*) FROM item WHERE id > 3 AND id < 6
DROP OPERATOR FAMILY noting_ops USING btree CASCADE
SELECT count(*) FROM item WHERE id > 3 AND id < 6

--;; row security
CREATE ROLE stranger_reader
GRANT SELECT ON ALL TABLES IN SCHEMA public TO stranger_reader
GRANT INSERT ON journal TO stranger_reader
CREATE TABLE secret (id int, owner text)
INSERT INTO secret VALUES (1, 'stranger_reader'), (2, 'other')
GRANT SELECT ON secret TO stranger_reader
ALTER TABLE secret ENABLE ROW LEVEL SECURITY
CREATE POLICY own ON secret FOR SELECT USING (owner = current_user)
SELECT * FROM secret ORDER BY id
SET ROLE stranger_reader
SELECT * FROM secret ORDER BY id
SET row_security = off
SELECT * FROM secret ORDER BY id
RESET row_security
RESET ROLE
ALTER POLICY own ON secret USING (note('policy') = 1)
SET ROLE stranger_reader
SELECT * FROM secret ORDER BY id
RESET ROLE
DROP POLICY own ON secret
CREATE POLICY own ON secret FOR SELECT USING (EXISTS (SELECT FROM item WHERE id = 1 FOR UPDATE))
GRANT UPDATE ON item TO stranger_reader
SET ROLE stranger_reader
SELECT * FROM secret ORDER BY id
RESET ROLE
DROP POLICY own ON secret
CREATE POLICY own ON secret USING (id::text = current_setting('app.tenant', true))
SET app.tenant = '2'
SET ROLE stranger_reader
SELECT * FROM secret ORDER BY id
SET app.tenant = '1'
SELECT * FROM secret ORDER BY id
BEGIN
SET LOCAL app.tenant = '2'
SELECT * FROM secret ORDER BY id
COMMIT
SELECT * FROM secret ORDER BY id
RESET ROLE
CREATE POLICY writes ON secret FOR INSERT WITH CHECK (note('insert policy') = 1)
SELECT * FROM secret ORDER BY id
DROP TABLE secret
DROP OWNED BY stranger_reader
DROP ROLE stranger_reader

--;; rules and triggers that turn statements into others
CREATE TABLE ledger (id int, amount int)
CREATE FUNCTION ledger_noting() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM note(TG_OP); RETURN NEW; END'
CREATE TRIGGER noting BEFORE INSERT OR UPDATE ON ledger FOR EACH ROW EXECUTE FUNCTION ledger_noting()
INSERT INTO ledger VALUES (1, 10) RETURNING amount
CREATE RULE also AS ON UPDATE TO ledger DO ALSO INSERT INTO journal VALUES ('also')
UPDATE ledger SET amount = 11
CREATE RULE instead AS ON DELETE TO ledger DO INSTEAD SELECT count(*) FROM journal
DELETE FROM ledger
WITH d AS (DELETE FROM ledger RETURNING *) SELECT * FROM d
CREATE RULE nothing AS ON INSERT TO ledger DO INSTEAD NOTHING
INSERT INTO ledger VALUES (2, 20)
SELECT * FROM ledger
CREATE TABLE defaulted (id int DEFAULT note('default'), twice int GENERATED ALWAYS AS (id * 2) STORED)
SELECT * FROM defaulted
INSERT INTO defaulted DEFAULT VALUES
SELECT * FROM defaulted
INSERT INTO defaulted (id) SELECT note('select') RETURNING id, note('returning')
CREATE TABLE checked (id int CHECK (note('check') > 0))
SELECT * FROM checked
INSERT INTO checked VALUES (1)
SELECT * FROM checked WHERE id = 1
EXPLAIN (COSTS OFF) SELECT * FROM checked WHERE id = 1
CREATE FUNCTION folded() RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM note(''folded''); RETURN 1; END'
EXPLAIN (COSTS OFF) SELECT * FROM item WHERE id = folded()
SELECT * FROM item WHERE id = folded()
SELECT count(*) FROM journal

--;; defaults of arguments and functions behind functions
CREATE FUNCTION defaulting(a int, b int DEFAULT note('argument')) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1'
SELECT defaulting(1)
SELECT defaulting(1, 2)
CREATE FUNCTION deep_1() RETURNS int STABLE LANGUAGE sql AS 'SELECT note(''deep'')'
CREATE FUNCTION deep_2() RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN RETURN deep_1(); END'
CREATE FUNCTION deep_3() RETURNS int STABLE LANGUAGE plpgsql AS 'DECLARE x int := deep_2(); BEGIN RETURN x; END'
CREATE FUNCTION deep_4() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT deep_3(); END
CREATE VIEW deep_5 AS SELECT deep_4()
SELECT * FROM deep_5
SELECT deep_3()
CREATE FUNCTION recursing(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN IF $1 = 0 THEN RETURN note(''recursion''); END IF; RETURN recursing($1 - 1); END'
SELECT recursing(3)
CREATE FUNCTION late() RETURNS bigint STABLE LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM come_later); END'
SELECT late()
CREATE VIEW come_later AS SELECT note('late')
SELECT late()
CREATE FUNCTION late_call() RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN RETURN made_later(1); END'
SELECT late_call()
CREATE FUNCTION made_later(int) RETURNS int LANGUAGE sql AS 'SELECT note(''made later'')'
SELECT late_call()
CREATE FUNCTION caught() RETURNS text STABLE LANGUAGE plpgsql AS 'BEGIN PERFORM note(''caught''); RETURN ''written''; EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE; END'
SELECT caught()
CREATE FUNCTION opens() RETURNS int STABLE LANGUAGE plpgsql AS 'DECLARE c refcursor; x int; BEGIN OPEN c FOR SELECT note(''open''); FETCH c INTO x; CLOSE c; RETURN x; END'
SELECT opens()
CREATE FUNCTION setting() RETURNS text STABLE LANGUAGE plpgsql AS 'BEGIN RETURN current_setting(''transaction_read_only''); END'
SELECT setting()
CREATE FUNCTION setting_sql() RETURNS text STABLE LANGUAGE sql AS 'SELECT current_setting(''transaction_read_only'')'
SELECT setting_sql()
CREATE VIEW setting_view AS SELECT current_setting('in_hot_standby') AS standby, current_setting('transaction_read_only') AS ro
SELECT * FROM setting_view
CREATE FUNCTION setting_atomic() RETURNS text STABLE LANGUAGE sql RETURN current_setting('in_hot_standby')
SELECT setting_atomic()
CREATE FUNCTION recovering() RETURNS bool STABLE LANGUAGE plpgsql AS 'BEGIN RETURN pg_is_in_recovery(); END'
SELECT recovering()
CREATE FUNCTION commented() RETURNS int STABLE LANGUAGE sql AS 'SELECT /* note() */ 1 -- note(''x'')'
SELECT commented()
CREATE FUNCTION quoted() RETURNS text STABLE LANGUAGE sql AS 'SELECT ''note(1)''::text'
SELECT quoted()
CREATE FUNCTION unicode_name() RETURNS int STABLE LANGUAGE sql AS 'SELECT U&"not\0065"(''unicode'')'
SELECT unicode_name()
CREATE FUNCTION unicode_plpgsql() RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN RETURN U&"not\0065"(''unicode''); END'
SELECT unicode_plpgsql()
