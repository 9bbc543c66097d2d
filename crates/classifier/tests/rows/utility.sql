--;; write utility
CREATE TABLE x (a int)
--;; write utility
CREATE UNLOGGED TABLE x (a int)
--;; write utility
CREATE TABLE x AS SELECT * FROM t
--;; write utility
CREATE TABLE x PARTITION OF part FOR VALUES FROM (10) TO (20)
--;; write utility
CREATE MATERIALIZED VIEW x AS SELECT 1
--;; write utility
REFRESH MATERIALIZED VIEW CONCURRENTLY x
--;; write utility
CREATE VIEW x AS SELECT 1
--;; write utility
CREATE SEQUENCE x
--;; write utility
ALTER SEQUENCE x RESTART
--;; write utility
ALTER TABLE t ADD COLUMN z int DEFAULT 1
--;; write utility
ALTER TABLE t RENAME TO x
--;; write utility
ALTER TABLE t OWNER TO app
--;; write utility
ALTER TABLE t SET SCHEMA app
--;; write utility
ALTER INDEX x DEPENDS ON EXTENSION y
--;; write utility
ALTER TABLE ALL IN TABLESPACE a SET TABLESPACE b
--;; write utility
TRUNCATE t, u RESTART IDENTITY
--;; write utility
CREATE INDEX CONCURRENTLY ON t (id)
--;; write utility
DROP INDEX CONCURRENTLY x
--;; write utility
CREATE STATISTICS x ON id, name FROM t
--;; write utility
ALTER STATISTICS x SET STATISTICS 10
--;; write utility
CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()
--;; write utility
CREATE EVENT TRIGGER x ON ddl_command_start EXECUTE FUNCTION f()
--;; write utility
ALTER EVENT TRIGGER x DISABLE
--;; write utility
CREATE RULE x AS ON INSERT TO t DO INSTEAD NOTHING
--;; write utility
CREATE POLICY x ON t USING (true)
--;; write utility
ALTER POLICY x ON t USING (false)
--;; write utility
CREATE SCHEMA x CREATE TABLE y (a int)
--;; write utility
CREATE FUNCTION x() RETURNS int LANGUAGE sql RETURN 1
--;; write utility
ALTER FUNCTION f(int) IMMUTABLE
--;; write utility
CREATE PROCEDURE x() LANGUAGE sql AS ''
--;; write utility
CREATE AGGREGATE x (int) (SFUNC = int4pl, STYPE = int)
--;; write utility
CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)
--;; write utility
ALTER OPERATOR === (int, int) SET (RESTRICT = NONE)
--;; write utility
CREATE OPERATOR CLASS x FOR TYPE int USING btree AS OPERATOR 1 <
--;; write utility
CREATE OPERATOR FAMILY x USING btree
--;; write utility
ALTER OPERATOR FAMILY x USING btree DROP OPERATOR 1 (int, int)
--;; write utility
CREATE TYPE x AS (a int)
--;; write utility
CREATE TYPE x AS ENUM ('a')
--;; write utility
CREATE TYPE x AS RANGE (SUBTYPE = int)
--;; write utility
ALTER TYPE mood ADD VALUE 'x'
--;; write utility
ALTER TYPE x SET (STORAGE = plain)
--;; write utility
CREATE DOMAIN x AS int
--;; write utility
ALTER DOMAIN posint DROP NOT NULL
--;; write utility
CREATE COLLATION x FROM "C"
--;; write utility
ALTER COLLATION x REFRESH VERSION
--;; write utility
CREATE CAST (int AS mood) WITH INOUT
--;; write utility
CREATE TRANSFORM FOR int LANGUAGE sql (FROM SQL WITH FUNCTION a(internal))
--;; write utility
CREATE CONVERSION x FOR 'UTF8' TO 'LATIN1' FROM utf8_to_iso8859_1
--;; write utility
CREATE TEXT SEARCH CONFIGURATION x (COPY = english)
--;; write utility
ALTER TEXT SEARCH CONFIGURATION x DROP MAPPING FOR word
--;; write utility
ALTER TEXT SEARCH DICTIONARY x (a = b)
--;; write utility
CREATE ACCESS METHOD x TYPE TABLE HANDLER y
--;; write utility
CREATE LANGUAGE plperl
--;; write utility
CREATE EXTENSION pgcrypto
--;; write utility
ALTER EXTENSION x UPDATE
--;; write utility
ALTER EXTENSION x ADD TABLE t
--;; write utility
COMMENT ON TABLE t IS 'x'
--;; write utility
SECURITY LABEL ON TABLE t IS 'x'
--;; write utility
GRANT SELECT ON t TO app
--;; write utility
REVOKE ALL ON t FROM app
--;; write utility
GRANT app TO postgres
--;; write utility
REVOKE app FROM postgres
--;; write utility
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO app
--;; write utility
CREATE ROLE x
--;; write utility
ALTER ROLE x SET work_mem = 1
--;; write utility
ALTER USER x PASSWORD 'y'
--;; write utility
DROP ROLE x
--;; write utility
DROP OWNED BY x
--;; write utility
REASSIGN OWNED BY x TO y
--;; write utility database_alone(template1)
CREATE DATABASE x
--;; write utility database_alone(Y)
CREATE DATABASE x TEMPLATE "Y" OWNER z
--;; write utility database_alone(x)
ALTER DATABASE x RENAME TO y
--;; write utility database_alone(x)
ALTER DATABASE x SET TABLESPACE y
--;; write utility
ALTER DATABASE x SET work_mem = 1
--;; write utility
ALTER DATABASE x REFRESH COLLATION VERSION
--;; write utility
ALTER DATABASE x CONNECTION LIMIT 1
--;; write utility database_alone(x)
DROP DATABASE x WITH (FORCE)
--;; write utility
CREATE TABLESPACE x LOCATION '/x'
--;; write utility
ALTER TABLESPACE x SET (seq_page_cost = 1)
--;; write utility
DROP TABLESPACE x
--;; write utility
ALTER SYSTEM SET work_mem = 1
--;; write utility
VACUUM
--;; write utility
VACUUM (FULL, ANALYZE) t
--;; write utility
ANALYZE t (id)
--;; write utility
CLUSTER t USING t_pkey
--;; write utility
REINDEX TABLE CONCURRENTLY t
--;; write utility
LOCK TABLE t
--;; write utility
LOCK TABLE t IN ROW SHARE MODE
--;; read harmless server
LOCK TABLE t IN ACCESS SHARE MODE NOWAIT
--;; write utility
CREATE PUBLICATION x FOR ALL TABLES
--;; write utility
ALTER PUBLICATION x ADD TABLE t
--;; write utility
CREATE SUBSCRIPTION x CONNECTION '' PUBLICATION y
--;; write utility
ALTER SUBSCRIPTION x DISABLE
--;; write utility
DROP SUBSCRIPTION x
--;; write utility
CREATE FOREIGN DATA WRAPPER x
--;; write utility
ALTER FOREIGN DATA WRAPPER x NO HANDLER
--;; write utility
CREATE SERVER x FOREIGN DATA WRAPPER y
--;; write utility
ALTER SERVER x VERSION '1'
--;; write utility
CREATE FOREIGN TABLE x (a int) SERVER y
--;; write utility
IMPORT FOREIGN SCHEMA x FROM SERVER y INTO z
--;; write utility
CREATE USER MAPPING FOR app SERVER x
--;; write utility
ALTER USER MAPPING FOR app SERVER x OPTIONS (SET a 'b')
--;; write utility
DROP USER MAPPING FOR app SERVER x
