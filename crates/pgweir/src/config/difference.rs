//! What differs between two configurations, key by key, for people. Secrets stay masked.

use std::collections::BTreeMap;
use std::fmt;

use super::scope::key_text;
use super::{Config, MASK, UserSecret};

/// One key that has another value by now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The dotted key.
    pub key: String,
    /// The value before, as TOML; none where the key is new.
    pub was: Option<String>,
    /// The value now, as TOML; none where the key is gone.
    pub is: Option<String>,
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
        write!(f, "{}: {} -> {}", self.key, show(&self.was), show(&self.is))
    }
}

impl Config {
    /// What is different in another configuration.
    #[must_use]
    pub fn changes_to(&self, other: &Self) -> Vec<Changed> {
        let (before, after) = (self.values(), other.values());
        let mut changes: Vec<Changed> = Vec::new();
        for (key, value) in &after {
            let was = before.get(key);
            if was != Some(value) {
                let was = was.map(|was| was.shown.clone());
                changes.push(Changed { key: key.clone(), was, is: Some(value.shown.clone()) });
            }
        }
        for (key, value) in &before {
            if !after.contains_key(key) {
                let was = Some(value.shown.clone());
                changes.push(Changed { key: key.clone(), was, is: None });
            }
        }
        changes
    }

    /// Every key with its value, and what is behind a mask.
    fn values(&self) -> BTreeMap<String, Shown> {
        let plain = |shown: String| Shown { shown, hidden: None };
        let listed = self.list().into_iter();
        let mut values: BTreeMap<String, Shown> =
            listed.map(|listed| (listed.key, plain(listed.value))).collect();
        for (name, cluster) in &self.clusters {
            let key = format!("clusters.{}.monitor.password", key_text(name));
            let secret = cluster.monitor.password.as_ref().map(|secret| secret.expose().to_owned());
            if let Some(value) = values.get_mut(&key) {
                value.hidden = secret;
            }
            // Nodes are listed by their addresses: what else is said of them counts as well.
            let key = format!("clusters.{}.nodes", key_text(name));
            if let Some(value) = values.get_mut(&key) {
                value.shown = nodes_text(&cluster.nodes);
            }
        }
        for (name, user) in self.users.iter() {
            let key = format!("users.{}", key_text(name));
            let admin = match user.admin {
                super::Admin::No => "",
                super::Admin::ReadOnly => ", admin = \"read-only\"",
                super::Admin::Full => ", admin = true",
            };
            let (kind, secret) = match &user.secret {
                UserSecret::None => ("none", None),
                UserSecret::Password(secret) => ("password", Some(secret)),
                UserSecret::Scram(secret) => ("scram", Some(secret)),
                UserSecret::Md5(secret) => ("md5", Some(secret)),
            };
            let mask = if secret.is_some() { format!(" = \"{MASK}\"") } else { String::new() };
            let shown = format!("{{ {kind}{mask}{admin} }}");
            let hidden = secret.map(|secret| secret.expose().to_owned());
            values.insert(key, Shown { shown, hidden });
        }
        values
    }
}

/// A value as it may be shown, and the secret behind it.
#[derive(PartialEq)]
struct Shown {
    shown: String,
    hidden: Option<String>,
}

fn nodes_text(nodes: &[super::Node]) -> String {
    let node = |node: &super::Node| {
        let mut text = format!("\"{}\"", node.address());
        let usual = super::Node::default();
        let mut more = String::new();
        if node.weight != usual.weight {
            more.push_str(&format!(", weight = {}", node.weight));
        }
        if node.role != usual.role {
            more.push_str(&format!(", role = \"{}\"", node.role));
        }
        if !more.is_empty() {
            let (host, port) = (&node.host, node.port);
            text = format!("{{ host = {host:?}, port = {port}{more} }}");
        }
        text
    };
    let nodes: Vec<String> = nodes.iter().map(node).collect();
    format!("[{}]", nodes.join(", "))
}
