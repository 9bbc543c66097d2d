--;; a database that keeps a journal
CREATE TABLE journal (what text)
CREATE TABLE item (id int PRIMARY KEY, name text)
INSERT INTO item SELECT n, 'item ' || n FROM generate_series(1, 5) n
CREATE FUNCTION note(text) RETURNS int LANGUAGE sql AS 'INSERT INTO journal VALUES ($1) RETURNING 1'
CREATE DOMAIN noted AS int CHECK (note('domain') = 1)

--;; names longer than PostgreSQL keeps them
CREATE FUNCTION a_name_that_is_longer_than_the_sixty_three_bytes_which_postgresql_keeps_of_it() RETURNS int LANGUAGE sql AS 'SELECT note(''long'')'
SELECT a_name_that_is_longer_than_the_sixty_three_bytes_which_postgresql_keeps_of_it()
SELECT a_name_that_is_longer_than_the_sixty_three_bytes_which_postgresql_ke()
SELECT "a_name_that_is_longer_than_the_sixty_three_bytes_which_postgresql_keeps, too"()
CREATE FUNCTION calls_long() RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN RETURN a_name_that_is_longer_than_the_sixty_three_bytes_which_postgresql_keeps_of_it(); END'
SELECT calls_long()
CREATE FUNCTION calls_long_quoted() RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN RETURN "a_name_that_is_longer_than_the_sixty_three_bytes_which_postgresql_of_it"(); END'
SELECT calls_long_quoted()
CREATE FUNCTION calls_long_sql() RETURNS int STABLE LANGUAGE sql AS 'SELECT a_name_that_is_longer_than_the_sixty_three_bytes_which_postgresql_keeps_of_it()'
SELECT calls_long_sql()
CREATE VIEW a_view_that_is_longer_than_the_sixty_three_bytes_which_postgresql_keeps_of_it AS SELECT note('long view') AS n
SELECT * FROM a_view_that_is_longer_than_the_sixty_three_bytes_which_postgresql_keeps_of_it
CREATE FUNCTION reads_long_view() RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT n FROM a_view_that_is_longer_than_the_sixty_three_bytes_which_postgresql_keeps_of_it); END'
SELECT reads_long_view()
CREATE FUNCTION "größe_eines_namens_der_länger_ist_als_dreiundsechzig_bytes_überhaupt_ü"() RETURNS int LANGUAGE sql AS 'SELECT note(''umlauts'')'
CREATE FUNCTION calls_umlauts() RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN RETURN größe_eines_namens_der_länger_ist_als_dreiundsechzig_bytes_überhaupt_ü(); END'
SELECT calls_umlauts()
SELECT größe_eines_namens_der_länger_ist_als_dreiundsechzig_bytes_überhaupt_ü()

--;; operators that have no sign
CREATE SCHEMA ops
CREATE FUNCTION ops.yes(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT public.note(''text operator'') OPERATOR(pg_catalog.=) 1'
CREATE FUNCTION ops.yes(int, int) RETURNS boolean LANGUAGE sql AS 'SELECT public.note(''int operator'') OPERATOR(pg_catalog.=) 1'
CREATE FUNCTION likes() RETURNS boolean STABLE LANGUAGE plpgsql AS $$BEGIN RETURN 'a'::text LIKE 'b'::text; END$$
CREATE FUNCTION likes_not() RETURNS boolean STABLE LANGUAGE plpgsql AS $$BEGIN RETURN 'a'::text NOT LIKE 'b'::text; END$$
CREATE FUNCTION ilikes() RETURNS boolean STABLE LANGUAGE plpgsql AS $$BEGIN RETURN 'a'::text ILIKE 'b'::text; END$$
CREATE FUNCTION ins() RETURNS boolean STABLE LANGUAGE plpgsql AS $$BEGIN RETURN 1 IN (2, 3); END$$
CREATE FUNCTION ins_not() RETURNS boolean STABLE LANGUAGE plpgsql AS $$BEGIN RETURN 1 NOT IN (2, 3); END$$
CREATE FUNCTION betweens() RETURNS boolean STABLE LANGUAGE plpgsql AS $$BEGIN RETURN 1 BETWEEN 2 AND 3; END$$
CREATE FUNCTION cases() RETURNS text STABLE LANGUAGE plpgsql AS $$BEGIN RETURN CASE 1 WHEN 2 THEN 'a' ELSE 'b' END; END$$
CREATE FUNCTION case_statement() RETURNS text STABLE LANGUAGE plpgsql AS $$BEGIN CASE 1 WHEN 2 THEN RETURN 'a'; ELSE RETURN 'b'; END CASE; END$$
CREATE FUNCTION nullifs() RETURNS int STABLE LANGUAGE plpgsql AS $$BEGIN RETURN nullif(1, 2); END$$
CREATE FUNCTION distincts() RETURNS boolean STABLE LANGUAGE plpgsql AS $$BEGIN RETURN 1 IS DISTINCT FROM 2; END$$
CREATE FUNCTION similars() RETURNS boolean STABLE LANGUAGE plpgsql AS $$BEGIN RETURN 'a'::text SIMILAR TO 'b'; END$$
CREATE FUNCTION usings() RETURNS bigint STABLE LANGUAGE plpgsql AS $$BEGIN RETURN (SELECT count(*) FROM public.item a JOIN public.item b USING (id)); END$$
CREATE FUNCTION naturals() RETURNS bigint STABLE LANGUAGE plpgsql AS $$BEGIN RETURN (SELECT count(*) FROM public.item a NATURAL JOIN (VALUES (1)) b (id)); END$$
SELECT likes(), likes_not(), ilikes(), ins(), ins_not(), betweens(), cases(), case_statement(), nullifs(), distincts(), similars(), usings(), naturals()
CREATE OPERATOR ops.~~ (LEFTARG = text, RIGHTARG = text, FUNCTION = ops.yes)
CREATE OPERATOR ops.!~~ (LEFTARG = text, RIGHTARG = text, FUNCTION = ops.yes)
CREATE OPERATOR ops.~~* (LEFTARG = text, RIGHTARG = text, FUNCTION = ops.yes)
CREATE OPERATOR ops.~ (LEFTARG = text, RIGHTARG = text, FUNCTION = ops.yes)
CREATE OPERATOR ops.= (LEFTARG = int, RIGHTARG = int, FUNCTION = ops.yes)
CREATE OPERATOR ops.<> (LEFTARG = int, RIGHTARG = int, FUNCTION = ops.yes)
CREATE OPERATOR ops.>= (LEFTARG = int, RIGHTARG = int, FUNCTION = ops.yes)
SELECT likes()
SET search_path = ops, pg_catalog, public
SELECT likes()
SELECT likes_not()
SELECT ilikes()
SELECT ins()
SELECT ins_not()
SELECT betweens()
SELECT cases()
SELECT case_statement()
SELECT nullifs()
SELECT distincts()
SELECT similars()
SELECT usings()
SELECT naturals()
SELECT 1 BETWEEN 2 AND 3
SELECT 1 NOT IN (2, 3)
SELECT 1 IN (SELECT 2), 1 = ANY (ARRAY[2])
SELECT count(*) FROM public.item a JOIN public.item b USING (id)
SELECT CASE 1 WHEN 2 THEN 3 END
RESET search_path
SELECT likes()
DROP SCHEMA ops CASCADE
SELECT likes(), likes_not(), ilikes(), ins(), ins_not(), betweens(), cases(), case_statement(), nullifs(), distincts(), similars(), usings(), naturals()

--;; settings that a server in recovery refuses
CREATE FUNCTION writable() RETURNS int STABLE SET transaction_read_only = off LANGUAGE sql AS 'SELECT 1'
SELECT writable()
CREATE FUNCTION written_only() RETURNS int STABLE SET transaction_read_only = on LANGUAGE sql AS 'SELECT 2'
SELECT written_only()
CREATE FUNCTION sets_writable() RETURNS text STABLE LANGUAGE plpgsql AS 'BEGIN RETURN set_config(''transaction_read_only'', ''off'', true); END'
SELECT sets_writable()
CREATE FUNCTION sets_by_name(text, text) RETURNS text STABLE LANGUAGE plpgsql AS 'BEGIN RETURN set_config($1, $2, true); END'
SELECT sets_by_name('app.x', 'off')
CREATE FUNCTION sets_in_sql() RETURNS text STABLE LANGUAGE sql AS 'SELECT set_config(''transaction_read_only'', ''off'', true)'
SELECT sets_in_sql()
CREATE VIEW sets_in_view AS SELECT set_config('transaction_read_only', 'off', true)
SELECT * FROM sets_in_view
SELECT set_config('transaction_read_only', 'off', true)
SELECT set_config(lower('TRANSACTION_READ_ONLY'), 'off', true)
CREATE FUNCTION isolated() RETURNS int STABLE SET default_transaction_isolation = 'serializable' LANGUAGE sql AS 'SELECT 3'
SELECT isolated()
CREATE FUNCTION by_role() RETURNS name STABLE SET role = 'postgres' LANGUAGE sql AS 'SELECT current_user'
SELECT by_role()
CREATE FUNCTION in_time() RETURNS text STABLE SET timezone = 'Asia/Tokyo' LANGUAGE sql AS $$SELECT current_setting('app.none', true)$$
SELECT in_time()
SELECT 4

--;; code in odd clothes
CREATE FUNCTION unicode() RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN RETURN U&"not\0065"(''unicode''); END'
SELECT unicode()
CREATE FUNCTION quoted() RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN RETURN "public"."note"(''quoted''); END'
SELECT quoted()
CREATE FUNCTION spaced() RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN RETURN note /* ( */ -- (
    (''spaced''); END'
SELECT spaced()
CREATE FUNCTION upper_case() RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN RETURN NOTE(''upper''); END'
SELECT upper_case()
CREATE FUNCTION raising() RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''%'', note(''raised''); RETURN 1; END'
SELECT raising()
CREATE FUNCTION using_detail() RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE USING MESSAGE = ''x'' || note(''detail''); RETURN 1; END'
SELECT using_detail()
CREATE FUNCTION asserting() RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN ASSERT note(''asserted'') = 1, ''no''; RETURN 1; END'
SELECT asserting()
CREATE FUNCTION looping() RETURNS int STABLE LANGUAGE plpgsql AS 'DECLARE i int; BEGIN FOR i IN 1..note(''looped'') LOOP NULL; END LOOP; RETURN i; END'
SELECT looping()
CREATE FUNCTION exiting() RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN LOOP EXIT WHEN note(''exit'') = 1; END LOOP; RETURN 1; END'
SELECT exiting()
CREATE FUNCTION slicing() RETURNS int STABLE LANGUAGE plpgsql AS 'DECLARE a int[] := ''{1,2,3}''; BEGIN a[note(''subscript'')] := 5; RETURN a[1]; END'
SELECT slicing()
CREATE FUNCTION coercing() RETURNS int STABLE LANGUAGE plpgsql AS 'DECLARE n noted; BEGIN n := 5; RETURN n; END'
SELECT coercing()
CREATE TABLE noted_column (n noted)
CREATE FUNCTION by_column() RETURNS int STABLE LANGUAGE plpgsql AS 'DECLARE n noted_column.n%TYPE := 6; BEGIN RETURN n; END'
SELECT by_column()
CREATE FUNCTION by_row() RETURNS int STABLE LANGUAGE plpgsql AS 'DECLARE r noted_column; BEGIN r.n := 7; RETURN r.n; END'
SELECT by_row()
CREATE FUNCTION returning_domain() RETURNS noted STABLE LANGUAGE plpgsql AS 'BEGIN RETURN 8; END'
SELECT returning_domain()
CREATE FUNCTION taking(n noted) RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN RETURN 1; END'
SELECT taking(9)
CREATE FUNCTION giving(OUT n noted) STABLE LANGUAGE plpgsql AS 'BEGIN n := 10; END'
SELECT giving()
CREATE FUNCTION cursing() RETURNS int STABLE LANGUAGE plpgsql AS 'DECLARE c CURSOR (x int) FOR SELECT x + note(''cursor''); r int; BEGIN OPEN c(note(''opened'')); FETCH c INTO r; CLOSE c; RETURN r; END'
SELECT cursing()
CREATE FUNCTION locking() RETURNS int STABLE LANGUAGE plpgsql AS 'DECLARE c CURSOR FOR SELECT id FROM item WHERE id = 1 FOR NO KEY UPDATE; r int; BEGIN OPEN c; FETCH c INTO r; RETURN r; END'
SELECT locking()
CREATE FUNCTION constant() RETURNS int STABLE LANGUAGE plpgsql AS 'DECLARE c CONSTANT int := note(''constant''); BEGIN RETURN c; END'
SELECT constant()
CREATE FUNCTION nested() RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN <<inner>> DECLARE x int DEFAULT note(''nested''); BEGIN RETURN inner.x; END; END'
SELECT nested()
CREATE FUNCTION returning_next() RETURNS SETOF int STABLE LANGUAGE plpgsql AS 'BEGIN RETURN NEXT note(''next''); RETURN NEXT 2; END'
SELECT * FROM returning_next()
CREATE FUNCTION performing() RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN PERFORM FROM item WHERE id = 1 AND note(''performed'') = 1; RETURN 1; END'
SELECT performing()
CREATE FUNCTION into_first() RETURNS int STABLE LANGUAGE plpgsql AS 'DECLARE x int; BEGIN SELECT INTO x note(''into''); RETURN x; END'
SELECT into_first()
CREATE FUNCTION by_exception() RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN PERFORM 1 / 0; RETURN 0; EXCEPTION WHEN division_by_zero THEN RETURN note(''exception''); END'
SELECT by_exception()
CREATE FUNCTION subtransaction() RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN BEGIN PERFORM 1 / 0; EXCEPTION WHEN OTHERS THEN NULL; END; RETURN 1; END'
SELECT subtransaction()
CREATE FUNCTION numbered() RETURNS xid8 STABLE LANGUAGE plpgsql AS 'BEGIN BEGIN RETURN pg_current_xact_id_if_assigned(); EXCEPTION WHEN OTHERS THEN RETURN NULL; END; END'
SELECT numbered() IS NULL
CREATE FUNCTION diagnosing() RETURNS text STABLE LANGUAGE plpgsql AS 'DECLARE t text; BEGIN GET DIAGNOSTICS t = PG_CONTEXT; RETURN t; END'
SELECT diagnosing()
CREATE FUNCTION atomic_writes() RETURNS int STABLE LANGUAGE sql BEGIN ATOMIC SELECT note('atomic'); END
SELECT atomic_writes()
CREATE FUNCTION returning_expression() RETURNS int STABLE LANGUAGE sql RETURN note('return')
SELECT returning_expression()
CREATE FUNCTION atomic_reads(int) RETURNS text STABLE LANGUAGE sql BEGIN ATOMIC SELECT name FROM item WHERE id = $1; END
SELECT atomic_reads(1)
CREATE FUNCTION several() RETURNS int STABLE LANGUAGE sql AS 'SELECT 1; SELECT note(''several''); SELECT 2'
SELECT several()
CREATE FUNCTION escaped() RETURNS int STABLE LANGUAGE plpgsql AS E'BEGIN RETURN not\x65(\'escaped\'); END'
SELECT escaped()
CREATE FUNCTION "odd name"(text) RETURNS int LANGUAGE sql AS 'SELECT note($1)'
CREATE FUNCTION calls_odd() RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN RETURN "odd name"(''odd''); END'
SELECT calls_odd()
CREATE FUNCTION "with""quote"(text) RETURNS int LANGUAGE sql AS 'SELECT note($1)'
CREATE FUNCTION calls_quote() RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN RETURN "with""quote"(''quote''); END'
SELECT calls_quote()
CREATE FUNCTION "Note"(text) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 0'
CREATE FUNCTION calls_mixed() RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN RETURN "Note"(''mixed''); END'
SELECT calls_mixed()
SELECT count(*) FROM journal

--;; code that changes behind its callers
CREATE FUNCTION inner_code() RETURNS int STABLE LANGUAGE sql AS 'SELECT 1'
CREATE FUNCTION outer_code() RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN RETURN inner_code(); END'
CREATE VIEW outer_view AS SELECT outer_code() AS a
CREATE VIEW outermost AS SELECT a FROM outer_view
SELECT a FROM outermost
CREATE OR REPLACE FUNCTION inner_code() RETURNS int STABLE LANGUAGE sql AS 'SELECT note(''inner'')'
SELECT a FROM outermost
ALTER FUNCTION inner_code() RENAME TO other_code
SELECT a FROM outermost
CREATE FUNCTION inner_code() RETURNS int STABLE LANGUAGE sql AS 'SELECT 2'
SELECT a FROM outermost
BEGIN
CREATE OR REPLACE FUNCTION inner_code() RETURNS int STABLE LANGUAGE sql AS 'SELECT note(''in a block'')'
SELECT a FROM outermost
ROLLBACK
SELECT a FROM outermost
CREATE SCHEMA hidden
CREATE FUNCTION hidden.inner_code() RETURNS int LANGUAGE sql AS 'SELECT public.note(''hidden'')'
SELECT a FROM outermost
SET search_path = hidden, public
SELECT a FROM outermost
SELECT inner_code()
SELECT public.inner_code()
RESET search_path
ALTER FUNCTION inner_code() SET SCHEMA hidden
DROP SCHEMA hidden CASCADE
SELECT a FROM outermost
SELECT * FROM journal ORDER BY what
