--;; a schema for each tenant
CREATE TABLE journal (what text)
CREATE FUNCTION note(text) RETURNS int LANGUAGE sql AS 'INSERT INTO public.journal VALUES ($1) RETURNING 1'
CREATE SCHEMA acme
CREATE SCHEMA globex
CREATE SCHEMA audit
CREATE TABLE acme.orders AS SELECT 1 AS id, 'acme' AS owner
CREATE TABLE globex.orders AS SELECT 2 AS id, 'globex' AS owner
CREATE FUNCTION acme.total() RETURNS bigint STABLE LANGUAGE sql AS 'SELECT count(*) FROM acme.orders'
CREATE FUNCTION globex.total() RETURNS bigint STABLE LANGUAGE sql AS 'SELECT count(*) + 10 FROM globex.orders'
CREATE VIEW acme.report AS SELECT owner FROM acme.orders
CREATE VIEW globex.report AS SELECT owner || '!' AS owner FROM globex.orders
SELECT * FROM orders
SELECT total()
SELECT acme.total(), globex.total()
SET search_path = acme, public
SELECT * FROM orders
SELECT total()
SELECT owner FROM report
SET search_path = globex, public
SELECT * FROM orders
SELECT total()
SELECT owner FROM report
SELECT * FROM acme.orders
BEGIN
SET LOCAL search_path = acme
SELECT owner FROM orders
SELECT total()
COMMIT
SELECT owner FROM orders
PREPARE by_tenant AS SELECT owner FROM orders
EXECUTE by_tenant
SET search_path = acme, public
EXECUTE by_tenant
SELECT set_config('search_path', 'globex', false)
EXECUTE by_tenant
SELECT owner FROM orders
RESET search_path
EXECUTE by_tenant

--;; one that writes under a name that all have
CREATE FUNCTION audit.total() RETURNS bigint LANGUAGE sql AS 'SELECT public.note(''audit total'')::bigint'
CREATE FUNCTION audit.lower(text) RETURNS text LANGUAGE sql AS 'SELECT public.note(''audit lower'')::text'
CREATE FUNCTION audit.count(anyelement) RETURNS bigint LANGUAGE sql AS 'SELECT public.note(''audit count'')::bigint'
CREATE VIEW audit.orders AS SELECT public.note('audit orders') AS id, 'audit' AS owner
SELECT acme.total()
SELECT pg_catalog.lower('A')
SELECT lower('A')
SELECT count(1)
SELECT audit.lower('A')
SET search_path = acme
SELECT total()
SELECT owner FROM orders
SELECT lower('B')
SET search_path = audit
SELECT total()
SELECT owner FROM orders
SELECT lower('C')
SET search_path = audit, pg_catalog
SELECT lower('D')
SELECT count(1)
SELECT pg_catalog.lower('E'), pg_catalog.count(1)
SET search_path = pg_catalog, audit
SELECT lower('F')
SELECT owner FROM orders
SET search_path = "$user", audit
SELECT owner FROM orders
CREATE SCHEMA postgres
CREATE TABLE postgres.orders AS SELECT 'the user''s own' AS owner
SELECT owner FROM orders
DROP SCHEMA postgres CASCADE
SELECT owner FROM orders
SET search_path = acme
SELECT owner FROM orders
SET LOCAL search_path = audit
SELECT owner FROM orders
SET search_path TO DEFAULT
SELECT owner FROM orders
SELECT owner FROM acme.orders

--;; paths that change out of sight
CREATE FUNCTION public.goes_to_audit() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM set_config('search_path', 'audit, pg_catalog', false); END$$
SET search_path = acme, public
SELECT owner FROM orders
SELECT goes_to_audit()
SELECT owner FROM orders
SELECT lower('out of sight')
DO $$ BEGIN PERFORM set_config('search_path', 'acme, public', false); END $$
SELECT owner FROM orders
UPDATE pg_settings SET setting = 'audit' WHERE name = 'search_path'
SELECT owner FROM orders
RESET ALL
SELECT owner FROM orders
CREATE FUNCTION public.in_audit() RETURNS text STABLE SET search_path = audit, pg_catalog LANGUAGE plpgsql AS 'BEGIN RETURN lower(''in audit''); END'
SELECT public.in_audit()
CREATE FUNCTION public.in_acme() RETURNS text STABLE SET search_path = acme, pg_catalog LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT owner FROM orders); END'
SELECT public.in_acme()
BEGIN
SET LOCAL search_path = audit
SAVEPOINT a
SET LOCAL search_path = acme
ROLLBACK TO a
SELECT owner FROM orders
ROLLBACK
SET SESSION search_path TO 'audit'
SELECT owner FROM orders
SET SESSION search_path TO 'acme'
DISCARD ALL
SELECT owner FROM orders
SET search_path = acme; SELECT owner FROM orders; SET search_path = audit; SELECT owner FROM orders
SELECT owner FROM orders
SET SCHEMA 'acme'
SELECT owner FROM orders
SET SCHEMA 'audit'
SELECT owner FROM orders
\pipe SET search_path = acme \; SELECT owner FROM orders \; SET search_path = audit \; SELECT owner FROM orders
RESET ALL

--;; defaults of roles and databases
CREATE ROLE tenant_role SUPERUSER LOGIN
ALTER ROLE tenant_role SET search_path = audit
SET SESSION AUTHORIZATION tenant_role
SHOW search_path
SET SESSION AUTHORIZATION DEFAULT
ALTER ROLE postgres IN DATABASE template1 SET search_path = audit
SELECT owner FROM acme.orders
ALTER ROLE postgres IN DATABASE template1 RESET search_path
DROP ROLE tenant_role

--;; temporary objects before all others
SET search_path = acme, public
CREATE TEMP TABLE orders AS SELECT 'temporary' AS owner
SELECT owner FROM orders
SELECT owner FROM acme.orders
SET search_path = acme, public, pg_temp
SELECT owner FROM orders
SET search_path = pg_temp, acme
SELECT owner FROM orders
DROP TABLE pg_temp.orders
SELECT owner FROM orders
CREATE FUNCTION pg_temp.total() RETURNS bigint LANGUAGE sql AS 'SELECT public.note(''temporary total'')::bigint'
SELECT total()
SELECT pg_temp.total()
SET search_path = pg_temp
SELECT total()
CREATE DOMAIN pg_temp.kind AS int CHECK (public.note('temporary kind') = 1)
SELECT 1::kind
SELECT 1::pg_temp.kind
DISCARD ALL
SELECT 1::kind

--;; arguments and their number
CREATE FUNCTION acme.f(int) RETURNS text STABLE LANGUAGE sql AS $$SELECT 'one'$$
CREATE FUNCTION audit.f(int, int) RETURNS text LANGUAGE sql AS $$SELECT 'two ' || public.note('two')$$
CREATE FUNCTION audit.f(int, int, int DEFAULT 3) RETURNS text LANGUAGE sql AS $$SELECT 'three ' || public.note('three')$$
CREATE FUNCTION acme.f(VARIADIC text[]) RETURNS text STABLE LANGUAGE sql AS $$SELECT 'many'$$
SET search_path = acme, audit
SELECT f(1)
SELECT f(1, 2, 3)
SELECT f('a', 'b', 'c', 'd')
SELECT f(VARIADIC ARRAY['a', 'b'])
SELECT f(1, 2)
SELECT f()
SET search_path = audit
SELECT f(1)
SELECT f(1, 2, 3)
RESET ALL
SELECT * FROM journal ORDER BY what
