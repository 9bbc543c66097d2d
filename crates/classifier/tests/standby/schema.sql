CREATE TABLE t (
    id integer PRIMARY KEY, name text, data jsonb,
    created timestamptz DEFAULT '2020-01-01 00:00:00+00', tags text[], amount numeric(10, 2)
);
INSERT INTO t SELECT n, 'name ' || n, '{"a": {"b": 1}}', '2020-01-01 00:00:00+00', ARRAY['x', 'y'], n FROM generate_series(1, 20) n;
CREATE TABLE u (id serial PRIMARY KEY, t_id integer REFERENCES t, note text);
INSERT INTO u (t_id, note) SELECT n, 'note' FROM generate_series(1, 10) n;
CREATE VIEW v AS SELECT id, name FROM t;
CREATE SCHEMA app;
CREATE TABLE app.t (id integer, pg_locks integer);
CREATE SEQUENCE s;
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN posint AS integer CHECK (value > 0);
CREATE FUNCTION f(integer) RETURNS integer LANGUAGE sql AS 'SELECT $1';
CREATE TABLE part (a integer) PARTITION BY RANGE (a);
CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (10);
CREATE STATISTICS st ON id, name FROM t;
CREATE POLICY pol ON t USING (true);
CREATE RULE r AS ON INSERT TO u DO ALSO SELECT 1;
COMMENT ON TABLE t IS 'a table';
ANALYZE;
