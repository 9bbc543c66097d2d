CREATE TABLE journal (what text)
CREATE TABLE item (id int PRIMARY KEY, name text)
INSERT INTO item SELECT n, 'item ' || n FROM generate_series(1, 5) n
CREATE UNLOGGED TABLE fleeting AS SELECT 1 AS a
CREATE SEQUENCE counter
CREATE FUNCTION note(text) RETURNS int LANGUAGE sql AS 'INSERT INTO public.journal VALUES ($1) RETURNING 1'
CREATE FUNCTION quiet(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1'
CREATE FUNCTION add_noting(int, int) RETURNS int LANGUAGE sql AS 'SELECT public.note(''operator'') + $1 + $2'
CREATE OPERATOR +~+ (LEFTARG = int, RIGHTARG = int, FUNCTION = add_noting)
CREATE OPERATOR --> (LEFTARG = int, RIGHTARG = int, FUNCTION = int4pl)
CREATE DOMAIN noted AS int CHECK (public.note('domain') = 1)
CREATE DOMAIN calm AS int CHECK (VALUE > 0)
CREATE TYPE pair AS (a int, b noted)
CREATE TYPE tone AS ENUM ('high', 'low')
CREATE FUNCTION lower(tone) RETURNS text LANGUAGE sql AS 'SELECT public.note(''tone'')::text'
CREATE FUNCTION upper(text, int) RETURNS text LANGUAGE sql AS 'SELECT public.note(''upper'')::text'
CREATE SCHEMA mask
CREATE FUNCTION mask.abs(int) RETURNS int LANGUAGE sql AS 'SELECT public.note(''abs'')'
CREATE FUNCTION mask.quiet(int) RETURNS int LANGUAGE sql AS 'SELECT public.note(''masked'')'
CREATE FUNCTION shout(item) RETURNS text LANGUAGE sql AS 'SELECT public.note(''shout'') || $1.name'
CREATE FUNCTION plain(item) RETURNS text LANGUAGE sql STABLE AS 'SELECT $1.name'
CREATE VIEW reading AS SELECT id, name FROM item
CREATE VIEW noting AS SELECT note('view') AS a
CREATE FUNCTION setting() RETURNS text STABLE LANGUAGE plpgsql AS 'BEGIN RETURN current_setting(''transaction_read_only''); END'
CREATE FUNCTION deep() RETURNS int STABLE LANGUAGE plpgsql AS 'DECLARE x int := public.note(''deep''); BEGIN RETURN x; END'
CREATE FUNCTION late() RETURNS bigint STABLE LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM noting); END'
CREATE FUNCTION pick(int) RETURNS text IMMUTABLE LANGUAGE sql AS $$SELECT 'int'$$
CREATE FUNCTION pick(text) RETURNS text LANGUAGE sql AS $$SELECT 'text ' || public.note('text')$$
CREATE FUNCTION pick(int, int) RETURNS text IMMUTABLE LANGUAGE sql AS $$SELECT 'two'$$
CREATE FUNCTION step(int, int) RETURNS int LANGUAGE sql AS 'SELECT public.note(''step'') + $1 + $2'
CREATE AGGREGATE total(int) (SFUNC = step, STYPE = int, INITCOND = '0')
CREATE FUNCTION ask(text) RETURNS text LANGUAGE plpgsql STABLE AS 'DECLARE r text; BEGIN EXECUTE $1 INTO r; RETURN r; END'
