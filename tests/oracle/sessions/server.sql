--;; what one server alone can tell
SELECT pg_is_in_recovery()
SELECT pg_current_xact_id() IS NOT NULL
SELECT pg_current_xact_id_if_assigned()
SELECT txid_current() > 0
SELECT txid_current_if_assigned()
SELECT txid_current_snapshot() IS NOT NULL
SELECT txid_status(txid_current())
SELECT pg_snapshot_xmin(pg_current_snapshot()) IS NOT NULL
SELECT pg_current_wal_lsn() > '0/0'
SELECT pg_current_wal_insert_lsn() >= pg_current_wal_flush_lsn()
SELECT pg_walfile_name(pg_current_wal_lsn()) IS NOT NULL
SELECT pg_last_wal_replay_lsn() IS NULL, pg_last_wal_receive_lsn() IS NULL
SELECT pg_last_xact_replay_timestamp() IS NULL
SELECT pg_wal_lsn_diff('0/10', '0/0')
SELECT count(*) FROM pg_stat_replication
SELECT count(*) FROM pg_stat_wal_receiver
SELECT count(*) FROM pg_replication_slots
SELECT count(*) FROM pg_prepared_xacts
SELECT count(*) FROM pg_prepared_statements
SELECT count(*) FROM pg_cursors
SELECT setting FROM pg_settings WHERE name = 'transaction_read_only'
SELECT current_setting('transaction_read_only'), current_setting('in_hot_standby')
SHOW transaction_read_only
SHOW in_hot_standby
SHOW ALL
SELECT count(*) > 0 FROM pg_locks WHERE mode = 'RowExclusiveLock' OR true
SELECT count(*) FROM pg_stat_activity WHERE pid = pg_backend_pid()
SELECT pg_backend_pid() = pg_backend_pid()
SELECT pg_postmaster_start_time() < now()
SELECT count(*) > 0 FROM pg_stat_database
SELECT checkpoints_req >= 0 FROM pg_stat_bgwriter
SELECT pg_stat_get_db_numbackends(oid) > 0 FROM pg_database WHERE datname = current_database()
SELECT pg_size_pretty(pg_database_size(current_database())) IS NOT NULL
SELECT pg_control_recovery() IS NOT NULL
SELECT checkpoint_lsn > '0/0' FROM pg_control_checkpoint()
SELECT system_identifier > 0 FROM pg_control_system()
SELECT inet_server_port() IS NOT NULL
SELECT count(*) FROM pg_hba_file_rules WHERE error IS NOT NULL
SELECT pg_export_snapshot() IS NOT NULL
SELECT pg_wal_replay_pause()
SELECT pg_wal_replay_resume()
SELECT pg_is_wal_replay_paused()
SELECT pg_promote(false)
SELECT pg_switch_wal() IS NOT NULL
SELECT pg_create_restore_point('here') IS NOT NULL
SELECT pg_logical_emit_message(true, 'a', 'b') IS NOT NULL
SELECT pg_logical_emit_message(false, 'a', 'b') IS NOT NULL
SELECT pg_create_physical_replication_slot('stranger_slot')
SELECT slot_name FROM pg_replication_slots
SELECT pg_drop_replication_slot('stranger_slot')
SELECT pg_replication_origin_create('stranger_origin')
SELECT roname FROM pg_replication_origin
SELECT pg_replication_origin_drop('stranger_origin')
SELECT pg_stat_reset()
SELECT pg_stat_reset_shared('bgwriter')
SELECT pg_stat_clear_snapshot()
SELECT pg_reload_conf()
SELECT pg_log_backend_memory_contexts(pg_backend_pid())
SELECT pg_blocking_pids(pg_backend_pid())
SELECT pg_read_file('PG_VERSION')
SELECT pg_stat_file('PG_VERSION') IS NOT NULL
SELECT count(*) > 0 FROM pg_ls_dir('.')
SELECT count(*) > 0 FROM pg_ls_waldir()
SELECT pg_trigger_depth(), pg_my_temp_schema()
SELECT pg_listening_channels()
SELECT pg_notification_queue_usage()
SELECT pg_conf_load_time() < now()
SELECT pg_cancel_backend(0)
SELECT pg_terminate_backend(0)
SELECT gin_clean_pending_list('pg_class_oid_index')
SELECT pg_import_system_collations('pg_catalog') >= 0
SELECT pg_collation_actual_version(oid) IS NULL FROM pg_collation WHERE collname = 'C'

--;; what every server can tell
SELECT 1
SELECT current_database() IS NOT NULL, current_schema(), current_schemas(true)
SELECT count(*) > 0 FROM pg_class
SELECT has_table_privilege('pg_class', 'select')
SELECT relname FROM pg_class WHERE oid = 'pg_class'::regclass
SELECT 'pg_class'::regclass, 'int4pl'::regproc, 'int4'::regtype, 'public'::regnamespace
SELECT format_type(23, NULL), pg_get_userbyid(10)
SELECT to_regclass('nowhere'), to_regtype('int')
SELECT count(*) > 0 FROM information_schema.columns WHERE table_name = 'pg_class'
SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'
SELECT count(*) FROM information_schema.views WHERE table_schema = 'public'
SELECT count(*) FROM information_schema.routines WHERE specific_schema = 'public'
SELECT count(*) > 0 FROM pg_timezone_names
SELECT count(*) > 0 FROM pg_tables
SELECT random() < 2, gen_random_uuid() IS NOT NULL, clock_timestamp() > now()
SELECT pg_sleep(0)
SELECT md5('a'), sha256('a'), encode('a', 'base64')
SELECT current_user, session_user, user
SELECT current_date IS NOT NULL, localtime IS NOT NULL
SELECT pg_column_size(1), pg_typeof(1), pg_client_encoding()
SELECT obj_description('pg_class'::regclass), col_description('pg_class'::regclass, 1)
SELECT * FROM pg_options_to_table(ARRAY['a=b'])
SELECT * FROM unnest(ARRAY[1, 2], ARRAY['a', 'b'])
SELECT '{"a": [1, 2]}'::jsonb @> '{"a": [1]}', jsonb_path_query('[1, 2]', '$[*]')
SELECT to_tsvector('english', 'the cats') @@ to_tsquery('cat')
SELECT ts_headline('the cats', 'cat'::tsquery)
SELECT xpath('/a/text()', '<a>1</a>')
SELECT pg_visible_in_snapshot('5'::xid8, '10:20:10'::pg_snapshot)
SELECT age('5'::xid) > 0
SELECT pg_encoding_to_char(6), getdatabaseencoding()
SELECT 'a' COLLATE "C" < 'B' COLLATE "C"
SELECT satisfies_hash_partition('pg_class'::regclass, 2, 0, 1)
SELECT pg_partition_root('pg_class'::regclass)
SELECT pg_relation_filenode('pg_class') = pg_relation_filenode('pg_class')
SELECT txid_snapshot_xmin('10:20:10'::txid_snapshot)
SELECT datname FROM pg_database WHERE datname = 'template1'
SELECT rolname FROM pg_roles WHERE rolname = 'postgres'
SELECT count(*) >= 0 FROM pg_description

--;; locks of sessions and of transactions
SELECT pg_advisory_lock(1)
SELECT pg_advisory_unlock(1)
SELECT pg_advisory_unlock(1)
SELECT pg_try_advisory_lock(2), pg_try_advisory_lock_shared(3)
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
SELECT pg_advisory_unlock_all()
SELECT pg_advisory_xact_lock(4)
SELECT pg_try_advisory_xact_lock(5)
BEGIN
SELECT pg_advisory_xact_lock(6)
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
COMMIT
CREATE TABLE lockable (a int)
LOCK TABLE lockable
BEGIN
LOCK TABLE lockable
LOCK TABLE lockable IN ACCESS SHARE MODE
LOCK lockable IN ROW SHARE MODE NOWAIT
COMMIT
LISTEN bell
NOTIFY bell, 'rings'
SELECT pg_notify('bell', 'again')
UNLISTEN bell
UNLISTEN *
CHECKPOINT

--;; large objects and files
SELECT lo_create(4711)
SELECT lo_put(4711, 0, 'abc')
SELECT lo_get(4711)
SELECT count(*) FROM pg_largeobject WHERE loid = 4711
SELECT count(*) FROM pg_largeobject_metadata WHERE oid = 4711
BEGIN
SELECT lo_open(4711, 262144)
SELECT loread(0, 2)
SELECT lo_lseek(0, 0, 0), lo_tell(0)
COMMIT
BEGIN
SELECT lo_open(4711, 131072)
SELECT lowrite(0, 'xyz')
SELECT lo_close(0)
COMMIT
SELECT lo_get(4711, 0, 3)
SELECT lo_from_bytea(4712, 'abc')
SELECT lo_unlink(4711), lo_unlink(4712)
SELECT lo_get(4711)
SELECT lo_import('/nowhere/at/all')
COPY (SELECT 1) TO '/nowhere/at/all'
COPY (SELECT 1) TO PROGRAM 'cat > /dev/null'
COPY lockable FROM PROGRAM 'true'

--;; maintenance
CREATE TABLE kept (a int PRIMARY KEY, b text)
INSERT INTO kept VALUES (1, 'x')
VACUUM kept
ANALYZE kept
VACUUM (ANALYZE, VERBOSE FALSE) kept
REINDEX TABLE kept
CLUSTER kept USING kept_pkey
TRUNCATE kept
COMMENT ON TABLE kept IS 'x'
SELECT obj_description('kept'::regclass)
GRANT SELECT ON kept TO PUBLIC
REVOKE SELECT ON kept FROM PUBLIC
CREATE STATISTICS kept_stats ON a, b FROM kept
CREATE MATERIALIZED VIEW kept_view AS SELECT * FROM kept
SELECT * FROM kept_view
INSERT INTO kept VALUES (2, 'y')
REFRESH MATERIALIZED VIEW kept_view
SELECT * FROM kept_view
CREATE INDEX ON kept_view (a)
REFRESH MATERIALIZED VIEW kept_view WITH NO DATA
SELECT * FROM kept_view
