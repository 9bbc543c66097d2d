--;; read harmless varies
SELECT now(), transaction_timestamp(), statement_timestamp(), clock_timestamp(), timeofday()
--;; read harmless
SELECT lower('A'), upper('a'), length('abc'), md5('a'), abs(-1), round(1.5), to_char(1, '9'), coalesce(1, 2)
--;; read harmless
SELECT pg_catalog.lower('A')
--;; write unknown_function hidden_code
SELECT public.lower('A')
--;; write unknown_function hidden_code
SELECT "Lower"('A')
--;; read harmless
SELECT "lower"('A')
--;; read harmless
SELECT LOWER('A')
--;; read harmless
SELECT pg_sleep(0), pg_sleep_for('0 s'), pg_sleep_until('2000-01-01')
--;; read harmless
SELECT current_query()
--;; read harmless
SELECT current_database(), current_schema(), current_schemas(true), pg_client_encoding(), getdatabaseencoding()
--;; read harmless
SELECT format_type(23, NULL), pg_get_userbyid(10), obj_description('t'::regclass), col_description('t'::regclass, 1)
--;; read harmless
SELECT to_regclass('t'), 't'::regclass::oid IS NOT NULL, 'lower(text)'::regprocedure, 'now'::regproc
--;; read harmless
SELECT has_table_privilege('t', 'SELECT'), pg_has_role('postgres', 'MEMBER'), row_security_active('t')
--;; read harmless
SELECT pg_get_viewdef('v'), pg_get_indexdef(0), pg_get_serial_sequence('u', 'id'), pg_get_constraintdef(0), pg_get_expr(NULL, 0)
--;; read harmless
SELECT pg_typeof(1), pg_column_size('a'), pg_size_pretty(1024::bigint), pg_relation_filenode('t')
--;; read harmless
SELECT pg_table_is_visible('t'::regclass), pg_is_other_temp_schema(0), pg_my_temp_schema()
--;; read harmless
SELECT to_tsvector('english', 'a fat cat') @@ to_tsquery('cat'), ts_headline('a', 'b'::tsquery), ts_rank('a', 'a')
--;; read harmless
SELECT txid_current_if_assigned(), pg_current_xact_id_if_assigned()
--;; read harmless
SELECT age(timestamp '2020-01-01', timestamp '2019-01-01')
--;; read harmless
SELECT * FROM pg_partition_tree('part')
--;; read harmless
SELECT json_agg(t), row_to_json(t), jsonb_build_object('a', 1), jsonb_path_query_array('[1]', '$[*]') FROM t GROUP BY t
--;; read harmless
SELECT regexp_count('aaa', 'a'), regexp_replace('a', 'b', 'c'), string_to_array('a,b', ','), unnest(ARRAY[1])
--;; read harmless
SELECT (information_schema._pg_expandarray(ARRAY[1, 2])).n
--;; write write_function uses_sequence
SELECT nextval('s')
--;; write write_function uses_sequence
SELECT setval('s', 1)
--;; write write_function uses_sequence
SELECT nextval('s') FROM generate_series(1, 10)
--;; primary server_function recalls_sequence
SELECT currval('s')
--;; primary server_function recalls_sequence
SELECT lastval()
--;; primary server_function
SELECT pg_is_in_recovery()
--;; primary server_function
SELECT pg_current_wal_lsn()
--;; primary server_function
SELECT pg_last_wal_replay_lsn()
--;; primary server_function
SELECT pg_walfile_name('0/0')
--;; primary server_function
SELECT inet_server_addr(), inet_server_port()
--;; primary server_function
SELECT inet_client_addr()
--;; primary server_function
SELECT pg_postmaster_start_time()
--;; primary server_function
SELECT pg_conf_load_time()
--;; primary server_function
SELECT pg_backend_pid()
--;; primary server_function
SELECT version()
--;; primary server_function
SELECT pg_current_snapshot()
--;; primary server_function
SELECT txid_current_snapshot()
--;; primary server_function
SELECT pg_export_snapshot()
--;; primary server_function
SELECT pg_stat_get_live_tuples('t'::regclass)
--;; primary server_function
SELECT pg_database_size('postgres')
--;; primary server_function
SELECT pg_relation_size('t')
--;; primary server_function
SELECT pg_total_relation_size('t')
--;; primary server_function
SELECT pg_blocking_pids(1)
--;; primary server_function
SELECT * FROM pg_ls_dir('.')
--;; primary server_function
SELECT pg_read_file('postgresql.conf')
--;; primary server_function
SELECT pg_tablespace_location(0)
--;; primary server_function
SELECT lo_get(1)
--;; write write_function
SELECT lo_import('/etc/passwd')
--;; write write_function
SELECT lo_put(1, 0, '')
--;; write write_function
SELECT lo_unlink(1)
--;; write write_function
SELECT pg_terminate_backend(1)
--;; write write_function
SELECT pg_cancel_backend(1)
--;; write write_function
SELECT pg_switch_wal()
--;; write write_function
SELECT pg_promote()
--;; write write_function
SELECT pg_logical_emit_message(true, 'a', 'b')
--;; write write_function
SELECT pg_rotate_logfile()
--;; write runs_text hidden_code exact
SELECT query_to_xml('DELETE FROM t', true, true, '')
--;; write runs_text hidden_code exact
SELECT query_to_xml('SELECT a FROM t FOR UPDATE', true, true, '')
--;; write runs_text hidden_code exact
SELECT query_to_xml('SELECT 1; DELETE FROM t', true, true, '')
--;; write runs_text hidden_code exact
SELECT query_to_xml('SELECT set_config(''a.b'', ''c'', true)', true, true, '')
--;; write runs_text hidden_code exact
SELECT query_to_xml('SHOW work_mem', true, true, '')
--;; write runs_text hidden_code exact
SELECT query_to_xml('no query', true, true, '')
--;; write runs_text hidden_code exact
SELECT query_to_xml($1, true, true, '')
--;; write runs_text hidden_code exact
SELECT query_to_xml('SELECT ' || 1, true, true, '')
--;; write runs_text hidden_code exact
SELECT query_to_xml(query => 'SELECT 1', nulls => true, tableforest => true, targetns => '')
--;; write unknown_function hidden_code exact
SELECT query_to_xml('SELECT my_function()', true, true, '')
--;; write runs_text hidden_code exact
SELECT query_to_xml('SELECT ts_stat(''DELETE FROM t'')', true, true, '')
--;; read harmless exact
SELECT query_to_xml('SELECT a, lower(b) FROM t WHERE c > 1', true, true, '')
--;; read harmless exact
SELECT table_to_xml('v', true, true, '')
--;; primary temporary_relation exact
SELECT table_to_xml('pg_temp.v'::regclass, true, true, '')
--;; primary server_relation exact
SELECT table_to_xml('pg_catalog.pg_locks', true, true, '')
--;; write runs_text hidden_code exact
SELECT table_to_xml('16384', true, true, '')
--;; write runs_text hidden_code exact
SELECT table_to_xml(oid, true, true, '') FROM pg_class
--;; write runs_text hidden_code exact
SELECT table_to_xml('a.b.c', true, true, '')
--;; write runs_text hidden_code
SELECT schema_to_xml('public', true, true, '')
--;; read harmless exact
SELECT * FROM ts_stat('SELECT to_tsvector(name) FROM t')
--;; read harmless exact
SELECT ts_rewrite('a'::tsquery, 'SELECT a, b FROM c')
--;; read harmless
SELECT ts_rewrite('a'::tsquery, 'a', 'b')
--;; read harmless exact
SELECT satisfies_hash_partition('t'::regclass, 4, 0, 1)
--;; read harmless
SELECT table_to_xmlschema('t', true, true, '')
--;; primary server_function pin(random_seed)
SELECT setseed(0.5)
--;; read harmless advisory_unlock
SELECT pg_advisory_unlock(1)
--;; read harmless advisory_unlock(*)
SELECT pg_advisory_unlock_all()
--;; write unknown_function hidden_code
SELECT * FROM my_rows(1)
--;; write unknown_function hidden_code
SELECT 1 FROM t LIMIT my_limit()
--;; write unknown_function hidden_code
SELECT sum(1) OVER (ORDER BY my_key(id)) FROM t
--;; write unknown_function hidden_code
VALUES (my_function())
--;; write unknown_function hidden_code
SELECT ARRAY[my_function()]
--;; write unknown_function hidden_code
SELECT 1 FROM t GROUP BY my_function()
--;; write unknown_function hidden_code
SELECT (my_function()).a
--;; write unknown_function hidden_code
SELECT my_aggregate(id ORDER BY id) FILTER (WHERE true) FROM t
--;; write unknown_function hidden_code
SELECT x FROM t TABLESAMPLE BERNOULLI (my_percent())
--;; write unknown_function hidden_code
SELECT x FROM t TABLESAMPLE my_method (1)
--;; write unknown_function hidden_code
SELECT tags[my_index()] FROM t
--;; write unknown_function hidden_code
SELECT XMLELEMENT(NAME a, my_function())
--;; write unknown_function hidden_code
SELECT a FROM XMLTABLE('/r' PASSING my_xml() COLUMNS a int)
--;; write unknown_function hidden_code
SELECT 1 WHERE 1 = ANY (SELECT my_function())
--;; write unknown_function hidden_code
SELECT make_interval(days => my_function())
--;; write unknown_function hidden_code
SELECT COALESCE(NULL, my_function()), GREATEST(1, 2)
--;; write unknown_function hidden_code
SELECT my_function()::text
--;; write unknown_function hidden_code
SELECT * FROM ROWS FROM (generate_series(1, 2), my_rows())
--;; write unknown_function hidden_code
SELECT 1 ORDER BY my_function() DESC
--;; write unknown_function hidden_code
SELECT DISTINCT ON (my_function()) 1
--;; write unknown_operator
SELECT 1 OPERATOR(app.+) 2
--;; write unknown_operator
SELECT a <~~> b FROM t
--;; write unknown_operator
SELECT 1 FROM t ORDER BY a USING <<<<
--;; write unknown_operator
SELECT 1 WHERE 1 OPERATOR(app.=) ANY (SELECT 1)
--;; read harmless exact
SELECT current_setting('app.user_id')
--;; read harmless exact
SELECT * FROM t WHERE id = current_setting('app.user_id', true)::int
--;; primary server_function exact
SELECT current_setting('work_mem')
--;; read harmless exact
SELECT current_setting('role'), current_setting('Server_Encoding')
--;; primary server_function exact
SELECT current_setting($1)
--;; write unknown_function hidden_code
SELECT any_value(id) FROM t
--;; write unknown_function hidden_code
SELECT JSON_VALUE('{}', '$.a')
--;; write unknown_function hidden_code
SELECT JSON_ARRAY(1, 2)
--;; write unknown_function hidden_code
SELECT * FROM JSON_TABLE('[]', '$[*]' COLUMNS (a int PATH '$'))
--;; read harmless
SELECT json_object('{a,b}')
--;; read harmless
SELECT tsquery('a'), point('(1,2)'), regclass('t'), int4range(1, 2), bool('true'), date('2020-01-01')
--;; write unknown_function hidden_code
SELECT mood('sad')
