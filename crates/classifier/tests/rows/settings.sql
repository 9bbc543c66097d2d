--;; neutral session_setting set(work_mem:SET_"work_mem"_TO_'64MB') exact
SET work_mem = '64MB'
--;; neutral session_setting set(work_mem:SET_"work_mem"_TO_64) exact
SET WORK_MEM TO 64
--;; neutral session_setting set(search_path:SET_"search_path"_TO_'app',_'public') exact
SET search_path = app, "public"
--;; neutral session_setting set(search_path:SET_"search_path"_TO_'App',_'$user') exact
SET SESSION search_path TO "App", '$user'
--;; neutral session_setting set_local(statement_timeout:SET_"statement_timeout"_TO_'5s') exact
SET LOCAL statement_timeout TO '5s'
--;; neutral session_setting set(x.y:SET_"x"."y"_TO_'it''s') exact
SET x.y = 'it''s'
--;; neutral session_setting set(x.y:SET_"x"."y"_TO_E'a\\b') exact
SET x.y = 'a\b'
--;; neutral session_setting set(client_encoding:SET_"client_encoding"_TO_'UTF8') exact
SET NAMES 'UTF8'
--;; neutral session_setting set(search_path:SET_"search_path"_TO_'app') exact
SET SCHEMA 'app'
--;; neutral session_setting set(timezone:SET_"timezone"_TO_'UTC') exact
SET TIME ZONE 'UTC'
--;; neutral session_setting set(timezone:SET_"timezone"_TO_-8) exact
SET TIME ZONE -8
--;; neutral session_setting reset(timezone) exact
SET TIME ZONE LOCAL
--;; neutral session_setting set(timezone:SET_TIME_ZONE_INTERVAL_'-08:00'_HOUR_TO_MINUTE) exact
SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE
--;; neutral session_setting set_local(timezone:SET_TIME_ZONE_INTERVAL_'-08:00'_HOUR_TO_MINUTE) exact
SET LOCAL TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE
--;; neutral session_setting set(xmloption:SET_"xmloption"_TO_'DOCUMENT') exact
SET XML OPTION DOCUMENT
--;; neutral session_setting set(role:SET_"role"_TO_'app') exact
SET ROLE app
--;; neutral session_setting set(role:SET_"role"_TO_'none') exact
SET ROLE NONE
--;; neutral session_setting set_local(role:SET_"role"_TO_'App') exact
SET LOCAL ROLE "App"
--;; neutral session_setting set(session_authorization:SET_"session_authorization"_TO_'app') exact
SET SESSION AUTHORIZATION app
--;; neutral session_setting reset(session_authorization) exact
SET SESSION AUTHORIZATION DEFAULT
--;; neutral session_setting reset(session_authorization) exact
RESET SESSION AUTHORIZATION
--;; neutral session_setting reset(work_mem) exact
RESET work_mem
--;; neutral session_setting reset(work_mem) exact
SET work_mem TO DEFAULT
--;; neutral session_setting reset_local(work_mem) exact
SET LOCAL work_mem TO DEFAULT
--;; neutral session_setting reset(role) exact
RESET ROLE
--;; neutral session_setting reset(timezone) exact
RESET TIME ZONE
--;; neutral session_setting reset_all exact
RESET ALL
--;; neutral session_setting asks(work_mem) exact
SET work_mem FROM CURRENT
--;; primary pins pin(random_seed) exact
SET seed = 0.5
--;; primary pins set(search_path:SET_"search_path"_TO_'pg_temp',_'public') pin(temporary_object) exact
SET search_path = pg_temp, public
--;; neutral session_setting set(search_path:SET_"search_path"_TO_'public',_'pg_temp') exact
SET search_path = public, pg_temp
--;; neutral session_setting set(standard_conforming_strings:SET_"standard_conforming_strings"_TO_'off') exact
SET standard_conforming_strings = off
--;; neutral session_setting set(default_transaction_read_only:SET_"default_transaction_read_only"_TO_'true') exact
SET default_transaction_read_only = true
--;; neutral session_setting set(default_transaction_isolation:SET_"default_transaction_isolation"_TO_'serializable') exact
SET default_transaction_isolation TO serializable
--;; neutral session_setting session_characteristics(serializable,rw,deferrable) exact
SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ WRITE, DEFERRABLE
--;; neutral transaction_control set_transaction(ro) exact
SET TRANSACTION READ ONLY
--;; neutral transaction_control set_transaction(repeatable,ro,not) exact
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY NOT DEFERRABLE
--;; neutral transaction_control set_transaction(ro) exact
SET LOCAL TRANSACTION READ ONLY
--;; primary snapshot set_transaction() exact
SET TRANSACTION SNAPSHOT '00000003-0000001B-1'
--;; neutral transaction_control set_transaction(ro) exact
SET transaction_read_only = on
--;; primary transaction_control set_transaction(rw) exact
SET LOCAL transaction_read_only TO f
--;; primary transaction_control set_transaction(serializable) exact
SET transaction_isolation = 'Serializable'
--;; neutral transaction_control set_transaction(deferrable) exact
SET transaction_deferrable = 1
--;; primary transaction_control set_transaction() exact
RESET TRANSACTION ISOLATION LEVEL
--;; neutral transaction_control
SET CONSTRAINTS ALL DEFERRED
--;; primary show
SHOW work_mem
--;; primary show
SHOW ALL
--;; primary show
SHOW TIME ZONE
--;; primary show
SHOW TRANSACTION ISOLATION LEVEL
--;; primary show
SHOW SESSION AUTHORIZATION
--;; primary show
SHOW "Search_Path"
--;; primary show local_show(last_node)
SHOW pgweir.last_node
--;; primary show local_show(version)
SHOW PGWEIR.VERSION
--;; neutral session_setting set(pgweir.route:SET_"pgweir"."route"_TO_'primary') local_set(route=primary,false) exact
SET pgweir.route = 'primary'
--;; neutral session_setting set_local(pgweir.consistency:SET_"pgweir"."consistency"_TO_'eventual') local_set(consistency=eventual,true) exact
SET LOCAL pgweir.consistency TO eventual
--;; neutral session_setting reset(pgweir.route) local_reset(route) exact
RESET pgweir.route
--;; neutral session_setting reset(pgweir.route) local_reset(route) exact
SET pgweir.route TO DEFAULT
--;; read harmless set(search_path:SELECT_pg_catalog.set_config('search_path',_'',_false)) exact
SELECT pg_catalog.set_config('search_path', '', false)
--;; read harmless set(a.b:SELECT_pg_catalog.set_config('A.B',_'c',_false)) exact
SELECT set_config('A.B', 'c', false)
--;; read harmless set_local(a.b:SELECT_pg_catalog.set_config('a.b',_'c',_false)) exact
SELECT set_config('a.b', 'c', true)
--;; read harmless set(a.b:SELECT_pg_catalog.set_config('a.b',_'c',_false)) set_local(d.e:SELECT_pg_catalog.set_config('d.e',_'f',_false)) exact
SELECT set_config('a.b'::text, 'c', 'off'::bool), set_config('d.e', 'f', true)
--;; read harmless sets_locally exact
SELECT set_config('request.jwt.claims', $1, true)
--;; read harmless sets_locally exact
SELECT set_config($1, $2, true), set_config($3, $4, true)
--;; read harmless asks(a.b) exact
SELECT set_config('a.b', $1, false)
--;; primary pins pin(untrackable_settings) exact
SELECT set_config($1, 'x', false)
--;; read harmless asks(a.b) exact
SELECT set_config('a.b', 'c', $1)
--;; read harmless asks(a.b) exact
SELECT set_config('a.b', name, false) FROM t
--;; read harmless asks(a.b) exact
SELECT set_config('a.b', 'c', false) FROM t
--;; read harmless asks(a.b) exact
SELECT set_config('a.b', 'c', false) WHERE false
--;; read harmless asks(a.b) exact
SELECT set_config('a.b', 'c', false), generate_series(1, 2)
--;; read harmless asks(a.b) exact
SELECT CASE WHEN true THEN set_config('a.b', 'c', false) END
--;; primary changes_session asks(default_transaction_isolation) exact
SELECT CASE WHEN true THEN set_config('default_transaction_isolation', 'serializable', false) END
--;; primary changes_session asks(work_mem) exact
SELECT set_config('Work_Mem', $1, false)
--;; read harmless set_local(a.b:SELECT_pg_catalog.set_config('a.b',_'c',_false)) sets_locally exact
SELECT set_config('a.b', 'c', true) FROM t
--;; primary transaction_control set_transaction(ro) exact
SELECT set_config('transaction_read_only', 'on', true)
--;; primary server_function sets_locally exact
SELECT set_config('transaction_read_only', $1, true)
--;; primary server_function sets_locally exact
SELECT set_config(lower($1), 'on', true)
--;; primary pins pin(untrackable_settings) asks(a.b) exact
SELECT set_config(set_config('a.b', 'c', false), 'd', false)
--;; read harmless asks(a.b) asks(c.d) exact
SELECT set_config('a.b', set_config('c.d', 'e', false), false)
--;; neutral session_setting set(a.b:SET_"a"."b"_TO_'c') set(d.e:SET_"d"."e"_TO_'f') exact
SET a.b = 'c'; SET d.e = 'f'
--;; read harmless set(a.b:SET_"a"."b"_TO_'c') exact
SET a.b = 'c'; SELECT 1
--;; write data_modification set(a.b:SET_"a"."b"_TO_'c') exact
SET a.b = 'c'; DELETE FROM t
