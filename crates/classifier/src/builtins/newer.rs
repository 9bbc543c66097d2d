//! Harmless functions that versions after the tables' own have brought, by the release notes and the
//! chapter "Functions and Operators" of each version's manual. To older servers such a name is a
//! user's function, so each counts from its version on; sorted by name. `pg_input_is_valid` and its like are
//! not among them: they run what checks the values of a type that is given as text.

/// Names and the first major version that has them.
#[rustfmt::skip]
pub(super) static NEWER: &[(&str, u16)] = &[
    ("any_value", 16), ("array_reverse", 18), ("array_sample", 16), ("array_shuffle", 16),
    ("array_sort", 18), ("casefold", 18), ("crc32", 18), ("crc32c", 18), ("date_add", 16),
    ("date_subtract", 16), ("erf", 16), ("erfc", 16), ("gamma", 18),
    ("has_largeobject_privilege", 18), ("icu_unicode_version", 17),
    ("json_array", 16), ("json_arrayagg", 16), ("json_exists", 17), ("json_objectagg", 16),
    ("json_query", 17), ("json_scalar", 17), ("json_serialize", 17), ("json_table", 17),
    ("json_value", 17), ("lgamma", 18), ("pg_basetype", 17), ("pg_get_acl", 18),
    ("random_normal", 16), ("system_user", 16), ("to_bin", 17), ("to_oct", 17), ("to_regtypemod", 17),
    ("unicode_assigned", 17), ("unicode_version", 17), ("uuid_extract_timestamp", 17),
    ("uuid_extract_version", 17), ("uuidv4", 18), ("uuidv7", 18), ("xmltext", 17),
];
