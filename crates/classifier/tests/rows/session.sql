--;; read harmless declare(c) server
DECLARE c CURSOR FOR SELECT * FROM t
--;; read harmless declare(c) server
DECLARE c BINARY INSENSITIVE SCROLL CURSOR WITHOUT HOLD FOR SELECT * FROM t
--;; primary pins declare(c) pin(hold_cursor:c)
DECLARE c CURSOR WITH HOLD FOR SELECT * FROM t
--;; write row_lock declare(c)
DECLARE c CURSOR FOR SELECT * FROM t FOR UPDATE
--;; write unknown_function hidden_code declare(c) pin(hold_cursor:c)
DECLARE c CURSOR WITH HOLD FOR SELECT my_function()
--;; neutral cursor
FETCH ALL FROM c
--;; neutral cursor
FETCH 10 c
--;; neutral cursor
MOVE FORWARD 3 IN c
--;; neutral cursor close(c)
CLOSE c
--;; neutral cursor close(*)
CLOSE ALL
--;; neutral harmless prepare(p:read) exact
PREPARE p (int) AS SELECT * FROM t WHERE id = $1
--;; primary data_modification prepare(p:write) exact
PREPARE p AS DELETE FROM t
--;; neutral harmless prepare(p:read_asks(a.b)) exact
PREPARE p AS SELECT set_config('a.b', 'c', false) FROM t
--;; primary sql_execute execute(p)
EXECUTE p
--;; primary sql_execute execute(P)
EXECUTE "P" (1, 'a')
--;; primary server_function execute(p)
EXECUTE p (pg_is_in_recovery(), 1)
--;; write write_function uses_sequence execute(p)
EXECUTE p (nextval('s'))
--;; primary sql_execute asks(a.b) execute(p) exact
EXECUTE p (set_config('a.b', 'c', false))
--;; neutral deallocate deallocate(p)
DEALLOCATE p
--;; neutral deallocate deallocate(p)
DEALLOCATE PREPARE p
--;; neutral deallocate deallocate(*)
DEALLOCATE ALL
--;; neutral session_setting discard(all)
DISCARD ALL
--;; neutral session_setting discard(plans)
DISCARD PLANS
--;; neutral session_setting discard(temporary)
DISCARD TEMP
--;; neutral session_setting discard(temporary)
DISCARD TEMPORARY
--;; neutral session_setting discard(sequences)
DISCARD SEQUENCES
--;; write utility pin(listen:a)
LISTEN a
--;; neutral session_setting unlisten(a)
UNLISTEN a
--;; neutral session_setting unlisten(*)
UNLISTEN *
--;; write utility
NOTIFY a
--;; write utility
NOTIFY a, 'b'
--;; primary pins pin(load)
LOAD 'auto_explain'
--;; read harmless advisory_unlock(*) close(*) unlisten(*) reset_all exact
SELECT pg_advisory_unlock_all();
CLOSE ALL;
UNLISTEN *;
RESET ALL;
--;; write utility hidden_code exact
DO $$ BEGIN UPDATE t SET id = 1; END $$
--;; write utility hidden_code exact
DO LANGUAGE plpgsql $$ BEGIN PERFORM 1; END $$
--;; write utility hidden_code exact
DO $$ BEGIN SET search_path = x; END $$
--;; write utility hidden_code exact
DO $$ BEGIN IF true THEN
  /* a comment */ SET LOCAL work_mem = 1; END IF; END $$
--;; write utility hidden_code asks(a.b) exact
DO $$ BEGIN PERFORM set_config('a.b', 'c', false); END $$
--;; write utility hidden_code defines exact
DO $$ BEGIN CREATE TEMP TABLE x (a int); END $$
--;; write utility hidden_code asks(a.b) exact
DO $$ BEGIN EXECUTE 'SET a.b = 1'; END $$
--;; write utility hidden_code exact
DO $$ BEGIN PERFORM pg_advisory_lock(1); END $$
--;; write utility hidden_code exact
DO LANGUAGE plperl 'anything'
--;; write unknown_function hidden_code
CALL my_procedure(1, 'a')
--;; write unknown_function hidden_code
CALL app.my_procedure()
--;; write utility pin(temporary_object:x)
CREATE TEMPORARY TABLE x (a int)
--;; write utility pin(temporary_object:x)
CREATE LOCAL TEMP TABLE IF NOT EXISTS x (a serial)
--;; write utility
CREATE TEMP TABLE x (a int) ON COMMIT DROP
--;; write utility pin(temporary_object:x)
CREATE TEMP TABLE x (a int) ON COMMIT DELETE ROWS
--;; write utility pin(temporary_object:x)
CREATE TABLE pg_temp.x (a int)
--;; write utility pin(temporary_object:x)
CREATE TEMP TABLE x AS SELECT * FROM t
--;; write utility
CREATE TEMP TABLE x ON COMMIT DROP AS SELECT * FROM t
--;; write utility execute(p) pin(temporary_object:x)
CREATE TEMP TABLE x AS EXECUTE p
--;; write utility pin(temporary_object:x)
CREATE TEMP VIEW x AS SELECT 1
--;; write utility pin(temporary_object:x)
CREATE OR REPLACE TEMP RECURSIVE VIEW x (n) AS SELECT 1
--;; write utility pin(temporary_object:x)
CREATE TEMP SEQUENCE x
--;; write utility pin(temporary_object)
CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'
--;; write utility pin(temporary_object)
CREATE TYPE pg_temp.x AS (a int)
--;; write utility dropped(x)
DROP TABLE x
--;; write utility dropped(x) dropped(y)
DROP TABLE IF EXISTS x, pg_temp.y, app.z CASCADE
--;; write utility dropped(x)
DROP VIEW x
--;; write utility dropped(x)
DROP SEQUENCE x
--;; write utility
DROP INDEX x
