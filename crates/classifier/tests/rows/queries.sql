--;; read harmless
SELECT 1
--;; read harmless
select 1;
--;; read harmless
SELECT
--;; read harmless
SELECT * FROM t
--;; read harmless
SELECT * FROM t WHERE id = $1
--;; read harmless
SELECT * FROM ONLY t
--;; read harmless
TABLE t
--;; read harmless
VALUES (1, 'a'), (2, 'b')
--;; read harmless
VALUES (DEFAULT)
--;; read harmless
(SELECT 1)
--;; read harmless
((SELECT 1) UNION ALL (SELECT 2)) ORDER BY 1 LIMIT 1
--;; read harmless
SELECT 1 UNION SELECT 2 INTERSECT SELECT 3 EXCEPT SELECT 4
--;; read harmless
SELECT t.id, u.note FROM t LEFT JOIN u ON u.t_id = t.id WHERE t.amount BETWEEN 1 AND 10
--;; read harmless
SELECT * FROM t NATURAL JOIN u
--;; read harmless
SELECT * FROM t JOIN u USING (id) AS j
--;; read harmless
SELECT id, count(*) FILTER (WHERE name IS NOT NULL) FROM t GROUP BY id HAVING count(*) > 0 ORDER BY 2 DESC NULLS LAST
--;; read harmless
SELECT id, sum(amount) OVER (PARTITION BY name ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t
--;; read harmless
SELECT rank() OVER w, lag(id, 1) OVER w FROM t WINDOW w AS (PARTITION BY name ORDER BY id)
--;; read harmless
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY amount) FROM t
--;; read harmless
SELECT name, grouping(name) FROM t GROUP BY ROLLUP (name), GROUPING SETS ((id), ()), CUBE (amount)
--;; read harmless
SELECT DISTINCT ON (name) name, id FROM t ORDER BY name, id
--;; read harmless
SELECT * FROM t WHERE id IN (SELECT t_id FROM u) AND EXISTS (SELECT FROM u WHERE t_id = t.id) AND id = ANY (ARRAY[1, 2, 3]) AND id <> ALL ('{4}'::int[])
--;; read harmless
SELECT (SELECT max(id) FROM t) + 1, ARRAY(SELECT id FROM t ORDER BY 1)
--;; read harmless
WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 10) SELECT * FROM r
--;; read harmless
WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 3) SEARCH DEPTH FIRST BY n SET o SELECT * FROM r
--;; read harmless
WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n % 3 + 1 FROM r) CYCLE n SET is_cycle USING path SELECT n, is_cycle FROM r
--;; read harmless
WITH a AS MATERIALIZED (SELECT 1 AS x), b AS NOT MATERIALIZED (SELECT 2 AS x) SELECT * FROM a, b
--;; read harmless
SELECT * FROM t, LATERAL (SELECT * FROM u WHERE u.t_id = t.id) x
--;; read harmless
SELECT * FROM generate_series(1, 3) WITH ORDINALITY AS g(n, o)
--;; read harmless
SELECT * FROM ROWS FROM (generate_series(1, 3), unnest(ARRAY['a', 'b'])) AS g(a, b)
--;; read harmless
SELECT * FROM json_to_recordset('[{"a": 1}]') AS x(a int)
--;; read harmless varies
SELECT * FROM t TABLESAMPLE BERNOULLI (50)
--;; read harmless
SELECT * FROM t TABLESAMPLE SYSTEM (100) REPEATABLE (1)
--;; read harmless
SELECT * FROM t FETCH FIRST 2 ROWS ONLY
--;; read harmless server
SELECT * FROM t ORDER BY id FETCH FIRST 2 ROWS WITH TIES FOR READ ONLY
--;; read harmless
SELECT * FROM t FOR READ ONLY
--;; read harmless
SELECT * FROM t OFFSET 1 LIMIT ALL
--;; read harmless
SELECT CASE id WHEN 1 THEN 'one' ELSE 'more' END, CASE WHEN id > 1 THEN true END FROM t
--;; read harmless
SELECT COALESCE(name, 'x'), NULLIF(id, 1), GREATEST(1, 2), LEAST(1, 2) FROM t
--;; read harmless
SELECT id IS NULL, name IS NOT DISTINCT FROM 'a', true IS NOT UNKNOWN, (id, name) = (1, 'a'), ROW(1, 2) < ROW(1, 3) FROM t
--;; read harmless
SELECT name LIKE 'a%', name NOT ILIKE 'b_' ESCAPE '\', name SIMILAR TO 'c', name ~* 'd' FROM t
--;; read harmless
SELECT id BETWEEN SYMMETRIC 3 AND 1, id NOT BETWEEN 1 AND 2 FROM t
--;; read harmless
SELECT tags[1], tags[1:2], tags[:2], (ARRAY[[1, 2], [3, 4]])[1][2] FROM t
--;; read harmless
SELECT data -> 'a' ->> 'b', data #> '{a,b}', data @> '{}', data ? 'k', data ?| ARRAY['a'], data ?& ARRAY['b'], data @? '$.a', data['x'] FROM t
--;; read harmless
SELECT id::text, CAST(id AS bigint), '1'::integer, integer '1', date '2020-01-01', interval '1' YEAR TO MONTH FROM t
--;; read harmless
SELECT 'sad'::mood, 1::posint
--;; read harmless
SELECT name COLLATE "C" FROM t ORDER BY name COLLATE "C" USING <
--;; read harmless
SELECT (t).id, t.*, (v.*) FROM t, v
--;; read harmless
SELECT 1 OPERATOR(pg_catalog.+) 2, - 1, @ -5, 5 !~ '1' FROM (SELECT 1) x WHERE 'a' ~ 'b' OR true
--;; read harmless
SELECT EXTRACT(year FROM created), created AT TIME ZONE 'UTC', OVERLAY('abc' PLACING 'x' FROM 1), POSITION('a' IN 'abc'), SUBSTRING('abc' FROM 1 FOR 2), TRIM(BOTH 'x' FROM 'xax'), NORMALIZE('a', NFC), 'a' IS NFC NORMALIZED FROM t
--;; read harmless
SELECT (date '2020-01-01', date '2020-02-01') OVERLAPS (date '2020-01-15', date '2020-03-01'), COLLATION FOR ('a')
--;; read harmless varies
SELECT CURRENT_DATE, CURRENT_TIME(2), CURRENT_TIMESTAMP, LOCALTIME, LOCALTIMESTAMP(0)
--;; read harmless
SELECT CURRENT_USER, CURRENT_ROLE, SESSION_USER, USER, CURRENT_CATALOG, CURRENT_SCHEMA
--;; read harmless
SELECT XMLELEMENT(NAME a, XMLATTRIBUTES(1 AS b), 'c'), XMLFOREST(1 AS a), XMLCONCAT(NULL), XMLPI(NAME a), XMLROOT(XMLPARSE(CONTENT '<a/>'), VERSION NO VALUE), XMLSERIALIZE(CONTENT '<a/>' AS text), '<a/>' IS DOCUMENT
--;; read harmless
SELECT * FROM XMLTABLE('/r/x' PASSING '<r><x>1</x></r>' COLUMNS a int PATH '.' DEFAULT 1 NOT NULL, o FOR ORDINALITY)
--;; read harmless
SELECT make_interval(days => 1), make_interval(days := 1), concat(VARIADIC ARRAY['a', 'b'])
--;; read harmless
SELECT count(DISTINCT name), string_agg(name, ',' ORDER BY id), array_agg(ALL id) FROM t
--;; read harmless
SELECT a.x FROM (VALUES (1), (2)) AS a(x) JOIN (TABLE t) b ON a.x = b.id
--;; read harmless
SELECT U&"\0069d", U&'d\0061t!0061' UESCAPE '!' FROM t
--;; read harmless
SELECT * FROM app.t
--;; read harmless
SELECT * FROM postgres.app.t
--;; read harmless
SELECT pg_locks FROM app.t
--;; read harmless
SELECT NULL, TRUE, B'1', X'1F', 1.5e10, .5
--;; write unparsable
SELECT 1 FROM t WHERE 'a' 'b'
--;; read harmless
SELECT 'a'
'b'
--;; neutral empty
;
--;; neutral empty
;;  ;
--;; neutral empty
/* nothing */ -- at all
--;; read harmless
SELECT 1; SELECT 2
--;; write data_modification
SELECT 1; DELETE FROM t
--;; primary show
SELECT 1; SHOW ALL; SELECT 2
--;; write data_modification
INSERT INTO t VALUES (1)
--;; write data_modification
INSERT INTO t (id, name) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name WHERE t.id > 0 RETURNING *
--;; write data_modification
INSERT INTO t SELECT * FROM t ON CONFLICT ON CONSTRAINT t_pkey DO NOTHING
--;; write data_modification
INSERT INTO t DEFAULT VALUES
--;; write data_modification
UPDATE t SET name = 'x', (id, amount) = (SELECT 1, 2), tags[1] = 'a' FROM u WHERE t.id = u.t_id
--;; write data_modification
UPDATE t SET id = 1 WHERE CURRENT OF c
--;; write data_modification
DELETE FROM t USING u WHERE t.id = u.t_id RETURNING t.id
--;; write data_modification
MERGE INTO t USING u ON t.id = u.t_id WHEN MATCHED AND u.id > 1 THEN UPDATE SET name = 'x' WHEN NOT MATCHED THEN INSERT (id) VALUES (1) WHEN MATCHED THEN DELETE
--;; write data_modification
WITH w AS (SELECT 1) INSERT INTO t SELECT * FROM (WITH x AS (DELETE FROM u RETURNING id) SELECT id FROM x) y
--;; write unparsable
SELEC 1
--;; write unparsable
SELECT 1 FROM
--;; write unparsable
SELECT 'unterminated
--;; write unparsable
SELECT 1 /* unterminated
--;; write unparsable
SELECT 1; SELEC 2
