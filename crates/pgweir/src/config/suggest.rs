//! What the operator may have meant.

use super::reference::ROOT;
use super::spec::{Shape, Table, Word};
use super::value::usable;

/// Texts longer than this are not compared: nobody mistypes that much, in characters.
const MAX_COMPARED: usize = 40;

/// How many places a key is suggested in.
const MAX_PLACES: usize = 3;

/// Where other poolers' names live here. A name that this file also uses does not belong here.
const FOREIGN: &[(&str, &str)] = &[
    ("admin_users", "auth.users_file"),
    ("auth_file", "auth.users_file"),
    ("auth_query", "auth.query"),
    ("auth_type", "auth.method"),
    ("auth_user", "auth.query_user"),
    ("client_tls_cert_file", "listen.tls.cert_file"),
    ("client_tls_key_file", "listen.tls.key_file"),
    ("client_tls_sslmode", "listen.tls.mode"),
    ("default_pool_size", "pool.size"),
    ("listen_addr", "listen.address"),
    ("listen_addresses", "listen.address"),
    ("listen_port", "listen.address"),
    ("load_balancing_strategy", "routing.balance"),
    ("log_connections", "log.connections"),
    ("max_client_conn", "listen.max_clients"),
    ("max_db_connections", "clusters.NAME.max_connections"),
    ("max_prepared_statements", "pool.prepared_statements"),
    ("min_pool_size", "pool.min_idle"),
    ("pool_mode", "pool.mode"),
    ("pool_size", "pool.size"),
    ("query_wait_timeout", "pool.checkout_timeout"),
    ("server_connect_timeout", "pool.connect_timeout"),
    ("server_idle_timeout", "pool.idle_timeout"),
    ("server_lifetime", "pool.max_lifetime"),
    ("server_tls_ca_file", "clusters.NAME.tls.ca_file"),
    ("server_tls_sslmode", "clusters.NAME.tls.mode"),
    ("stats_users", "auth.users_file"),
];

/// For an unknown key of a section: another pooler's word, the right place, the right spelling, or
/// every key there is.
pub(crate) fn for_key(name: &str, section: &'static Table) -> Option<String> {
    let foreign = FOREIGN.iter().find(|(other, _)| *other == name);
    if let Some((_, ours)) = foreign {
        return Some(format!("here it is {ours}"));
    }
    let mut places = Vec::new();
    find_places(name, &ROOT, "", &mut places);
    places.truncate(MAX_PLACES);
    if !places.is_empty() {
        return Some(format!("did you mean {}?", places.join(" or ")));
    }
    let known = section.keys.iter().map(|key| key.name);
    if let Some(near) = nearest(name, known.clone()) {
        return Some(format!("did you mean {near}?"));
    }
    let known: Vec<&str> = known.collect();
    Some(format!("the keys here are {}", known.join(", ")))
}

/// Every path that ends in the name. Sections that only override others are left out.
fn find_places(name: &str, table: &'static Table, path: &str, places: &mut Vec<String>) {
    for key in table.keys {
        let here =
            if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
        if key.name == name {
            places.push(here.clone());
        }
        match &key.shape {
            Shape::Table(_) if key.facts.overrides.is_some() => {}
            Shape::Table(inner) => find_places(name, inner, &here, places),
            Shape::Named { table, .. } => find_places(name, table, &format!("{here}.NAME"), places),
            Shape::Value { .. } | Shape::Reserved => {}
        }
    }
}

/// For a value that is none of a few words: the nearest, or all that work.
pub(crate) fn for_word(text: &str, words: &[Word]) -> String {
    match nearest(&text.to_lowercase(), usable(words)) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("one of {}", either(usable(words))),
    }
}

/// For a name that does not exist among the operator's own.
pub(crate) fn for_name<'a>(name: &str, names: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(name, names.clone()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("there is {}", either(names)),
    }
}

/// `"a", "b" or "c"`.
pub(crate) fn either<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.map(|word| format!("\"{word}\"")).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => "none".to_owned(),
    }
}

/// The candidate that takes the fewest changes, if those are few for its length.
fn nearest<'a>(text: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let text: Vec<char> = text.chars().collect();
    if text.is_empty() || text.len() > MAX_COMPARED {
        return None;
    }
    candidates
        .map(|candidate| {
            let characters: Vec<char> = candidate.chars().collect();
            let allowed = (characters.len().max(text.len()) / 3).max(1);
            (distance(&text, &characters), allowed, candidate)
        })
        .filter(|(distance, allowed, _)| distance <= allowed)
        .min_by_key(|(distance, ..)| *distance)
        .map(|(.., candidate)| candidate)
}

/// How many insertions, deletions, replacements and swaps of neighbours turn one text into the other
/// (optimal string alignment).
fn distance(from: &[char], to: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (row, a) in from.iter().enumerate() {
        let mut current = Vec::with_capacity(above.len());
        let mut left = row + 1;
        current.push(left);
        for (column, b) in to.iter().enumerate() {
            let at = |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX);
            let replaced = at(&above, column) + usize::from(a != b);
            let mut best = replaced.min(left + 1).min(at(&above, column + 1) + 1);
            let is_swap = row > 0
                && column > 0
                && to.get(column - 1) == Some(a)
                && from.get(row - 1) == Some(b);
            if is_swap {
                best = best.min(at(&before, column - 1) + 1);
            }
            current.push(best);
            left = best;
        }
        before = std::mem::replace(&mut above, current);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        let rows = [
            ("", "", 0),
            ("size", "size", 0),
            ("sise", "size", 1),
            ("szie", "size", 1),
            ("siz", "size", 1),
            ("sizes", "size", 1),
            ("", "size", 4),
            ("mode", "size", 3),
            ("adress", "address", 1),
        ];
        for (from, to, expected) in rows {
            let (a, b): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
            assert_eq!(distance(&a, &b), expected, "{from} to {to}");
            assert_eq!(distance(&b, &a), expected, "{to} to {from}");
        }
    }

    #[test]
    fn other_poolers_names_lead_to_keys_that_exist() {
        for (foreign, ours) in FOREIGN {
            let mut places = Vec::new();
            let last = ours.rsplit('.').next().unwrap();
            find_places(last, &ROOT, "", &mut places);
            assert!(places.iter().any(|place| place == ours), "{foreign} leads to {ours}");
            let mut taken = Vec::new();
            find_places(foreign, &ROOT, "", &mut taken);
            assert_eq!(taken, [""; 0], "{foreign} is a key of pgweir's own");
        }
    }
}
