//! `[firewall]`

use pgweir_classifier::Fingerprint;
use serde_json::{Value as Json, json};
use toml::de::DeValue;

use crate::config::scope::Scope;
use crate::config::spec::{available, section};
use crate::config::value::{Element, read_string};

section! {
    /// Statements that are refused.
    pub struct Firewall {
        /// Fingerprints, or SQL with placeholders; matched after normalising literals.
        block: Vec<BlockedStatement> = Vec::new() => available();
    }
}

/// A statement that no server is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockedStatement {
    /// As it is in the file.
    pub text: String,
    /// By which it is known.
    pub fingerprint: Fingerprint,
}

impl Element for BlockedStatement {
    fn read(value: &DeValue<'_>, scope: &mut Scope<'_>) -> Option<Self> {
        let text = read_string("a statement", value, scope)?;
        match Fingerprint::parse(&text) {
            Ok(fingerprint) => Some(Self { text, fingerprint }),
            Err(why) => {
                let suggestion = "write one SQL statement with $1 or ? for its literals, or the \
                                  fingerprint of 16 digits that `pgweir route --json` prints";
                scope.report(format!("not a statement: {why}"), Some(suggestion.to_owned()));
                None
            }
        }
    }

    fn toml(&self) -> String {
        toml::Value::from(self.text.as_str()).to_string()
    }

    fn schema() -> Json {
        json!({ "type": "string" })
    }
}
