//! The cache in front of the parser.
//!
//! A text is looked up twice: first by its exact bytes, where prepared and parameterised texts are
//! found within some ten nanoseconds, then by its normalised form, which all texts share that differ
//! in literals, comments and white space. Both levels store the text and compare it on a hit; no hash
//! is trusted. A key also holds the session's options and a generation, a number that the caller
//! raises whenever the catalog or the configuration changes, so that old entries are never found and
//! age out. Memory is bounded in bytes and in entries. Locks are sharded and held for a lookup only.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::Equivalent;
use quick_cache::sync::Cache;

use crate::classify::classify_scanned;
use crate::label::Sharing;
use crate::{Catalog, Hint, Label, Options, StatementLabel, classify, lex};

/// Texts longer than this are labelled afresh each time, in bytes.
pub const MAX_CACHED_TEXT_BYTES: usize = 64 << 10;

/// What an entry weighs besides its text, in bytes: the key, the label, the tables' own share.
const ENTRY_OVERHEAD_BYTES: usize = 256;

/// The expected weight of an entry, in bytes; sizes the tables.
const TYPICAL_ENTRY_BYTES: usize = 512;

/// How often the cache was asked and how often it knew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheCounters {
    /// Found by exact bytes.
    pub exact_hits: u64,
    /// Found by normalised form.
    pub normalised_hits: u64,
    /// Parsed.
    pub misses: u64,
}

/// A bounded cache of what texts amount to. `V` is whatever the caller makes of a label.
#[derive(Debug)]
pub struct LabelCache<V = Label> {
    exact: Cache<Key, Entry<V>, Weighter>,
    normalised: Cache<Key, Entry<V>, Weighter>,
    exact_hits: AtomicU64,
    normalised_hits: AtomicU64,
    misses: AtomicU64,
}

/// Everything the label of a text depends on, besides the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Circumstances {
    generation: u64,
    standard_conforming_strings: bool,
    /// Part of a normalised key, because the comment itself is not.
    hint: Option<Hint>,
}

/// A key that owns its text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    circumstances: Circumstances,
    text: Box<[u8]>,
}

/// A key to look with.
struct Probe<'a> {
    circumstances: Circumstances,
    text: &'a [u8],
}

#[derive(Debug)]
struct Entry<V> {
    value: Arc<V>,
    weight: u64,
}

impl<V> Clone for Entry<V> {
    fn clone(&self) -> Self {
        Self { value: Arc::clone(&self.value), weight: self.weight }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Probe { circumstances: self.circumstances, text: &self.text }.hash(state);
    }
}

impl Hash for Probe<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.circumstances.hash(state);
        self.text.hash(state);
    }
}

impl Equivalent<Key> for Probe<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.circumstances == key.circumstances && self.text == &*key.text
    }
}

#[derive(Debug, Clone)]
struct Weighter;

impl<V> quick_cache::Weighter<Key, Entry<V>> for Weighter {
    fn weight(&self, _key: &Key, entry: &Entry<V>) -> u64 {
        entry.weight
    }
}

impl<V> LabelCache<V> {
    /// A cache that holds about this many bytes, half of them for each level.
    #[must_use]
    pub fn new(capacity_bytes: usize) -> Self {
        let level = || {
            let bytes = (capacity_bytes / 2).max(ENTRY_OVERHEAD_BYTES);
            Cache::with_weighter(bytes / TYPICAL_ENTRY_BYTES + 1, bytes as u64, Weighter)
        };
        Self {
            exact: level(),
            normalised: level(),
            exact_hits: AtomicU64::new(0),
            normalised_hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// What a text amounts to, made anew only if neither level knows it.
    ///
    /// `make` may keep whatever it likes of the label: positions in the text are missing from it
    /// whenever other texts will share the result.
    pub fn get_or_insert_with(
        &self,
        sql: &[u8],
        options: Options,
        generation: u64,
        catalog: &Catalog,
        make: impl FnOnce(Label) -> V,
    ) -> Arc<V> {
        if !options.client_encoding_safe || sql.len() > MAX_CACHED_TEXT_BYTES {
            self.misses.fetch_add(1, Ordering::Relaxed);
            return Arc::new(make(classify(sql, options, catalog)));
        }
        let mut circumstances = Circumstances {
            generation,
            standard_conforming_strings: options.standard_conforming_strings,
            hint: None,
        };
        if let Some(entry) = self.exact.get(&Probe { circumstances, text: sql }) {
            self.exact_hits.fetch_add(1, Ordering::Relaxed);
            return entry.value;
        }
        let Ok(scan) = lex::scan(sql, options.standard_conforming_strings) else {
            self.misses.fetch_add(1, Ordering::Relaxed);
            return Arc::new(make(classify(sql, options, catalog)));
        };
        let exact = circumstances;
        circumstances.hint = scan.hint;
        if let Some(entry) = self.normalised.get(&Probe { circumstances, text: &scan.normalised }) {
            self.normalised_hits.fetch_add(1, Ordering::Relaxed);
            if !scan.has_literals {
                self.exact.insert(Key { circumstances: exact, text: sql.into() }, entry.clone());
            }
            return entry.value;
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        let label = classify_scanned(sql, &scan, options, catalog);
        let weight = weight::<V>(sql, &label);
        match label.sharing {
            Sharing::Exact => {
                let entry = Entry { value: Arc::new(make(label)), weight };
                self.exact.insert(Key { circumstances: exact, text: sql.into() }, entry.clone());
                entry.value
            }
            Sharing::Normalised => {
                let entry = Entry { value: Arc::new(make(label.without_spans())), weight };
                let text = scan.normalised.into_boxed_slice();
                self.normalised.insert(Key { circumstances, text }, entry.clone());
                if !scan.has_literals {
                    self.exact
                        .insert(Key { circumstances: exact, text: sql.into() }, entry.clone());
                }
                entry.value
            }
        }
    }

    /// How often the cache was asked so far, and how often it knew.
    #[must_use]
    pub fn counters(&self) -> CacheCounters {
        CacheCounters {
            exact_hits: self.exact_hits.load(Ordering::Relaxed),
            normalised_hits: self.normalised_hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
        }
    }

    /// Entries in both levels.
    #[must_use]
    pub fn len(&self) -> usize {
        self.exact.len() + self.normalised.len()
    }

    /// True if nothing has been cached.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What an entry weighs, in bytes, as far as can be seen from here.
fn weight<V>(sql: &[u8], label: &Label) -> u64 {
    let statements = label.statements.len() * size_of::<StatementLabel>();
    (sql.len() + statements + size_of::<V>() + ENTRY_OVERHEAD_BYTES) as u64
}
