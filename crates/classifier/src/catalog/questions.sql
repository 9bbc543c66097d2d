-- What a database says about its objects; see facts.rs. Comments end at their line. Text is never cast to a number: that would
-- run a cast of the user's, if there is one.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;
-- Functions of the user's. In CALL the arguments that come out count, too, so procedures fit any number.
SELECT 'f', p.oid, n.nspname, p.proname, p.prokind, l.lanname, p.provolatile,
       CASE WHEN p.prokind = 'p' THEN 0 ELSE greatest(0, p.pronargs - p.pronargdefaults - (p.provariadic <> 0)::int) END,
       CASE WHEN p.provariadic = 0 AND p.prokind <> 'p' THEN p.pronargs END,
       CASE WHEN l.lanname NOT IN ('c', 'internal') AND length(p.prosrc) <= 131072
             AND sum(length(p.prosrc)) OVER (ORDER BY p.oid) <= 33554432 THEN p.prosrc END,
       CASE WHEN l.lanname = 'internal' THEN
           (SELECT b.proname FROM pg_proc b WHERE b.oid < 16384 AND b.prolang = p.prolang AND b.prosrc = p.prosrc LIMIT 1) END,
       array_to_string(p.proconfig, E'\n'), e.extname
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
  LEFT JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
  LEFT JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
 WHERE p.oid >= 16384 OR l.lanname NOT IN ('internal', 'c', 'sql') LIMIT 500001;
SELECT 'b', p.oid, n.nspname, p.proname, p.provolatile,
       p.pronargs - p.pronargdefaults - (p.provariadic <> 0)::int, CASE WHEN p.provariadic = 0 THEN p.pronargs END
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.oid < 16384;
SELECT 'r', c.oid, n.nspname, c.relname, c.relkind::text || c.relpersistence::text
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname !~ '^pg_(toast|temp)' LIMIT 500001;
SELECT 't', t.oid, n.nspname, t.typname, t.typtype
  FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
 WHERE (t.typcategory <> 'A' OR t.typtype = 'd') AND n.nspname !~ '^pg_(toast|temp)'
   AND (t.oid >= 16384 OR t.oid IN (SELECT casttarget FROM pg_cast WHERE oid >= 16384 AND castsource < 16384)) LIMIT 500001;
SELECT 'y', oid, typelem FROM pg_type WHERE oid >= 16384 AND typcategory = 'A' AND typtype <> 'd' AND typelem <> 0 LIMIT 500001;
SELECT 'o', o.oid, n.nspname, o.oprname, o.oprkind
  FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace WHERE o.oid >= 16384 LIMIT 500001;
-- What the trees use that are stored: of views, rules, policies, defaults, checks, generated columns, SQL-standard bodies.
WITH trees (class, oid, tree) AS MATERIALIZED (
    SELECT CASE WHEN ev_type = '1' AND c.relkind = 'v' THEN 'r' ELSE 'w' END, ev_class, ev_action::text || ev_qual::text
      FROM pg_rewrite r JOIN pg_class c ON c.oid = ev_class WHERE r.oid >= 16384
    UNION ALL SELECT 'r', polrelid, polqual::text FROM pg_policy JOIN pg_class c ON c.oid = polrelid
               WHERE polcmd IN ('r', '*') AND c.relrowsecurity
    UNION ALL SELECT 'w', polrelid, concat(polqual::text, polwithcheck::text) FROM pg_policy
    UNION ALL SELECT CASE WHEN a.attgenerated = 'v' THEN 'r' ELSE 'w' END, adrelid, adbin::text
                FROM pg_attrdef JOIN pg_attribute a ON a.attrelid = adrelid AND a.attnum = adnum
    UNION ALL SELECT 't', contypid, conbin::text FROM pg_constraint WHERE contypid >= 16384
    UNION ALL SELECT 'w', conrelid, conbin::text FROM pg_constraint WHERE conrelid >= 16384
    UNION ALL SELECT 'w', indrelid, concat(indexprs::text, indpred::text) FROM pg_index WHERE indrelid >= 16384
    UNION ALL SELECT 'w', stxrelid, stxexprs::text FROM pg_statistic_ext
    UNION ALL SELECT 'r', partrelid, partexprs::text FROM pg_partitioned_table
    UNION ALL SELECT 'p', oid, concat(proargdefaults::text, to_jsonb(p) ->> 'prosqlbody') FROM pg_proc p
               WHERE oid >= 16384 AND (pronargdefaults > 0 OR prosrc = '')
), used AS (
    SELECT DISTINCT class, oid, m[1] AS what, oidin(textout(m[2])) AS used
      FROM trees, regexp_matches(tree, ':(funcid|opno|aggfnoid|winfnoid|tsmhandler|relid|resulttype|funcresulttype|consttype|vartype|eqop|sortop) (\d+)', 'g') m
     WHERE tree IS NOT NULL
    -- Lists: columns of XMLTABLE and of functions that are told their columns, comparisons of rows.
    UNION SELECT class, oid, CASE m[1] WHEN 'opnos' THEN 'opno' ELSE 'vartype' END, oidin(textout(unnest(string_to_array(m[2], ' '))))
      FROM trees, regexp_matches(tree, ':(coltypes|funccoltypes|opnos) \(o ([\d ]+)\)', 'g') m WHERE tree IS NOT NULL
)
SELECT 'e', class, oid, what, used FROM (
    SELECT u.class, u.oid, u.what, CASE WHEN t.typcategory = 'A' AND t.typtype <> 'd' AND t.typelem <> 0 THEN t.typelem ELSE u.used END AS used
      FROM used u LEFT JOIN pg_type t ON u.what IN ('resulttype', 'funcresulttype', 'consttype', 'vartype') AND t.oid = u.used
) u WHERE used >= 16384 OR used > 0 AND what IN ('funcid', 'aggfnoid', 'winfnoid', 'tsmhandler', 'relid')
-- Whoever plans a read of a table may run what is immutable in its checks and the expressions of its indexes.
UNION SELECT 'e', 'r', u.oid, what, used FROM used u LEFT JOIN pg_operator o ON what = 'opno' AND o.oid = used
  JOIN pg_proc p ON p.oid = coalesce(o.oprcode::oid, used)
 WHERE class = 'w' AND what IN ('funcid', 'opno') AND used >= 16384 AND provolatile = 'i' LIMIT 500001;
-- Trees that do more than read (a view with FOR UPDATE, a body with INSERT), and those that ask for a setting which may be
-- the server's own: current_setting() of anything but a name with a point in it, byte 46.
SELECT DISTINCT mark, class, oid FROM (
    SELECT 'r' AS class, ev_class AS oid, ev_action::text AS tree FROM pg_rewrite WHERE oid >= 16384 AND ev_type = '1'
    UNION ALL SELECT 'r', polrelid, polqual::text FROM pg_policy JOIN pg_class c ON c.oid = polrelid
               WHERE polcmd IN ('r', '*') AND c.relrowsecurity
    UNION ALL SELECT 't', contypid, conbin::text FROM pg_constraint WHERE contypid >= 16384
    UNION ALL SELECT 'p', oid, concat(proargdefaults::text, to_jsonb(p) ->> 'prosqlbody') FROM pg_proc p
               WHERE oid >= 16384 AND (pronargdefaults > 0 OR prosrc = '')
) t, LATERAL (VALUES
    ('x', tree ~ 'ROWMARKCLAUSE|:commandType [2-9]|:hasModifyingCTE true'),
    ('q', tree ~ ':funcid (2077|3294) ' AND regexp_replace(tree,
        ':funcid (2077|3294) [^{]*\(\{CONST [^{}]*:constvalue \d+ \[[^]]* 46 [^]]*\]\}', '', 'g') ~ ':funcid (2077|3294) ')
) m (mark, holds) WHERE holds;
-- Settings that views, policies and bodies give values to, where a constant names them (a text behind four bytes of length).
SELECT DISTINCT 'n', (SELECT string_agg(chr(int4in(textout(byte))), '' ORDER BY place) FROM regexp_split_to_table(m[1], ' ') WITH ORDINALITY b (byte, place))
  FROM (
    SELECT ev_action::text AS tree FROM pg_rewrite WHERE oid >= 16384 AND ev_type = '1'
    UNION ALL SELECT polqual::text FROM pg_policy
    UNION ALL SELECT to_jsonb(p) ->> 'prosqlbody' FROM pg_proc p WHERE oid >= 16384 AND prosrc = ''
) t, regexp_matches(tree, ':funcid 2078 [^(]*\(\{CONST [^{}]*:constvalue \d+ \[ (?:-?\d+ ){4}([1-9][\d ]*) \]', 'g') m;
-- Functions and operators that only values of certain types can lead to: of one of these at least, or no
-- other of the name would do. Domains take values of their base types, too, and types that are like strings, or
-- preferred among their like, what a literal says.
SELECT DISTINCT 'd', class, d.oid, 'type', e.element FROM (
    SELECT 'o' AS class, oid, ARRAY[oprleft, oprright] AS types, unnest(ARRAY[oprleft, oprright]) AS type
      FROM pg_operator WHERE oid >= 16384
    UNION ALL SELECT 'p', oid, proargtypes::oid[], unnest(proargtypes) FROM pg_proc WHERE oid >= 16384 AND prokind <> 'p'
) d JOIN (
    SELECT oid, CASE WHEN typcategory = 'A' AND typtype <> 'd' AND typelem <> 0 THEN typelem ELSE oid END AS element FROM pg_type WHERE oid >= 16384
) e ON e.oid = d.type JOIN pg_type t ON t.oid = e.element AND t.typtype <> 'd'
 WHERE NOT EXISTS (SELECT FROM pg_type s WHERE s.oid = ANY (d.types) AND s.oid >= 16384 AND (s.typcategory = 'S' OR s.typispreferred))
 LIMIT 500001;
-- What the rows of the catalogs use.
WITH types (oid, element) AS MATERIALIZED (
    SELECT oid, CASE WHEN typcategory = 'A' AND typtype <> 'd' AND typelem <> 0 THEN typelem ELSE oid END FROM pg_type WHERE oid >= 16384
), uses (class, oid, what, used) AS (
    SELECT 'p', aggfnoid::oid, 'opno', aggsortop FROM pg_aggregate WHERE aggfnoid::oid >= 16384
    UNION ALL SELECT 'p', aggfnoid::oid, 'funcid', unnest(ARRAY[aggtransfn, aggfinalfn, aggcombinefn, aggserialfn, aggdeserialfn,
           aggmtransfn, aggminvtransfn, aggmfinalfn]::oid[]) FROM pg_aggregate WHERE aggfnoid::oid >= 16384
    UNION ALL SELECT 'p', p.oid, 'type', types.element FROM pg_proc p,
           unnest(coalesce(p.proallargtypes, p.proargtypes::oid[]) || p.prorettype) t (oid) JOIN types USING (oid) WHERE p.oid >= 16384
    UNION ALL SELECT 'p', oid, 'funcid', prosupport::oid FROM pg_proc WHERE oid >= 16384
    UNION ALL SELECT 'o', oid, 'funcid', unnest(ARRAY[oprcode, oprrest, oprjoin]::oid[]) FROM pg_operator WHERE oid >= 16384
    UNION ALL SELECT 't', castsource, 'funcid', castfunc FROM pg_cast WHERE castsource >= 16384
    UNION ALL SELECT 't', casttarget, 'funcid', castfunc FROM pg_cast WHERE oid >= 16384 AND (casttarget >= 16384 OR castsource < 16384)
    UNION ALL SELECT 'a', 0, 'funcid', castfunc FROM pg_cast
               WHERE oid >= 16384 AND castsource < 16384 AND casttarget < 16384
    UNION ALL SELECT 'a', 0, 'funcid', amproc::oid FROM pg_amproc WHERE oid >= 16384 AND amproclefttype < 16384
    UNION ALL SELECT 'a', 0, 'opno', amopopr FROM pg_amop WHERE oid >= 16384 AND amoplefttype < 16384
    UNION ALL SELECT 't', oid, 'funcid', unnest(ARRAY[typinput, typoutput, typreceive, typsend, typmodin, typmodout]::oid[])
                FROM pg_type WHERE oid >= 16384
    UNION ALL SELECT 't', t.oid, 'type', types.element FROM pg_type t,
           unnest(ARRAY[t.typbasetype, CASE WHEN t.typcategory <> 'A' THEN t.typelem ELSE 0 END]) b (oid) JOIN types USING (oid) WHERE t.oid >= 16384
    UNION ALL SELECT 't', rngtypid, 'funcid', unnest(ARRAY[rngcanonical, rngsubdiff]::oid[]) FROM pg_range WHERE rngtypid >= 16384
    UNION ALL SELECT 't', rngtypid, 'type', types.element FROM pg_range JOIN types ON types.oid = rngsubtype
    UNION ALL SELECT 't', oidin(textout(to_jsonb(r) ->> 'rngmultitypid')), 'type', rngtypid FROM pg_range r WHERE rngtypid >= 16384
    UNION ALL SELECT DISTINCT 't', rngtypid, 'funcid', a.amproc::oid FROM pg_range
                JOIN pg_opclass o ON o.oid = rngsubopc JOIN pg_amproc a ON a.amprocfamily = o.opcfamily WHERE rngtypid >= 16384
    UNION ALL SELECT 't', amproclefttype, 'funcid', amproc::oid FROM pg_amproc WHERE oid >= 16384
    UNION ALL SELECT 't', amoplefttype, 'opno', amopopr FROM pg_amop WHERE oid >= 16384
    UNION ALL SELECT CASE WHEN c.relkind = 'c' THEN 't' ELSE 'r' END, CASE WHEN c.relkind = 'c' THEN c.reltype ELSE c.oid END, 'type', types.element
                FROM pg_attribute a JOIN types ON types.oid = a.atttypid JOIN pg_class c ON c.oid = a.attrelid
               WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')
    UNION ALL SELECT 't', c.reltype, 'type', types.element
                FROM pg_attribute a JOIN types ON types.oid = a.atttypid JOIN pg_class c ON c.oid = a.attrelid
               WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    UNION ALL SELECT 'r', oid, 'type', reltype FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f')
    UNION ALL SELECT 'r', inhparent, 'relid', inhrelid FROM pg_inherits
    UNION ALL SELECT 'w', inhparent, 'written', inhrelid FROM pg_inherits
    -- A row of a child is one of its parent's wherever a function takes those.
    UNION ALL SELECT 't', c.reltype, 'type', p.reltype FROM pg_inherits
                JOIN pg_class c ON c.oid = inhrelid JOIN pg_class p ON p.oid = inhparent
    UNION ALL SELECT DISTINCT 'r', i.indrelid, 'funcid', a.amproc::oid FROM pg_index i, unnest(i.indclass) c (oid)
                JOIN pg_opclass o USING (oid) JOIN pg_amproc a ON a.amprocfamily = o.opcfamily WHERE i.indrelid >= 16384 AND a.oid >= 16384
    UNION ALL SELECT DISTINCT 'r', t.partrelid, 'funcid', a.amproc::oid FROM pg_partitioned_table t, unnest(t.partclass) c (oid)
                JOIN pg_opclass o USING (oid) JOIN pg_amproc a ON a.amprocfamily = o.opcfamily WHERE a.oid >= 16384
    UNION ALL SELECT 'w', tgrelid, 'funcid', tgfoid FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT 'w', confrelid, 'written', conrelid FROM pg_constraint WHERE contype = 'f' AND concat(confupdtype, confdeltype) ~ '[cnd]'
)
SELECT DISTINCT 'e', class, oid, what, used FROM uses WHERE used >= 16384 LIMIT 500001
