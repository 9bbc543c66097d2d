--;; read harmless
SELECT * FROM t WHERE id = 1
--;; read harmless
SELECT * FROM public.t
--;; write unknown_relation
SELECT * FROM other.t
--;; write unknown_relation
SELECT * FROM nowhere
--;; read harmless
WITH nowhere AS (SELECT 1) SELECT * FROM nowhere
--;; read harmless
WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT * FROM r
--;; primary unlogged_relation
SELECT * FROM unlogged
--;; primary unlogged_relation
SELECT 1 WHERE EXISTS (TABLE unlogged)
--;; primary unlogged_relation
COPY unlogged TO STDOUT
--;; primary sequence_state
SELECT last_value FROM s
--;; primary sequence_state
SELECT * FROM s
--;; read harmless
SELECT last_value FROM ids
--;; read harmless
SELECT id FROM ids
--;; primary foreign_relation
SELECT count(*) FROM passwords
--;; primary unlogged_relation
SELECT * FROM copied
--;; read harmless
SELECT * FROM public.copied
--;; primary unlogged_relation
SELECT * FROM other.copied
--;; read harmless
SELECT * FROM pg_mine
--;; primary temporary_relation
SELECT * FROM pg_temp.x
--;; write write_function
SELECT writer()
--;; write write_function
SELECT WRITER ()
--;; write write_function
SELECT "writer"()
--;; write unknown_function hidden_code
SELECT "Writer"()
--;; write write_function
SELECT writer_of(1)
--;; write write_function
SELECT wrapper()
--;; write write_function
EXPLAIN SELECT immutable_wrapper()
--;; write write_function
SELECT immutable_wrapper()
--;; write write_function
SELECT plpgsql_wrapper()
--;; write write_function
SELECT catcher()
--;; write write_function uses_sequence
SELECT drawer()
--;; primary server_function recalls_sequence
SELECT asker()
--;; write write_function
SELECT noter('x')
--;; write write_function
SELECT locker(1)
--;; write write_function
SELECT numberer()
--;; primary server_function
SELECT place()
--;; write runs_text hidden_code exact
SELECT runner('SELECT 1')
--;; write runs_text hidden_code exact
SELECT asks('SELECT 1')
--;; write runs_text hidden_code defines exact
SELECT runner('CREATE TABLE made (a int)')
--;; write runs_text hidden_code exact
SELECT runner('SELECT created_at FROM t')
--;; read harmless
SELECT reader(1), plain(1), plain(1, 2), atomic(5), many(1, 2, 3), many(VARIADIC ARRAY[1])
--;; write write_function
SELECT loops(5)
--;; read harmless
SELECT public.reader(id) FROM t ORDER BY plain(id)
--;; write unknown_function hidden_code
SELECT plain(1, 2, 3)
--;; write write_function uses_sequence
SELECT atomic_writer()
--;; write write_function
SELECT atomic_insert()
--;; write write_function
SELECT atomic_wrapper()
--;; write write_function
SELECT defaulted(1)
--;; read harmless
SELECT * FROM rows_of()
--;; read harmless
SELECT overloaded(1), variadic_default(), variadic_default(1, 2)
--;; write write_function
SELECT overloaded(1, 2)
--;; write write_function
SELECT twice()
--;; read harmless
SELECT public.twice()
--;; write write_function
SELECT other.twice()
--;; write write_function
SELECT "Odd Name"."Odd ()"()
--;; write write_function uses_sequence
SELECT internal_alias('s')
--;; read harmless
SELECT internal_harmless(1, 2)
--;; read harmless
SELECT lower(name), abs(n) FROM t
--;; write write_function
SELECT upper(t) FROM t
--;; read harmless
SELECT harmless(t), t.harmless FROM t
--;; write write_function
SELECT effect(t) FROM t
--;; write write_function
SELECT t.effect FROM t
--;; write write_function
SELECT (t).effect FROM t
--;; write write_function
SELECT x.nextval FROM to_regclass('s') x
--;; write write_function
SELECT ('s'::regclass).nextval
--;; read harmless
SELECT mutual_a(3)
--;; read harmless
CALL does_nothing()
--;; write write_function hidden_code
CALL writes()
--;; primary changes_session hidden_code
SELECT sets_it()
--;; read harmless sets_locally
SELECT sets_local('x')
--;; read harmless
SELECT configured()
--;; primary changes_session hidden_code
SELECT calls_setter()
--;; primary changes_session hidden_code
SELECT guards()
--;; read harmless
SELECT * FROM v
--;; read harmless
SELECT * FROM v_v, m
--;; write write_function
SELECT id FROM v_writer
--;; write write_function
SELECT * FROM v_v_writer
--;; write write_function uses_sequence
SELECT * FROM v_nextval
--;; primary unlogged_relation
SELECT * FROM v_unlogged
--;; primary server_relation
SELECT * FROM v_stat
--;; primary server_function
SELECT * FROM v_recovery
--;; write write_function
SELECT * FROM v_lock
--;; primary sequence_state
SELECT * FROM v_sequence
--;; write write_function
SELECT * FROM v_field
--;; write write_function
SELECT * FROM v_union
--;; write write_function
SELECT * FROM v_where
--;; write write_function
SELECT through_view()
--;; read harmless
SELECT 1 @@@@ 2
--;; write write_function
SELECT 1 !@! 2
--;; write write_function
SELECT 1 OPERATOR(public.!@!) 2
--;; write write_function
SELECT 1 OPERATOR(other.!@!@) 2
--;; write unknown_operator
SELECT 1 !@!@! 2
--;; write write_function
SELECT uses_operator(1)
--;; write write_function
SELECT plpgsql_operator(1)
--;; read harmless
SELECT id FROM t a JOIN t b USING (id)
--;; write write_function
SELECT * FROM log a, log b WHERE a = b
--;; write write_function
SELECT * FROM log WHERE what = 'x'
--;; read harmless
SELECT n + 1, abs(n), $$a$$ = 'b' FROM t WHERE id = 3
--;; read harmless
SELECT adds(1), adds(n) FROM t
--;; write write_function
SELECT f + 1 FROM flags
--;; write write_function
SELECT n + 1 FROM flags
--;; read harmless
SELECT n FROM flags
--;; write write_function
SELECT 'on'::flag + 1
--;; write write_function
SELECT makes_flag() + 1
--;; write write_function
SELECT abs(x) FROM (SELECT f AS x FROM flags) y
--;; write write_function
SELECT adds_flag('on')
--;; write write_function
SELECT upper(y) FROM (VALUES ('a')) y (x)
--;; read harmless
SELECT upper(x.name) FROM shown x
--;; write write_function
SELECT upper(name) FROM v
--;; read harmless
SELECT 1::plain_domain, plain_domain(1), 'ok'::mood
--;; write write_function
SELECT 1::writing_domain
--;; write write_function
SELECT CAST(1 AS public.writing_domain)
--;; write write_function
SELECT writing_domain(1)
--;; write write_function
SELECT '{1}'::writing_domain[]
--;; write write_function
SELECT 1::domain_of_domain
--;; write write_function
SELECT '(1,2)'::holder
--;; write write_function
SELECT * FROM of_domain
--;; write write_function
SELECT * FROM of_holder
--;; write write_function
SELECT takes_domain(1)
--;; write write_function
SELECT * FROM shady
--;; read harmless
SELECT m, e, h -> 'a' FROM moody WHERE e <> 'x' ORDER BY m
--;; write write_function
SELECT writing_sum(n) FROM t
--;; write write_function
SELECT writing_sum(n) OVER (ORDER BY id) FROM t
--;; read harmless
SELECT plain_sum(n), plain_sum(n) FILTER (WHERE n > 1) FROM t
--;; write write_function
SELECT * FROM guarded
--;; write write_function
SELECT * FROM v_guarded
--;; read harmless
SELECT * FROM guarded_plain
--;; primary unlogged_relation
SELECT * FROM parent
--;; read harmless
SELECT * FROM parts
--;; read harmless
SELECT * FROM child_1
--;; read harmless
SELECT gen_salt('bf') IS NOT NULL, crypt('a', gen_salt('md5')) IS NOT NULL
--;; write runs_text hidden_code
SELECT * FROM crosstab('SELECT 1') AS c (a int)
--;; write data_modification hidden_code
INSERT INTO triggering VALUES (1)
--;; write data_modification
INSERT INTO triggered VALUES (1)
--;; write data_modification hidden_code
UPDATE triggering SET id = 2
--;; write write_function
SELECT * FROM folded
--;; read harmless
SELECT * FROM checked_by_volatile
--;; write write_function
SELECT * FROM pg_roles
--;; read harmless
SELECT rolname FROM pg_catalog.pg_roles WHERE rolname = 'postgres'
--;; write write_function
SELECT initcap('a')
--;; read harmless
SELECT pg_catalog.initcap('a')

--;; write write_function
SELECT '{1}'::_writing_domain
--;; write write_function
SELECT '{1}'::public._domain_of_domain
--;; read harmless
SELECT '{1}'::_plain_domain, '{1}'::_int4, NULL::pg_class
--;; write unknown_type
SELECT NULL::nothing_has_this_name
--;; write runs_text hidden_code
SELECT domain_in('1', 'writing_domain'::regtype, -1)
--;; write write_function
SELECT upper(ROW(1, 'a', 2))
--;; write write_function
SELECT abs('on', 1)
--;; write write_function
SELECT abs(what => 'on')
--;; read harmless
SELECT abs(-1), upper('a')
--;; write write_function execute(p)
EXECUTE p (1, writer())
--;; primary write_function prepare(p:write) exact
PREPARE p (int, writing_domain) AS SELECT 1
--;; write write_function
SELECT count(*) FROM folded_by_operator
--;; write write_function
SELECT one FROM tells_no_column
--;; write write_function
SELECT one FROM tells_no_record
--;; write write_function
SELECT cast_or_call(1)
--;; primary server_relation
SELECT * FROM pg_locks
--;; read harmless
SELECT * FROM public.pg_locks
--;; primary server_relation lists_statements
SELECT * FROM lists_statements
--;; primary server_function
SELECT makes_writable()
--;; primary server_function sets_locally
SELECT sets_writable()
--;; write write_function
SELECT calls_by_more_than_is_kept()
--;; write write_function
SELECT implies_operators()
--;; read harmless
SELECT '{1,2}'::plain_list, NULL::plain_list[]
--;; write write_function
SELECT '{1,2}'::writing_list
--;; write write_function
SELECT takes_list('{1}')
--;; write write_function
SELECT * FROM has_list
--;; write write_function exact
SELECT table_to_xml('tells_no_column', true, true, '')
--;; write write_function exact
SELECT * FROM ts_stat('SELECT to_tsvector(writer()::text)')
--;; primary unlogged_relation exact
SELECT query_to_xml('SELECT * FROM other.copied', true, true, '')
--;; read harmless exact
SELECT query_to_xml('SELECT * FROM t', true, true, ''), table_to_xml('"public".T'::regclass, true, true, '')
--;; write unknown_relation exact
SELECT table_to_xml('nothing_has_this_name', true, true, '')
--;; primary server_function pin(load)
SELECT isn_weak(true)
--;; primary server_function pin(load)
SELECT * FROM weakens
--;; primary changes_session hidden_code pin(load)
SELECT loads()
