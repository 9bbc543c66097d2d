-- What every node of a Citus cluster has and answers alike; see sharding.rs. To be asked behind questions.sql.
-- Relations whose rows are shards, copies on every node, or kept where every node finds them.
SELECT 's', 'r', logicalrelid::oid FROM pg_dist_partition
-- Views, functions and types that Citus has made on every node.
UNION SELECT 's', k.class, o.objid FROM pg_dist_object o
  JOIN (VALUES ('pg_class'::regclass, 'r'), ('pg_proc', 'p'), ('pg_type', 't')) k (classid, class) USING (classid)
 WHERE o.classid <> 'pg_class'::regclass OR EXISTS (SELECT FROM pg_class c WHERE c.oid = o.objid AND c.relkind = 'v')
-- The rows of these relations as values.
UNION SELECT 's', 't', c.reltype FROM pg_class c
 WHERE c.oid IN (SELECT logicalrelid::oid FROM pg_dist_partition)
    OR c.relkind = 'v' AND c.oid IN (SELECT objid FROM pg_dist_object WHERE classid = 'pg_class'::regclass)
-- What belongs to an extension that Citus has created on every node. Its tables may have other rows there.
UNION SELECT 's', k.class, d.objid FROM pg_depend d
  JOIN (VALUES ('pg_proc'::regclass, 'p'), ('pg_type', 't'), ('pg_operator', 'o')) k (classid, class) USING (classid)
  JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
 WHERE d.deptype = 'e' AND (e.extname IN ('citus', 'citus_columnar')
    OR EXISTS (SELECT FROM pg_dist_object o WHERE o.classid = 'pg_extension'::regclass AND o.objid = e.oid))
 LIMIT 500001
