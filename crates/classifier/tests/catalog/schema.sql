-- A database whose author hides writes wherever PostgreSQL lets one.
CREATE EXTENSION pgcrypto;
CREATE EXTENSION tablefunc;
CREATE EXTENSION hstore;
CREATE EXTENSION citext;
CREATE EXTENSION file_fdw;

CREATE TABLE log (at timestamptz DEFAULT now(), what text);
CREATE TABLE t (id int PRIMARY KEY, name text, n int);
INSERT INTO t SELECT i, 'name ' || i, i % 3 FROM generate_series(1, 20) i;
CREATE UNLOGGED TABLE unlogged (id int);
CREATE SEQUENCE s;
CREATE TABLE ids (id serial, last_value int);
CREATE SCHEMA other;
CREATE SCHEMA "Odd Name";

-- Functions.
CREATE FUNCTION writer() RETURNS int LANGUAGE sql AS 'INSERT INTO log (what) VALUES (''writer'') RETURNING 1';
CREATE FUNCTION writer_of(x anyelement) RETURNS anyelement LANGUAGE plpgsql AS 'BEGIN INSERT INTO log (what) VALUES (''of''); RETURN x; END';
CREATE FUNCTION wrapper() RETURNS int STABLE LANGUAGE sql AS 'SELECT writer()';
CREATE FUNCTION immutable_wrapper() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT public.writer()';
CREATE FUNCTION plpgsql_wrapper() RETURNS int STABLE LANGUAGE plpgsql AS 'DECLARE x int; BEGIN x := writer(); RETURN x; END';
CREATE FUNCTION catcher() RETURNS int LANGUAGE plpgsql AS 'BEGIN INSERT INTO log (what) VALUES (''c''); RETURN 1; EXCEPTION WHEN others THEN RETURN 0; END';
CREATE FUNCTION drawer() RETURNS bigint LANGUAGE sql AS 'SELECT nextval(''s'')';
CREATE FUNCTION asker() RETURNS bigint LANGUAGE sql AS 'SELECT lastval()';
CREATE FUNCTION noter(text) RETURNS void LANGUAGE sql AS 'SELECT pg_notify(''c'', $1)';
CREATE FUNCTION locker(int) RETURNS void LANGUAGE sql AS 'SELECT 1 FROM t WHERE id = $1 FOR UPDATE';
CREATE FUNCTION numberer() RETURNS bigint STABLE LANGUAGE sql AS 'SELECT txid_current()';
CREATE FUNCTION place() RETURNS boolean STABLE LANGUAGE sql AS 'SELECT pg_is_in_recovery()';
CREATE FUNCTION runner(text) RETURNS void LANGUAGE plpgsql AS 'BEGIN EXECUTE $1; END';
CREATE FUNCTION asks(text) RETURNS bigint STABLE LANGUAGE plpgsql AS 'DECLARE n bigint; BEGIN EXECUTE $1 INTO n; RETURN n; END';
CREATE FUNCTION reader(int) RETURNS text LANGUAGE sql AS 'SELECT name FROM t WHERE id = $1';
CREATE FUNCTION plain(x int, y int DEFAULT 1) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT x + y';
CREATE FUNCTION loops(upto int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE total int := 0; r record;
BEGIN
    FOR r IN SELECT id FROM t WHERE id <= upto LOOP
        total := total + CASE WHEN r.id > 2 THEN r.id ELSE 0 END;
    END LOOP;
    IF total > 5 THEN RETURN total; ELSE RETURN 0; END IF;
END $$;
CREATE FUNCTION atomic(below int) RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM t WHERE id < below; END;
CREATE FUNCTION atomic_writer() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT nextval('s'); END;
CREATE FUNCTION atomic_insert() RETURNS void LANGUAGE sql BEGIN ATOMIC INSERT INTO log (what) VALUES ('a'); END;
CREATE FUNCTION atomic_wrapper() RETURNS int STABLE LANGUAGE sql RETURN writer();
CREATE FUNCTION defaulted(x int DEFAULT writer()) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION rows_of() RETURNS SETOF t STABLE LANGUAGE sql AS 'SELECT * FROM t';
CREATE FUNCTION many(VARIADIC int[]) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION variadic_default(VARIADIC int[] DEFAULT '{}') RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION overloaded(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION overloaded(int, int) RETURNS int LANGUAGE sql AS 'SELECT writer()';
CREATE FUNCTION twice() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION other.twice() RETURNS int LANGUAGE sql AS 'SELECT writer()';
CREATE FUNCTION "Odd Name"."Odd ()"() RETURNS int LANGUAGE sql AS 'SELECT writer()';
CREATE FUNCTION internal_alias(regclass) RETURNS bigint STABLE LANGUAGE internal AS 'nextval_oid';
CREATE FUNCTION internal_harmless(int, int) RETURNS int IMMUTABLE LANGUAGE internal AS 'int4pl';
CREATE FUNCTION upper(t) RETURNS text LANGUAGE sql AS 'SELECT writer()::text';
CREATE FUNCTION effect(t) RETURNS int LANGUAGE sql AS 'SELECT writer()';
CREATE FUNCTION harmless(t) RETURNS int LANGUAGE sql AS 'SELECT $1.n';
CREATE FUNCTION mutual_a(int) RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
CREATE FUNCTION mutual_b(int) RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN IF $1 > 0 THEN RETURN mutual_a($1 - 1); END IF; RETURN 1; END';
CREATE OR REPLACE FUNCTION mutual_a(int) RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN IF $1 > 0 THEN RETURN mutual_b($1 - 1); END IF; RETURN 1; END';
CREATE PROCEDURE does_nothing() LANGUAGE plpgsql AS 'BEGIN NULL; END';
CREATE PROCEDURE writes() LANGUAGE plpgsql AS 'BEGIN INSERT INTO log (what) VALUES (''p''); COMMIT; END';

-- What functions do to sessions.
CREATE FUNCTION sets_it() RETURNS text LANGUAGE sql AS 'SELECT set_config(''app.User'', ''x'', false)';
CREATE FUNCTION sets_local(text) RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN set_config(''app.local'', $1, true); END';
CREATE FUNCTION configured() RETURNS int STABLE SET app.of_function = '1' LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION calls_setter() RETURNS text LANGUAGE sql AS 'SELECT sets_it()';
CREATE FUNCTION guards() RETURNS boolean LANGUAGE sql AS 'SELECT pg_try_advisory_lock(1)';

-- Views.
CREATE VIEW v AS SELECT id, name FROM t;
CREATE VIEW v_v AS SELECT * FROM v;
CREATE VIEW v_writer AS SELECT id, writer() FROM t;
CREATE VIEW v_v_writer AS SELECT id FROM v_writer;
CREATE VIEW v_nextval AS SELECT nextval('s') AS n;
CREATE VIEW v_unlogged AS SELECT * FROM unlogged;
CREATE VIEW v_stat AS SELECT pid FROM pg_stat_activity;
CREATE VIEW v_recovery AS SELECT pg_is_in_recovery() AS r;
CREATE VIEW v_lock AS SELECT id FROM t FOR UPDATE;
CREATE VIEW v_sequence AS SELECT last_value FROM s;
CREATE VIEW v_field AS SELECT t.effect FROM t;
CREATE VIEW v_union AS SELECT id FROM t UNION SELECT writer();
CREATE VIEW v_where AS SELECT id FROM t WHERE id IN (SELECT writer());
CREATE MATERIALIZED VIEW m AS SELECT id, writer() AS w FROM t;
CREATE FUNCTION through_view() RETURNS bigint STABLE LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM v_writer); END';

-- Operators.
CREATE OPERATOR @@@@ (LEFTARG = int, RIGHTARG = int, FUNCTION = int4pl);
CREATE FUNCTION operator_writer(int, int) RETURNS int LANGUAGE sql AS 'SELECT writer()';
CREATE OPERATOR !@! (LEFTARG = int, RIGHTARG = int, FUNCTION = operator_writer);
CREATE OPERATOR other.!@!@ (LEFTARG = int, RIGHTARG = int, FUNCTION = operator_writer);
CREATE FUNCTION uses_operator(int) RETURNS int STABLE LANGUAGE sql AS 'SELECT $1 !@! 1';
CREATE FUNCTION plpgsql_operator(int) RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN RETURN $1!@!1; END';
CREATE FUNCTION log_eq(log, log) RETURNS boolean LANGUAGE sql AS 'SELECT writer() = 1';
CREATE OPERATOR = (LEFTARG = log, RIGHTARG = log, FUNCTION = log_eq);

-- Types, domains, casts.
CREATE DOMAIN plain_domain AS int CHECK (VALUE > 0);
CREATE DOMAIN writing_domain AS int CHECK (writer() = 1);
CREATE DOMAIN domain_of_domain AS writing_domain;
CREATE TYPE holder AS (a int, b writing_domain);
CREATE TABLE of_domain (id writing_domain);
CREATE TABLE of_holder (h holder[]);
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TABLE moody (m mood, e citext, h hstore);
CREATE FUNCTION takes_domain(writing_domain) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION mood_to_int(mood) RETURNS int LANGUAGE sql AS 'SELECT writer()';
CREATE TYPE shade AS ENUM ('light', 'dark');
CREATE FUNCTION shade_to_int(shade) RETURNS int LANGUAGE sql AS 'SELECT writer()';
CREATE CAST (shade AS int) WITH FUNCTION shade_to_int(shade);
CREATE TABLE shady (s shade);

-- Aggregates and window functions.
CREATE FUNCTION sum_step(int, int) RETURNS int LANGUAGE sql AS 'SELECT writer() + $1 + $2';
CREATE AGGREGATE writing_sum(int) (SFUNC = sum_step, STYPE = int, INITCOND = '0');
CREATE AGGREGATE plain_sum(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');

-- Row security.
CREATE TABLE guarded (id int);
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON guarded USING (writer() = 1);
CREATE TABLE guarded_plain (id int);
ALTER TABLE guarded_plain ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON guarded_plain USING (id > current_setting('app.least', true)::int);
CREATE VIEW v_guarded AS SELECT * FROM guarded;

-- Inheritance and partitions.
CREATE TABLE parent (a int) PARTITION BY RANGE (a);
CREATE TABLE child_1 PARTITION OF parent FOR VALUES FROM (0) TO (10);
CREATE UNLOGGED TABLE child_2 PARTITION OF parent FOR VALUES FROM (10) TO (20);
CREATE TABLE parts (a int) PARTITION BY RANGE (a);
CREATE TABLE part_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);

-- Elsewhere.
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
CREATE FOREIGN TABLE passwords (line text) SERVER files OPTIONS (filename '/etc/passwd', delimiter E'\x01');
CREATE UNLOGGED TABLE other.copied (id int);
CREATE TABLE copied (id int);
CREATE TABLE pg_mine (id int);

-- Triggers, rules, defaults: what they do matters to those who write.
CREATE FUNCTION setting_trigger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM set_config(''app.by_trigger'', ''1'', false); RETURN NEW; END';
CREATE TABLE triggering (id int);
CREATE TRIGGER tr BEFORE INSERT ON triggering FOR EACH ROW EXECUTE FUNCTION setting_trigger();
CREATE FUNCTION plain_trigger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.id := 1; RETURN NEW; END';
CREATE TABLE triggered (id int, made int DEFAULT writer(), twice int GENERATED ALWAYS AS (id * 2) STORED);
CREATE TRIGGER tr BEFORE INSERT ON triggered FOR EACH ROW EXECUTE FUNCTION plain_trigger();

-- Names that PostgreSQL has as well, for types of the user's.
CREATE TYPE flag AS ENUM ('on', 'off');
CREATE TABLE flags (f flag, n int);
CREATE FUNCTION flag_plus(flag, int) RETURNS int LANGUAGE sql AS 'SELECT writer() + $2';
CREATE OPERATOR + (LEFTARG = flag, RIGHTARG = int, FUNCTION = flag_plus);
CREATE FUNCTION abs(flag) RETURNS int LANGUAGE sql AS 'SELECT writer()';
CREATE FUNCTION abs(what flag, int) RETURNS int LANGUAGE sql AS 'SELECT writer()';
CREATE FUNCTION makes_flag() RETURNS flag IMMUTABLE LANGUAGE sql AS $$SELECT 'on'::flag$$;
CREATE FUNCTION adds(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 + 1';
CREATE FUNCTION adds_flag(flag) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 + 1';

-- What planning may run.
CREATE TABLE folded (id int CHECK (immutable_wrapper() > 0));
CREATE TABLE checked_by_volatile (id int CHECK (writer() > 0), made int DEFAULT writer());
CREATE VIEW other.pg_roles AS SELECT writer();
CREATE FUNCTION other.initcap(text) RETURNS text LANGUAGE sql AS 'SELECT writer()::text';
CREATE TABLE shown (name text);

-- What planning may run, by an operator; columns that nobody shows.
CREATE FUNCTION folding_plus(int, int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN writer(); END';
CREATE OPERATOR +~+ (LEFTARG = int, RIGHTARG = int, FUNCTION = folding_plus);
CREATE TABLE folded_by_operator (id int);
CREATE STATISTICS folding ON (id + (1 +~+ 2)), (id + 1) FROM folded_by_operator;
CREATE VIEW tells_no_column AS SELECT 1 AS one FROM XMLTABLE('/a' PASSING '<a>1</a>' COLUMNS v writing_domain PATH '.');
CREATE VIEW tells_no_record AS SELECT 1 AS one FROM jsonb_to_record('{"a": 1}') AS r (a writing_domain);

-- One name for two things.
CREATE DOMAIN cast_or_call AS int CHECK (writer() > 0);
CREATE FUNCTION cast_or_call(point) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1';
CREATE TABLE pg_locks (id int);

-- What only the session's server knows, or refuses.
CREATE VIEW lists_statements AS SELECT name FROM pg_prepared_statements;
CREATE FUNCTION makes_writable() RETURNS int STABLE SET transaction_read_only = off LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION sets_writable() RETURNS text STABLE LANGUAGE plpgsql AS $$BEGIN RETURN set_config('transaction_read_only', 'off', true); END$$;

-- Names and operators in code.
CREATE FUNCTION a_name_that_is_longer_than_the_sixty_three_bytes_which_postgresql_keeps() RETURNS int LANGUAGE sql AS 'SELECT writer()';
CREATE FUNCTION calls_by_more_than_is_kept() RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN RETURN a_name_that_is_longer_than_the_sixty_three_bytes_which_postgresql_keeps_not(); END';
CREATE FUNCTION other.alike(text, text) RETURNS bool LANGUAGE sql AS 'SELECT writer() > 0';
CREATE OPERATOR other.~~ (LEFTARG = text, RIGHTARG = text, FUNCTION = other.alike);
CREATE FUNCTION implies_operators() RETURNS bool STABLE LANGUAGE plpgsql AS $$BEGIN RETURN 'a'::text LIKE 'b'::text; END$$;

-- Domains over arrays are of the category of arrays, and none.
CREATE DOMAIN plain_list AS int[];
CREATE DOMAIN writing_list AS int[] CHECK (writer() > 0);
CREATE FUNCTION takes_list(writing_list) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1';
CREATE TABLE has_list (l writing_list);
CREATE VIEW sets_by_view AS SELECT set_config('App.By_view', 'x', false);

-- What stays in a library of the backend's.
CREATE EXTENSION isn;
CREATE VIEW weakens AS SELECT isn_weak(true);
CREATE FUNCTION loads() RETURNS void LANGUAGE sql AS 'LOAD ''isn''';
