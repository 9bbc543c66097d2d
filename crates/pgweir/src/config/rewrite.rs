//! Addresses that a cluster gives its own nodes, and those under which pgweir reaches them.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use toml::de::DeValue;

use super::address::{Address, AddressError};
use super::scope::{Scope, key_text};
use super::spec::{Setting, Shape};
use super::value::{read_entries, read_string};

/// By the address that the cluster advertises, that address and the one to be used instead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrite(BTreeMap<String, (Address, Address)>);

impl Rewrite {
    /// What is advertised, and what is to be used instead.
    pub fn iter(&self) -> impl Iterator<Item = (&Address, &Address)> {
        self.0.values().map(|(advertised, used)| (advertised, used))
    }

    fn schema() -> Json {
        json!({ "type": "object", "additionalProperties": { "type": "string" } })
    }
}

/// An address with a port that a node can have.
fn read_address(text: &str, scope: &mut Scope<'_>) -> Option<Address> {
    let read = Address::parse(text, None).and_then(|address| match address.port {
        0 => Err(AddressError::Port),
        _ => Ok(address),
    });
    match read {
        Ok(address) => Some(address),
        Err(error) => {
            let complaint = error.into_complaint();
            scope.report(format!("{text:?} {}", complaint.message), Some(complaint.suggestion));
            None
        }
    }
}

impl Setting for Rewrite {
    const SHAPE: Shape = Shape::Value { schema: Self::schema, words: Vec::new, is_optional: false };

    fn overlay(&mut self, value: &DeValue<'_>, scope: &mut Scope<'_>) -> bool {
        let example = "{ \"worker-1:5432\" = \"127.0.0.1:5433\" }";
        let read = read_entries(value, example, scope, |advertised, value, scope| {
            let advertised = read_address(advertised, scope)?;
            let text = read_string("an address", value, scope)?;
            Some((advertised.to_string(), (advertised, read_address(&text, scope)?)))
        });
        read.map(|read| self.0 = read).is_some()
    }

    fn toml(&self) -> String {
        if self.0.is_empty() {
            return "{}".to_owned();
        }
        let pairs: Vec<String> = self
            .iter()
            .map(|(from, to)| format!("{} = \"{to}\"", key_text(&from.to_string())))
            .collect();
        format!("{{ {} }}", pairs.join(", "))
    }
}
