-- Every overload of PostgreSQL's own functions, once with nulls and once with sample values. What has
-- no sample is null in both.
WITH samples (type, value) AS (VALUES
    ('bool', 'true'), ('bytea', '''\x61''::bytea'), ('char', '''a''::"char"'), ('name', '''t''::name'),
    ('int8', '1::int8'), ('int2', '1::int2'), ('int4', '1'), ('text', '''a''::text'),
    ('oid', '''t''::regclass::oid'), ('tid', '''(0,1)''::tid'), ('xid', '''3''::xid'),
    ('xid8', '''3''::xid8'), ('cid', '''0''::cid'), ('json', '''{"a": 1}''::json'),
    ('jsonb', '''{"a": 1}''::jsonb'), ('jsonpath', '''$.a''::jsonpath'), ('xml', '''<a/>''::xml'),
    ('point', '''(1,2)''::point'), ('box', '''(1,2),(3,4)''::box'), ('circle', '''<(1,2),3>''::circle'),
    ('float4', '0.5::float4'), ('float8', '0.5::float8'), ('numeric', '1.5'), ('money', '1::money'),
    ('macaddr', '''08:00:2b:01:02:03''::macaddr'), ('inet', '''10.0.0.1''::inet'),
    ('cidr', '''10.0.0.0/8''::cidr'), ('bpchar', '''a''::bpchar'), ('varchar', '''a''::varchar'),
    ('date', '''2020-01-01''::date'), ('time', '''12:00''::time'), ('timetz', '''12:00+00''::timetz'),
    ('timestamp', '''2020-01-01''::timestamp'), ('timestamptz', '''2020-01-01+00''::timestamptz'),
    ('interval', '''1 day''::interval'), ('bit', 'B''1'''), ('varbit', 'B''1''::varbit'),
    ('uuid', '''00000000-0000-0000-0000-000000000001''::uuid'), ('pg_lsn', '''0/1''::pg_lsn'),
    ('tsvector', '''a''::tsvector'), ('tsquery', '''a''::tsquery'), ('regclass', '''t''::regclass'),
    ('regtype', '''int''::regtype'), ('regproc', '''now''::regproc'), ('regconfig', '''english''::regconfig'),
    ('regdictionary', '''simple''::regdictionary'), ('regnamespace', '''app''::regnamespace'),
    ('cstring', '''1''::cstring'), ('record', 'ROW(1)'), ('anyelement', '1'), ('any', '1'),
    ('anyarray', 'ARRAY[1]'), ('anynonarray', '1'), ('anyenum', '''ok''::mood'),
    ('anyrange', '''[1,2)''::int4range'), ('anymultirange', '''{[1,2)}''::int4multirange'),
    ('anycompatible', '1'), ('anycompatiblearray', 'ARRAY[1]'), ('anycompatiblenonarray', '1'),
    ('anycompatiblerange', '''[1,2)''::int4range'), ('refcursor', '''c''::refcursor'),
    ('_text', 'ARRAY[''a'']'), ('_int4', 'ARRAY[1]'), ('txid_snapshot', '''1:2:''::txid_snapshot'),
    ('pg_snapshot', '''1:2:''::pg_snapshot'), ('int4range', '''[1,2)''::int4range'))
SELECT p.proname, 'SELECT pg_catalog.' || quote_ident(p.proname) || '('
    || coalesce((SELECT string_agg(
           CASE round WHEN 0 THEN 'NULL::' || format_type(a.type, NULL)
           ELSE coalesce(s.value, 'NULL::' || format_type(a.type, NULL)) END, ', ' ORDER BY a.n)
         FROM unnest(p.proargtypes) WITH ORDINALITY a (type, n)
         JOIN pg_type t ON t.oid = a.type LEFT JOIN samples s ON s.type = t.typname), '')
    || CASE p.prokind WHEN 'w' THEN ') OVER ()' ELSE ')' END
FROM pg_proc p, generate_series(0, 1) round
WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname NOT LIKE 'pg_sleep%' AND NOT 'internal'::regtype = ANY (p.proargtypes)
ORDER BY 1, 2
