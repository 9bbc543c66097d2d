--;; a database that keeps a journal
CREATE TABLE journal (what text)
CREATE FUNCTION note(text) RETURNS int LANGUAGE sql AS 'INSERT INTO journal VALUES ($1) RETURNING 1'

--;; tables that a standby has no rows of
CREATE UNLOGGED TABLE fleeting AS SELECT 1 AS a
SELECT * FROM fleeting
CREATE VIEW over_fleeting AS SELECT * FROM fleeting
SELECT * FROM over_fleeting
SELECT 1 WHERE EXISTS (SELECT FROM fleeting)
CREATE FUNCTION from_fleeting() RETURNS bigint STABLE LANGUAGE sql AS 'SELECT count(*) FROM fleeting'
SELECT from_fleeting()
CREATE FUNCTION from_fleeting_plpgsql() RETURNS bigint STABLE LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM fleeting); END'
SELECT from_fleeting_plpgsql()
CREATE MATERIALIZED VIEW kept_fleeting AS SELECT * FROM fleeting
SELECT * FROM kept_fleeting
ALTER TABLE fleeting SET LOGGED
SELECT * FROM fleeting
ALTER TABLE fleeting SET UNLOGGED
SELECT * FROM over_fleeting
CREATE UNLOGGED SEQUENCE fleeting_sequence
SELECT nextval('fleeting_sequence')
CREATE TABLE parted (a int) PARTITION BY RANGE (a)
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10)
SELECT count(*) FROM parted
CREATE UNLOGGED TABLE parted_2 PARTITION OF parted FOR VALUES FROM (10) TO (20)
SELECT count(*) FROM parted
SELECT count(*) FROM parted WHERE a = 3
SELECT count(*) FROM parted_1
INSERT INTO parted VALUES (3), (13)
SELECT a FROM parted ORDER BY a
ALTER TABLE parted DETACH PARTITION parted_2
SELECT a FROM parted ORDER BY a
SELECT a FROM parted_2
ALTER TABLE parted ATTACH PARTITION parted_2 FOR VALUES FROM (10) TO (20)
SELECT a FROM parted ORDER BY a
DROP TABLE parted_2
SELECT a FROM parted ORDER BY a
CREATE TABLE parent (a int)
CREATE UNLOGGED TABLE child () INHERITS (parent)
INSERT INTO child VALUES (1)
SELECT * FROM parent
SELECT * FROM ONLY parent
ALTER TABLE child NO INHERIT parent
SELECT * FROM parent

--;; tables of others
CREATE EXTENSION file_fdw
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw
CREATE FOREIGN TABLE hosts (line text) SERVER files OPTIONS (filename '/etc/hostname')
SELECT count(*) FROM hosts
CREATE VIEW over_hosts AS SELECT count(*) FROM hosts
SELECT * FROM over_hosts
CREATE TABLE lines (line text)
ALTER FOREIGN TABLE hosts INHERIT lines
SELECT count(*) FROM lines
ALTER FOREIGN TABLE hosts NO INHERIT lines
SELECT count(*) FROM lines
DROP SERVER files CASCADE

--;; columns of the system
CREATE TABLE systematic (a int)
INSERT INTO systematic VALUES (1), (2)
SELECT a, tableoid::regclass, ctid FROM systematic
SELECT xmin = xmin, cmin, cmax, xmax FROM systematic
UPDATE systematic SET a = 3 WHERE a = 1
SELECT a, ctid FROM systematic ORDER BY ctid
SELECT a FROM systematic WHERE ctid = '(0,2)'
SELECT last_value FROM (VALUES (1)) v (last_value)
CREATE TABLE ids (last_value int, log_cnt int, is_called bool)
SELECT last_value, log_cnt, is_called FROM ids
CREATE SEQUENCE numbers
SELECT last_value, log_cnt, is_called FROM numbers
SELECT n FROM numbers n
SELECT (SELECT last_value FROM numbers)

--;; definitions and what becomes of reads
CREATE TABLE growing (a int)
SELECT * FROM growing
ALTER TABLE growing ADD b int DEFAULT 5
INSERT INTO growing VALUES (1)
SELECT * FROM growing
ALTER TABLE growing ALTER b SET DEFAULT note('alter default')
SELECT * FROM growing
ALTER TABLE growing ADD c int DEFAULT note('column default')
SELECT * FROM growing
ALTER TABLE growing RENAME a TO z
SELECT z FROM growing
SELECT a FROM growing
ALTER TABLE growing ALTER z TYPE text
SELECT * FROM growing
ALTER TABLE growing RENAME TO grown
SELECT * FROM growing
SELECT * FROM grown
CREATE VIEW growing AS SELECT note('now a view') AS z
SELECT * FROM growing
DROP VIEW growing
CREATE TABLE growing (z int)
SELECT * FROM growing
ALTER TABLE growing SET SCHEMA pg_temp
CREATE SCHEMA elsewhere
ALTER TABLE growing SET SCHEMA elsewhere
SELECT * FROM growing
SELECT * FROM elsewhere.growing
DROP SCHEMA elsewhere CASCADE
CREATE TABLE IF NOT EXISTS grown (a int)
DROP TABLE IF EXISTS nowhere
CREATE TYPE state AS ENUM ('a', 'b')
SELECT 'a'::state
ALTER TYPE state ADD VALUE 'c'
SELECT 'c'::state
ALTER TYPE state RENAME TO condition
SELECT 'c'::condition
CREATE DOMAIN positive AS int CHECK (VALUE > 0)
SELECT 5::positive
ALTER DOMAIN positive ADD CHECK (note('altered domain') = 1)
SELECT 5::positive
CREATE FUNCTION changing() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'
SELECT changing()
CREATE OR REPLACE FUNCTION changing() RETURNS int LANGUAGE sql AS 'SELECT note(''changed'')'
SELECT changing()
ALTER FUNCTION changing() RENAME TO changed
SELECT changed()
SELECT changing()
CREATE FUNCTION changing() RETURNS int LANGUAGE sql AS 'SELECT 2'
SELECT changing()
CREATE SCHEMA AUTHORIZATION CURRENT_USER CREATE VIEW in_schema AS SELECT public.note('in schema') AS a
SELECT * FROM postgres.in_schema
DROP SCHEMA postgres CASCADE
CREATE EXTENSION hstore
SELECT 'a=>1'::hstore -> 'a'
DROP EXTENSION hstore
CREATE TABLE partly (a int) PARTITION BY LIST (a)
CREATE TABLE partly_1 PARTITION OF partly (CHECK (note('partition check') = 1)) FOR VALUES IN (1)
SELECT * FROM partly
INSERT INTO partly VALUES (1)
SELECT * FROM partly WHERE a = 1
SELECT count(*) FROM journal
