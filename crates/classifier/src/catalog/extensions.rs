//! Functions of well-known extensions whose declarations do not tell what they do: volatile ones that
//! are harmless, and stable ones that run SQL which they are given. PostgreSQL's contrib modules, by
//! the manual's appendix "Additional Supplied Modules" and their sources, and PostGIS.

use crate::Verdict;

/// An extension, a function of it (or a beginning of names, with a star), what it amounts to.
const FUNCTIONS: &[(&str, &str, Verdict)] = {
    use Verdict::{Primary, Read, RunsText, Write};
    &[
        // Chance and time.
        ("pgcrypto", "gen_random_bytes", Read),
        ("pgcrypto", "gen_random_uuid", Read),
        ("pgcrypto", "gen_salt", Read),
        ("pgcrypto", "pgp_pub_encrypt*", Read),
        ("pgcrypto", "pgp_sym_encrypt*", Read),
        ("uuid-ossp", "*", Read),
        ("tablefunc", "normal_rand", Read),
        // They run SQL, or read relations, that they are given as text.
        ("tablefunc", "crosstab*", RunsText),
        ("tablefunc", "connectby", RunsText),
        ("xml2", "xpath_table", RunsText),
        ("dblink", "*", Write),
        ("lo", "*", Write),
        // One server's own: its memory, its files, its statistics.
        ("pg_stat_statements", "pg_stat_statements_reset", Write),
        ("pg_stat_statements", "*", Primary),
        ("pg_buffercache", "*", Primary),
        ("pg_freespacemap", "*", Primary),
        ("pg_prewarm", "*", Write),
        ("pg_visibility", "pg_truncate_visibility_map", Write),
        ("pg_visibility", "*", Primary),
        ("pgrowlocks", "*", Primary),
        ("pgstattuple", "*", Primary),
        ("pageinspect", "*", Primary),
        ("pg_walinspect", "*", Primary),
        ("pg_surgery", "*", Write),
        ("amcheck", "*", Primary),
        ("sslinfo", "*", Primary),
        ("adminpack", "*", Write),
        ("postgres_fdw", "postgres_fdw_get_connections", Primary),
    ]
};

/// What a function of an extension amounts to, if its declaration does not tell.
pub(crate) fn function(extension: &str, name: &str) -> Option<Verdict> {
    let matches = |pattern: &str| match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    };
    let found = FUNCTIONS.iter().find(|(of, pattern, _)| *of == extension && matches(pattern));
    found.map(|(.., verdict)| *verdict)
}
