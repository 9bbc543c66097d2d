//! The users file: pgweir's own users, for `scram-sha-256` and for the console.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pgweir_protocol::auth::ScramSecret;
use pgweir_protocol::auth::md5::is_md5_hash;
use serde_json::json;
use toml::de::DeValue;

use super::fields::Fields;
use super::problem::{Problem, Source};
use super::scope::{Scope, Step, World, kind};
use super::secret::Secret;
use super::sections::AuthMethod;
use super::spec::{Key, Section, Setting, Shape, Table, available, section};

/// The users of the users file, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Users(BTreeMap<String, User>);

impl Users {
    /// The user of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&User> {
        self.0.get(name)
    }

    /// Every user, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &User)> {
        self.0.iter().map(|(name, user)| (name.as_str(), user))
    }
}

/// One user of the users file.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// What the user has to know.
    pub secret: UserSecret,
    /// What the user may do on the console.
    pub admin: Admin,
}

/// What a user has to know.
#[derive(Clone, Debug, PartialEq)]
pub enum UserSecret {
    /// Nothing is known of it: the user cannot prove anything to pgweir itself.
    None,
    /// The password.
    Password(Secret),
    /// `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey` as in `pg_authid.rolpassword`.
    Scram(Secret),
    /// `md5` and 32 hexadecimal digits as in `pg_authid.rolpassword`.
    Md5(Secret),
}

/// What a user may do on the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admin {
    /// Nothing: `admin = false`.
    No,
    /// SHOW: `admin = "read-only"`.
    ReadOnly,
    /// Everything: `admin = true`.
    Full,
}

section! {
    /// One user.
    pub(super) struct Entry checked by check_entry {
        /// The user's name.
        name: String = String::new() => available().required().example("\"app\"");
        /// The password, or either secret below as pg_authid.rolpassword has it.
        password: Option<Secret> = None => available();
        /// A file that holds the password.
        password_file: Option<PathBuf> = None => available();
        /// A SCRAM secret: SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey.
        scram: Option<Secret> = None => available();
        /// An md5 hash: md5 and 32 hexadecimal digits.
        md5: Option<Secret> = None => available();
        /// Whether the console is open to the user: true | false | "read-only".
        admin: Admin = Admin::No => available();
    }
}

impl Setting for Admin {
    const SHAPE: Shape = Shape::Value {
        schema: || json!({ "enum": [true, false, "read-only"] }),
        words: Vec::new,
        is_optional: false,
    };

    fn overlay(&mut self, value: &DeValue<'_>, scope: &mut Scope<'_>) -> bool {
        *self = match value {
            DeValue::Boolean(true) => Self::Full,
            DeValue::Boolean(false) => Self::No,
            DeValue::String(word) if word == "read-only" => Self::ReadOnly,
            other => {
                let suggestion = "true, false or \"read-only\"".to_owned();
                scope.report(format!("{} says nothing here", kind(other)), Some(suggestion));
                return false;
            }
        };
        true
    }

    fn toml(&self) -> String {
        match self {
            Self::No => "false".to_owned(),
            Self::ReadOnly => "\"read-only\"".to_owned(),
            Self::Full => "true".to_owned(),
        }
    }
}

const USER: &str = "user";

static FILE: Table = Table {
    about: &[" pgweir's own users."],
    keys: &[Key {
        name: USER,
        why: Entry::TABLE.about,
        facts: available(),
        shape: Shape::Table(Entry::TABLE),
        default: String::new,
    }],
};

/// Reads the users file; its problems carry its own name.
pub(crate) fn read(
    file: &Path,
    text: &str,
    world: World<'_>,
    method: AuthMethod,
) -> (Users, Vec<Problem>) {
    let source = Source::new(file, text);
    let (mut scope, tree) = Scope::parse(&source, text, world);
    let fields = Fields::new(tree.get_ref(), &FILE);
    fields.report_unknown(&mut scope);
    let mut users = Users::default();
    if let Some(value) = fields.get(USER) {
        scope.enter(Step::Key(USER), value.span(), |scope| match value.get_ref() {
            DeValue::Array(entries) => {
                for (at, entry) in entries.iter().enumerate() {
                    scope.enter(Step::Element(at), entry.span(), |scope| {
                        read_entry(entry.get_ref(), method, &mut users, scope);
                    });
                }
            }
            other => {
                let suggestion = "begin each user with [[user]]".to_owned();
                scope.report(format!("expected a list, got {}", kind(other)), Some(suggestion));
            }
        });
    }
    (users, scope.into_problems())
}

fn read_entry(value: &DeValue<'_>, method: AuthMethod, users: &mut Users, scope: &mut Scope<'_>) {
    scope.table(value, Entry::TABLE, |fields, scope| {
        let mut entry = Entry::default();
        if !entry.overlay_table(fields, scope) {
            return false;
        }
        let name = entry.name.clone();
        let user = entry.into_user();
        if user.secret == UserSecret::None && method == AuthMethod::ScramSha256 {
            let suggestion = "auth.method \"scram-sha-256\" needs password, scram or md5";
            fields.report("password", scope, "missing", suggestion);
        }
        if users.0.insert(name.clone(), user).is_some() {
            fields.report("name", scope, format!("{name:?} is there twice"), "leave one out");
        }
        true
    });
}

fn is_scram(secret: &Secret) -> bool {
    ScramSecret::parse(secret.expose()).is_ok()
}

fn is_md5(secret: &Secret) -> bool {
    is_md5_hash(secret.expose())
}

impl Entry {
    fn into_user(self) -> User {
        let secret = match (self.password, self.scram, self.md5) {
            (Some(secret), ..) if is_scram(&secret) => UserSecret::Scram(secret),
            (Some(secret), ..) if is_md5(&secret) => UserSecret::Md5(secret),
            (Some(secret), ..) => UserSecret::Password(secret),
            (None, Some(secret), _) => UserSecret::Scram(secret),
            (None, None, Some(secret)) => UserSecret::Md5(secret),
            (None, None, None) => UserSecret::None,
        };
        User { secret, admin: self.admin }
    }
}

fn check_entry(entry: &mut Entry, fields: &Fields<'_, '_>, scope: &mut Scope<'_>) {
    if entry.name.is_empty() && scope.is_sure("name") {
        fields.report("name", scope, "it is empty", "for example name = \"app\"");
    }
    entry.password = fields.password(entry.password.take(), entry.password_file.as_deref(), scope);
    let given = [&entry.password, &entry.scram, &entry.md5];
    if given.iter().filter(|secret| secret.is_some()).count() > 1 {
        let message = "more than one of password, scram and md5";
        fields.report("name", scope, message, "leave all but one out");
    }
    if entry.scram.as_ref().is_some_and(|secret| !is_scram(secret)) {
        let suggestion =
            "SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey, as in pg_authid.rolpassword";
        fields.report("scram", scope, "the value is not a SCRAM secret", suggestion);
    }
    if entry.md5.as_ref().is_some_and(|secret| !is_md5(secret)) {
        let suggestion = "md5 and 32 hexadecimal digits, as in pg_authid.rolpassword";
        fields.report("md5", scope, "the value is not an md5 hash", suggestion);
    }
}
