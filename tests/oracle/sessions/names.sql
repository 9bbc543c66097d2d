--;; names in many schemas
CREATE TABLE journal (what text)
CREATE FUNCTION note(text) RETURNS int LANGUAGE sql AS 'INSERT INTO public.journal VALUES ($1) RETURNING 1'
CREATE SCHEMA calm
CREATE SCHEMA wild
CREATE TABLE calm.thing AS SELECT 1 AS a
CREATE VIEW wild.thing AS SELECT public.note('thing') AS a
CREATE FUNCTION calm.act() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'
CREATE FUNCTION wild.act() RETURNS int LANGUAGE sql AS 'SELECT public.note(''act'')'
CREATE DOMAIN calm.kind AS int
CREATE DOMAIN wild.kind AS int CHECK (public.note('kind') = 1)
CREATE OPERATOR calm.<<< (LEFTARG = int, RIGHTARG = int, FUNCTION = int4pl)
CREATE FUNCTION wild.shift(int, int) RETURNS int LANGUAGE sql AS 'SELECT public.note(''shift'')'
CREATE OPERATOR wild.<<< (LEFTARG = int, RIGHTARG = int, FUNCTION = wild.shift)
SELECT a FROM calm.thing
SELECT a FROM wild.thing
SELECT calm.act()
SELECT wild.act()
SELECT act()
SET search_path = calm
SELECT a FROM thing
SELECT act()
SELECT 1::kind
SELECT 1 <<< 2
SET search_path = wild
SELECT a FROM thing
SELECT act()
SELECT 1::kind
SELECT 1 <<< 2
SET search_path TO calm, wild
SELECT act(), a FROM thing
SET search_path TO wild, calm
SELECT act(), a FROM thing
SET search_path = 'calm, wild'
SELECT act()
SET search_path = "calm", "wild"
SELECT act()
SET search_path = nowhere, calm
SELECT act()
SET search_path = ''
SELECT act()
SELECT a FROM calm.thing
RESET search_path
SELECT act()
SELECT set_config('search_path', 'wild', false)
SELECT act()
SELECT set_config('search_path', 'calm', false)
SELECT act()
BEGIN
SET LOCAL search_path = wild
SELECT act()
COMMIT
SELECT act()
BEGIN
SET search_path = wild
SELECT act()
ROLLBACK
SELECT act()
BEGIN; SET search_path = wild; SAVEPOINT a; SET search_path = calm; ROLLBACK TO a; COMMIT
SELECT act()
SET search_path = calm; SELECT act()
SET search_path = wild; SELECT act()
SELECT act(); SET search_path = calm
SELECT act()
DISCARD ALL
SELECT act()

--;; a role's own search path
CREATE ROLE stranger_wild SUPERUSER
CREATE ROLE stranger_calm SUPERUSER
ALTER ROLE stranger_wild SET search_path = wild
ALTER ROLE stranger_calm SET search_path = calm
SET ROLE stranger_wild
SELECT act()
RESET ROLE
SET SESSION AUTHORIZATION stranger_wild
SHOW search_path
SELECT act()
RESET SESSION AUTHORIZATION
CREATE SCHEMA stranger_wild
CREATE FUNCTION stranger_wild.owned() RETURNS int LANGUAGE sql AS 'SELECT public.note(''owned'')'
CREATE FUNCTION public.owned() RETURNS int LANGUAGE sql AS 'SELECT 0'
SELECT owned()
SET ROLE stranger_wild
SELECT owned()
RESET ROLE
SELECT owned()
DROP SCHEMA stranger_wild CASCADE
SET ROLE stranger_wild
SELECT owned()
RESET ROLE
DROP ROLE stranger_wild
DROP ROLE stranger_calm

--;; functions with settings of their own
CREATE FUNCTION goes_wild() RETURNS int STABLE SET search_path = wild LANGUAGE plpgsql AS 'BEGIN RETURN act(); END'
CREATE FUNCTION goes_calm() RETURNS int STABLE SET search_path = calm LANGUAGE plpgsql AS 'BEGIN RETURN act(); END'
CREATE FUNCTION goes_along() RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN RETURN act(); END'
SET search_path = calm, public
SELECT goes_wild()
SELECT goes_calm()
SELECT goes_along()
SET search_path = wild, public
SELECT goes_calm()
SELECT goes_along()
ALTER FUNCTION goes_calm() SET search_path = wild
SELECT goes_calm()
CREATE FUNCTION public.changes_path() RETURNS text LANGUAGE plpgsql AS 'BEGIN PERFORM set_config(''search_path'', ''wild, public'', false); RETURN ''done''; END'
SET search_path = calm, public
SELECT act()
SELECT changes_path()
SELECT act()
SET search_path = calm, public
SELECT changes_path(), act()
SELECT act()
CREATE FUNCTION public.inner_path() RETURNS int LANGUAGE plpgsql AS 'BEGIN PERFORM set_config(''search_path'', ''wild'', true); RETURN act(); END'
SET search_path = calm, public
SELECT inner_path()
SELECT act()
RESET ALL

--;; what PostgreSQL has as well
CREATE SCHEMA mask
CREATE FUNCTION mask.upper(text) RETURNS text LANGUAGE sql AS 'SELECT public.note(''upper'')::text'
CREATE FUNCTION mask.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT to_timestamp(public.note(''now''))'
CREATE FUNCTION mask.count(anyelement) RETURNS bigint LANGUAGE sql AS 'SELECT public.note(''count'')::bigint'
CREATE VIEW mask.pg_class AS SELECT public.note('pg_class') AS relname
CREATE DOMAIN mask.text AS pg_catalog.text CHECK (public.note('text') = 1)
SELECT upper('a')
SELECT count(*) FROM pg_class WHERE relname = 'journal'
SET search_path = mask, pg_catalog
SELECT upper('a'), pg_catalog.upper('b')
SELECT count(1)
SELECT now() < '1980-01-01'
SELECT * FROM pg_class
SELECT relname FROM pg_catalog.pg_class WHERE relname = 'journal'
SELECT 'x'::text
SET search_path = pg_catalog, mask
SELECT upper('a')
SET search_path = mask
SELECT upper('a')
RESET search_path
CREATE FUNCTION upper(int) RETURNS text LANGUAGE sql AS 'SELECT note(''upper int'')::text'
SELECT upper(1)
SELECT upper('a')
CREATE FUNCTION upper(text, int) RETURNS text LANGUAGE sql AS 'SELECT note(''upper two'')::text'
SELECT upper('a', 1)
SELECT upper('a')
CREATE TYPE tone AS ENUM ('high', 'low')
CREATE FUNCTION lower(tone, int) RETURNS text LANGUAGE sql AS 'SELECT note(''lower tone'')::text'
SELECT lower('high', 1)
SELECT lower('HIGH')
CREATE FUNCTION initcap(what tone) RETURNS text LANGUAGE sql AS 'SELECT note(''initcap tone'')::text'
SELECT initcap('high')
SELECT initcap(what => 'high')
SELECT initcap('high'::tone)
CREATE TYPE duo AS (a int, b int)
CREATE FUNCTION reverse(duo) RETURNS text LANGUAGE sql AS 'SELECT note(''reverse duo'')::text'
SELECT reverse('abc')
SELECT reverse(ROW(1, 2))
SELECT reverse((1, 2))
SELECT reverse(x) FROM (VALUES (1, 2)) x
SELECT reverse(x.*) FROM (SELECT 1, 2) x
WITH x AS (SELECT 1, 2) SELECT reverse(x) FROM x
CREATE TABLE elder (a int, b int)
CREATE TABLE younger () INHERITS (elder)
INSERT INTO younger VALUES (1, 2)
CREATE FUNCTION ascii(elder) RETURNS int LANGUAGE sql AS 'SELECT note(''ascii elder'')'
SELECT ascii('a')
SELECT ascii(younger) FROM younger
SELECT younger.ascii FROM younger
SELECT ascii(y) FROM younger y
CREATE EXTENSION citext
CREATE FUNCTION sqrt(citext) RETURNS text LANGUAGE sql AS 'SELECT note(''sqrt citext'')::text'
SELECT sqrt(4)
SELECT sqrt('4')
CREATE OPERATOR * (LEFTARG = citext, RIGHTARG = citext, FUNCTION = textcat)
SELECT 2 * 3

--;; a table and its session's own
CREATE TABLE shadowed AS SELECT 'permanent' AS what
SELECT * FROM shadowed
CREATE TEMP TABLE shadowed AS SELECT 'temporary' AS what
SELECT * FROM shadowed
SELECT * FROM public.shadowed
SELECT * FROM pg_temp.shadowed
INSERT INTO shadowed VALUES ('more')
SELECT count(*) FROM shadowed
SET search_path = public, pg_temp
SELECT * FROM shadowed
RESET search_path
DROP TABLE shadowed
SELECT * FROM shadowed
BEGIN
CREATE TEMP TABLE shadowed ON COMMIT DROP AS SELECT 'until commit' AS what
SELECT * FROM shadowed
COMMIT
SELECT * FROM shadowed
CREATE FUNCTION pg_temp.mine() RETURNS int LANGUAGE sql AS 'SELECT public.note(''temporary function'')'
SELECT pg_temp.mine()
SELECT mine()
CREATE TEMP VIEW shadowed AS SELECT note('temporary view') AS what
SELECT * FROM shadowed
DROP VIEW shadowed
CREATE FUNCTION makes_temporary() RETURNS void LANGUAGE plpgsql AS 'BEGIN CREATE TEMP TABLE shadowed AS SELECT ''by function'' AS what; END'
SELECT makes_temporary()
SELECT * FROM shadowed
DISCARD TEMP
SELECT * FROM shadowed
CREATE TEMP SEQUENCE passing
SELECT nextval('passing'), currval('passing')
SELECT last_value FROM passing
DISCARD ALL
SELECT * FROM shadowed

--;; overloads
CREATE FUNCTION pick(int) RETURNS text IMMUTABLE LANGUAGE sql AS $$SELECT 'int'$$
CREATE FUNCTION pick(text) RETURNS text LANGUAGE sql AS $$SELECT 'text ' || note('text')$$
CREATE FUNCTION pick(numeric) RETURNS text LANGUAGE sql AS $$SELECT 'numeric ' || note('numeric')$$
CREATE FUNCTION pick(int, int) RETURNS text IMMUTABLE LANGUAGE sql AS $$SELECT 'two'$$
CREATE FUNCTION pick(int, int, VARIADIC int[]) RETURNS text LANGUAGE sql AS $$SELECT 'many ' || note('many')$$
CREATE FUNCTION pick() RETURNS text IMMUTABLE LANGUAGE sql AS $$SELECT 'none'$$
SELECT pick()
SELECT pick(1)
SELECT pick('1')
SELECT pick(1.0)
SELECT pick(1, 2)
SELECT pick(1, 2, 3)
SELECT pick(1, 2, VARIADIC ARRAY[3])
SELECT pick(1, 2, 3, 4)
CREATE FUNCTION named(a int, b int DEFAULT 2, c int DEFAULT note('c')) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT a + b'
SELECT named(1)
SELECT named(1, c => 3)
SELECT named(a => 1, c => 4, b => 2)
SELECT named(c := 5, a := 1)
CREATE FUNCTION anything(anyelement) RETURNS anyelement LANGUAGE plpgsql AS 'BEGIN PERFORM note(''any''); RETURN $1; END'
SELECT anything(1), anything('x'::text)
CREATE FUNCTION anything(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1'
SELECT anything(1)
SELECT anything(1.5)
CREATE PROCEDURE work(INOUT a int) LANGUAGE plpgsql AS 'BEGIN PERFORM note(''procedure''); a := a + 1; END'
CALL work(1)
CREATE PROCEDURE rests(INOUT a int) LANGUAGE plpgsql AS 'BEGIN a := a + 1; END'
CALL rests(1)
DROP FUNCTION pick(text)
SELECT pick('1')
DROP FUNCTION pick(numeric)
SELECT pick('1')
SELECT pick(1.0)
