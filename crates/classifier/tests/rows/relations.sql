--;; read harmless
SELECT * FROM pg_class
--;; read harmless
SELECT * FROM pg_catalog.pg_class
--;; read harmless
SELECT count(*) FROM pg_attribute, pg_type, pg_namespace WHERE false
--;; read harmless
SELECT * FROM pg_tables
--;; read harmless
SELECT * FROM pg_indexes WHERE tablename = 't'
--;; read harmless
SELECT * FROM pg_views WHERE viewname = 'v'
--;; read harmless
SELECT rolname FROM pg_roles
--;; read harmless
SELECT * FROM pg_sequence
--;; read harmless
SELECT * FROM pg_timezone_names WHERE name = 'UTC'
--;; read harmless
SELECT table_name FROM information_schema.tables ORDER BY 1
--;; read harmless
SELECT * FROM information_schema.columns WHERE table_name = 't'
--;; read harmless
SELECT * FROM information_schema.sequences
--;; primary server_relation
SELECT * FROM pg_locks
--;; primary server_relation
SELECT * FROM pg_catalog.pg_locks
--;; primary server_relation
SELECT * FROM pg_settings
--;; primary server_relation
SELECT * FROM pg_stat_replication
--;; primary server_relation
SELECT * FROM pg_stat_user_tables
--;; primary server_relation
SELECT * FROM pg_statio_user_tables
--;; primary server_relation
SELECT * FROM pg_replication_slots
--;; primary server_relation
SELECT * FROM pg_sequences
--;; primary server_relation
SELECT * FROM pg_available_extensions
--;; primary server_relation
SELECT * FROM pg_cursors
--;; primary server_relation lists_statements
SELECT * FROM pg_prepared_statements
--;; primary server_relation
SELECT * FROM pg_stat_statements
--;; primary server_relation
SELECT * FROM pg_buffercache
--;; primary server_relation
SELECT * FROM information_schema.no_such_view
--;; read harmless
SELECT * FROM app.pg_locks
--;; primary server_relation
SELECT * FROM t WHERE id IN (SELECT pid FROM pg_stat_activity)
--;; primary temporary_relation
SELECT * FROM pg_temp.x
--;; primary temporary_relation
SELECT * FROM pg_temp_3.x
--;; primary temporary_relation
COPY pg_temp.x TO STDOUT
