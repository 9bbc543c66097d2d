--;; extensions that stand beside PostgreSQL
CREATE TABLE journal (what text)
CREATE TABLE item (id int PRIMARY KEY, name text)
INSERT INTO item SELECT n, 'item ' || n FROM generate_series(1, 5) n
CREATE FUNCTION note(text) RETURNS int LANGUAGE sql AS 'INSERT INTO public.journal VALUES ($1) RETURNING 1'
CREATE EXTENSION citext
CREATE EXTENSION hstore
CREATE EXTENSION pgcrypto
CREATE EXTENSION tablefunc
CREATE EXTENSION intarray
CREATE EXTENSION ltree
CREATE EXTENSION pg_trgm
CREATE EXTENSION isn
CREATE EXTENSION "uuid-ossp"
CREATE EXTENSION unaccent
CREATE EXTENSION fuzzystrmatch
CREATE EXTENSION cube
CREATE EXTENSION earthdistance
CREATE EXTENSION seg
CREATE EXTENSION btree_gist
CREATE EXTENSION btree_gin
CREATE EXTENSION xml2
CREATE EXTENSION lo
CREATE EXTENSION dict_xsyn
CREATE EXTENSION tsm_system_rows
CREATE EXTENSION intagg

--;; what they compute
SELECT 'A'::citext = 'a'::citext, regexp_match('AB'::citext, 'b'::citext), strpos('AB'::citext, 'b'::citext)
SELECT 'a=>1, b=>2'::hstore -> 'a', hstore('x', 'y'), akeys('a=>1'::hstore), (each('a=>1'::hstore)).value
SELECT hstore(i) -> 'name' FROM item i WHERE id = 1
SELECT populate_record(NULL::item, 'id=>7, name=>x'::hstore)
SELECT encode(digest('a', 'md5'), 'hex'), encode(hmac('a', 'b', 'sha1'), 'hex'), crypt('a', '$1$salt$') IS NOT NULL
SELECT pgp_sym_decrypt(pgp_sym_encrypt('secret', 'key'), 'key'), length(gen_random_bytes(5)), gen_salt('md5') IS NOT NULL
SELECT ARRAY[3, 1, 2]::int[] & ARRAY[1, 5], sort(ARRAY[3, 1, 2]), icount(ARRAY[1]), ARRAY[1, 2] @@ '1&2'::query_int
SELECT 'a.b.c'::ltree <@ 'a.b'::ltree, subpath('a.b.c'::ltree, 1), nlevel('a.b'), lca('a.b'::ltree, 'a.c'::ltree), 'a.b' ~ 'a.*'::lquery
SELECT similarity('word', 'words') > 0.5, 'word' % 'words', word_similarity('a', 'b'), show_trgm('ab'), 'a' <-> 'b'
SELECT '978-0-393-04002-9'::isbn13, is_valid('978-0-393-04002-9'::isbn13), isbn('978-0-393-04002-9'::isbn13)
SELECT uuid_nil(), uuid_generate_v5(uuid_ns_dns(), 'a.b'), uuid_generate_v4() IS NOT NULL, uuid_generate_v1() IS NOT NULL
SELECT unaccent('Hôtel'), unaccent('unaccent', 'é'), soundex('x'), levenshtein('a', 'b'), metaphone('word', 4), dmetaphone('x')
SELECT cube(1, 2), '(1,2)'::cube @> '(1,2)'::cube, cube_dim('(1,2)'), earth() > 0, (point(1, 1) <@> point(2, 2)) > 0
SELECT earth_distance(ll_to_earth(1, 1), ll_to_earth(2, 2)) > 0, '1..2'::seg && '2..3'::seg
SELECT xpath_string('<a>b</a>', '/a'), xml_valid('<a/>')
SELECT count(*) FROM item TABLESAMPLE system_rows(3)
SELECT int_array_aggregate(id), int_array_enum('{1}'::int[]) FROM item
SELECT count(*) FROM normal_rand(4, 1, 2)
SELECT ts_lexize('unaccent', 'Hôtel')

--;; what they keep in the session
SELECT show_limit()
SELECT set_limit(0.9)
SELECT show_limit(), 'word' % 'words'
SET pg_trgm.similarity_threshold = 0.5
SELECT show_limit(), 'word' % 'words'
RESET pg_trgm.similarity_threshold
SELECT show_limit()
SELECT isn_weak()
SELECT isn_weak(true)
SELECT isn_weak()
SELECT '978-0-393-04002-0'::isbn13
SELECT isn_weak(false)
SELECT isn_weak()
SELECT '978-0-393-04002-0'::isbn13

--;; and nobody else does
SELECT isn_weak(), show_limit()
SELECT '978-0-393-04002-0'::isbn13
SELECT isn_weak(true)

--;; nor what the last has left
SELECT isn_weak()
SELECT '978-0-393-04002-0'::isbn13

--;; functions of theirs that run what they are given
CREATE VIEW noting AS SELECT 1 AS id, 0 AS parent_id, note('view') AS n
SELECT * FROM crosstab('SELECT 1, ''a''::text, note(''crosstab'')') AS c (a int, b int)
SELECT * FROM crosstab('SELECT 1, ''a''::text, 2', 'SELECT ''a''::text UNION SELECT note(''crosstab hash'')::text') AS c (a int, b int, c int)
SELECT * FROM connectby('noting', 'id', 'parent_id', '0', 0) AS t (id int, parent_id int, level int)
SELECT * FROM xpath_table('id', 'name', 'item', '/a', 'note(''xpath'') = 1') AS t (id int, a text)
SELECT lo_oid(5)
CREATE TABLE has_lo (r lo)
CREATE TRIGGER manages BEFORE UPDATE OR DELETE ON has_lo FOR EACH ROW EXECUTE FUNCTION lo_manage(r)
SELECT * FROM has_lo
SELECT populate_record(NULL::noting, 'id=>7'::hstore)
CREATE DOMAIN noted AS int CHECK (note('domain') = 1)
CREATE TYPE pair AS (a int, b noted)
SELECT populate_record(NULL::pair, 'a=>1, b=>2'::hstore)
SELECT NULL::pair #= 'b=>3'::hstore
SELECT 'x'::citext || note('citext')::text
SELECT count(*) FROM journal

--;; one server's own
CREATE EXTENSION pageinspect
CREATE EXTENSION pgstattuple
CREATE EXTENSION pg_freespacemap
CREATE EXTENSION pgrowlocks
CREATE EXTENSION amcheck
CREATE EXTENSION sslinfo
CREATE EXTENSION pg_visibility
SELECT bt_index_check('item_pkey'::regclass)
SELECT tuple_count FROM pgstattuple('item')
SELECT ssl_is_used()
SELECT count(*) >= 0 FROM pg_freespace('item')
SELECT count(*) FROM heap_page_items(get_raw_page('item', 0))
SELECT count(*) FROM pgrowlocks('item')
SELECT pg_truncate_visibility_map('item')
SELECT count(*) > 0 FROM pg_visibility('item')

--;; other servers
CREATE EXTENSION dblink
CREATE EXTENSION postgres_fdw
CREATE SERVER itself FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '1')
CREATE USER MAPPING FOR postgres SERVER itself
CREATE FOREIGN TABLE far (id int) SERVER itself
SELECT count(*) FROM postgres_fdw_get_connections()
CREATE VIEW over_far AS SELECT * FROM far
EXPLAIN (COSTS OFF) SELECT * FROM over_far
SELECT dblink_get_connections()
SELECT dblink_build_sql_insert('item', '1', 1, '{1}', '{2}')
SELECT pkey.colname FROM dblink_get_pkey('item') pkey
DROP SERVER itself CASCADE
