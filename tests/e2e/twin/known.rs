//! Cases that pgweir answers in another way than PostgreSQL: a case's name, and why.

/// Deviations that are to go. One that is gone fails until it is taken off this list.
pub(crate) const KNOWN: &[(&str, &str)] = &[
    ("RESET of a startup parameter in the middle of a pipeline", RESET),
    ("RESET of a startup parameter in a transaction", RESET),
    ("options at the startup", RESET),
    ("names that need quoting, long ones, ones in another script", LONG),
    ("bytes that are no text", "a statement's name is not looked at for what is no text"),
    ("a malformed message in the middle of a pipeline", UNFINISHED),
    ("a malformed message in the middle of a COPY", UNFINISHED),
    ("COPY IN and Terminate in the middle", UNFINISHED),
    ("Terminate behind an error without its Sync", UNFINISHED),
    ("a malformed message while the rest of a pipeline is skipped", UNFINISHED),
    ("a Sync with a body", "bytes in a Sync are dropped"),
    ("a Flush with a body", "bytes in a Flush are dropped"),
    ("a Parse that is skipped leaves the unnamed statement as it was", UNNAMED),
];

/// Deviations that show on some server connections and not on others.
pub(crate) const BY_CHANCE: &[(&str, &str)] = &[
    ("a statement whose table gets a column", PLAN),
    ("a statement whose table is gone", PLAN),
    ("a statement whose column changes its type", PLAN),
    ("a statement under another search_path", PLAN),
];

const PLAN: &str = "a server that prepares a statement anew after DDL judges it as new, and tells \
     nothing of its parameters before it fails";
const RESET: &str = "the server resets to its own default, not to the client's startup parameter";
const UNFINISHED: &str = "answers that no Sync asked for are not fetched for one who breaks off";
const UNNAMED: &str = "of an unnamed statement that a skipped Parse has replaced no copy is kept";
const LONG: &str = "names of more than 63 bytes are not cut as the server cuts them";

/// Answers that are pgweir's own by contract. The messages before the first error and its SQLSTATE
/// have to be PostgreSQL's all the same, and where PostgreSQL hangs up so must pgweir.
pub(crate) const OWN: &[(&str, &str)] = &[
    ("bytes after a Query's zero", MALFORMED),
    ("two zeros at the end of a Query", MALFORMED),
    ("a Query without its zero", MALFORMED),
    ("a Query with nothing in it", MALFORMED),
    ("bytes behind a Parse, Bind, Describe, Execute, Close", MALFORMED),
    ("bodies that end too early", MALFORMED),
    ("a function call that ends too early", MALFORMED),
    ("a message of no known type", MALFORMED),
    ("a tag of zero", MALFORMED),
    ("a length that does not count itself", MALFORMED),
    ("a length of zero", MALFORMED),
    ("a negative length", MALFORMED),
    ("a length beyond anything", MALFORMED),
    ("a small message that claims to be large", MALFORMED),
    ("a malformed message in a transaction", MALFORMED),
    ("a malformed message behind good ones", MALFORMED),
    ("a password where none is asked for", MALFORMED),
];

const MALFORMED: &str = "what cannot be understood ends the connection, in pgweir's words";
