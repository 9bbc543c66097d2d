//! The files that a configuration names, in a directory of their own.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::shown;
use crate::config::{Admin, Config, UserSecret};

/// A file's name and content.
type File<'a> = (&'a str, &'a [u8]);

/// A directory that is removed with its content.
struct Directory(PathBuf);

impl Directory {
    fn with(files: &[File<'_>]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("pgweir-config-{}-{number}", std::process::id());
        let directory = Self(std::env::temp_dir().join(name));
        fs::create_dir_all(&directory.0).unwrap();
        for (name, content) in files {
            fs::write(directory.0.join(name), content).unwrap();
        }
        directory
    }

    fn load(&self) -> Result<Config, String> {
        let problems = |problems: Vec<_>| shown(&problems).replace(&self.root(), "");
        Config::load(&self.0.join("f.toml")).map_err(problems)
    }

    fn root(&self) -> String {
        format!("{}/", self.0.display())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const SCRAM: &str = "SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2FsdA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const MD5: &str = "md5d41d8cd98f00b204e9800998ecf8427e";

const WITH_USERS: &[u8] =
    b"auth = { method = \"scram-sha-256\", users_file = \"u.toml\" }\nclusters.main.nodes = \"a\"\n";

#[test]
fn users_bring_a_password_a_scram_secret_or_an_md5_hash() {
    let users = format!(
        "[[user]]\nname = \"plain\"\npassword = \"hunter2\"\n\
         [[user]]\nname = \"file\"\npassword_file = \"p\"\nadmin = true\n\
         [[user]]\nname = \"scram\"\nscram = \"{SCRAM}\"\nadmin = \"read-only\"\n\
         [[user]]\nname = \"md5\"\nmd5 = \"{MD5}\"\nadmin = false\n\
         [[user]]\nname = \"scram as a password\"\npassword = \"{SCRAM}\"\n\
         [[user]]\nname = \"md5 as a password\"\npassword = \"{MD5}\"\n"
    );
    let files = [("f.toml", WITH_USERS), ("u.toml", users.as_bytes()), ("p", b" secret \r\n")];
    let config = Directory::with(&files).load().unwrap();
    let told: Vec<String> = config
        .users
        .iter()
        .map(|(name, user)| {
            let (kind, secret) = match &user.secret {
                UserSecret::None => ("none", ""),
                UserSecret::Password(secret) => ("password", secret.expose()),
                UserSecret::Scram(secret) => ("scram", secret.expose()),
                UserSecret::Md5(secret) => ("md5", secret.expose()),
            };
            format!("{name}: {kind} {secret} {:?}", user.admin)
        })
        .collect();
    assert_eq!(
        told,
        [
            "file: password  secret  Full".to_owned(),
            format!("md5: md5 {MD5} No"),
            format!("md5 as a password: md5 {MD5} No"),
            "plain: password hunter2 No".to_owned(),
            format!("scram: scram {SCRAM} ReadOnly"),
            format!("scram as a password: scram {SCRAM} No"),
        ]
    );
    assert_eq!(config.users.get("file").unwrap().admin, Admin::Full);
    assert!(config.users.get("nobody").is_none());
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_user_without_a_secret_is_an_administrator_where_the_server_checks_passwords() {
    let main = b"auth.users_file = \"u.toml\"\nclusters.main.nodes = \"a\"\n";
    let files =
        [("f.toml", main.as_slice()), ("u.toml", b"[[user]]\nname = \"a\"\nadmin = true\n")];
    let config = Directory::with(&files).load().unwrap();
    assert_eq!(config.users.get("a").unwrap().secret, UserSecret::None);
}

#[test]
fn problems_of_the_users_file_carry_its_name() {
    let rows: [(&str, &str); 10] = [
        (
            "[[user]]\nname = \"a\"\n",
            "u.toml:1:1: user[0].password: missing (auth.method \"scram-sha-256\" needs password, scram or md5)\n",
        ),
        (
            "[[user]]\npassword = \"a\"\n",
            "u.toml:1:1: user[0].name: missing (for example name = \"app\")\n",
        ),
        (
            "[[user]]\nname = \"\"\npassword = \"a\"\n",
            "u.toml:2:8: user[0].name: it is empty (for example name = \"app\")\n",
        ),
        ("[[usr]]\n", "u.toml:1:3: usr: unknown key (did you mean user?)\n"),
        (
            "[user]\n",
            "u.toml:1:1: user: expected a list, got a table (begin each user with [[user]])\n",
        ),
        (
            "[[user]]\nname = \"a\"\npassword = \"a\"\n[[user]]\nname = \"a\"\npassword = \"b\"\n",
            "u.toml:5:8: user[1].name: \"a\" is there twice (leave one out)\n",
        ),
        (
            "[[user]]\nname = \"a\"\npassword = \"a\"\nmd5 = \"md5x\"\nscram = \"hunter2\"\nadmin = \"yes\"\n",
            "u.toml:2:8: user[0].name: more than one of password, scram and md5 (leave all but one out)\n\
             u.toml:4:7: user[0].md5: the value is not an md5 hash (md5 and 32 hexadecimal digits, as in pg_authid.rolpassword)\n\
             u.toml:5:9: user[0].scram: the value is not a SCRAM secret (SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey, as in pg_authid.rolpassword)\n\
             u.toml:6:9: user[0].admin: a string says nothing here (true, false or \"read-only\")\n",
        ),
        (
            "[[user]]\nname = \"a\"\npassword = \"a\"\npassword_file = \"p\"\n",
            "u.toml:4:17: user[0].password_file: there is a password as well (leave one of them out)\n",
        ),
        (
            "[[user]]\nname = \"a\"\npassword_file = \"two\"\n",
            "u.toml:3:17: user[0].password_file: two does not hold one password (one line, nothing else)\n",
        ),
        ("[[user]\nname = \"a\"\n", "u.toml:1:8: unclosed array table, expected `]`\n"),
    ];
    for (users, expected) in rows {
        let files =
            [("f.toml", WITH_USERS), ("u.toml", users.as_bytes()), ("p", b"p"), ("two", b"a\nb\n")];
        let problems = Directory::with(&files).load().expect_err(users);
        assert_eq!(problems, expected, "\n{users}");
    }
}

#[test]
fn scram_secrets_have_four_parts_of_the_right_length() {
    let rows = [
        (SCRAM.to_owned(), true),
        (SCRAM.replace("4096", "0"), false),
        (SCRAM.replace("4096", "x"), false),
        (SCRAM.replace("SHA-256", "SHA-1"), false),
        (SCRAM.replacen("AAAA", "", 1), false),
        (SCRAM.replacen("AAAA", "A*AA", 1), false),
        (SCRAM.trim_end_matches('=').to_owned(), false),
    ];
    for (secret, is_right) in rows {
        let users = format!("[[user]]\nname = \"a\"\nscram = \"{secret}\"\n");
        let files = [("f.toml", WITH_USERS), ("u.toml", users.as_bytes())];
        assert_eq!(Directory::with(&files).load().is_ok(), is_right, "{secret}");
    }
}

#[test]
fn files_that_cannot_be_read() {
    let cluster = "clusters.main.nodes = \"a\"\n";
    let rows = [
        (
            "auth.users_file = \"no\"\n",
            "f.toml:1:19: auth.users_file: cannot read no: No such file or directory (os error 2) (a relative path starts at the configuration file)\n",
        ),
        ("auth.users_file = \"binary\"\n", "binary:2:2: not UTF-8 (save it as UTF-8)\n"),
        (
            "clusters.main.monitor.password_file = \"no\"\n",
            "f.toml:1:39: clusters.main.monitor.password_file: cannot read no: No such file or directory (os error 2) (a relative path starts at the configuration file)\n",
        ),
        (
            "clusters.main.monitor.password_file = \"empty\"\n",
            "f.toml:1:39: clusters.main.monitor.password_file: empty does not hold one password (one line, nothing else)\n",
        ),
        (
            "clusters.main.monitor.password_file = \"long\"\n",
            "f.toml:1:39: clusters.main.monitor.password_file: cannot read long: it is longer than 4096 bytes (a relative path starts at the configuration file)\n",
        ),
        (
            "listen.tls = { mode = \"allow\", cert_file = \"p\", key_file = \"no\" }\n",
            "f.toml:1:60: listen.tls.key_file: cannot read no: No such file or directory (os error 2) (a relative path starts at the configuration file)\n",
        ),
        (
            "clusters.main.tls = { mode = \"verify-ca\", ca_file = \"no\" }\n",
            "f.toml:1:53: clusters.main.tls.ca_file: cannot read no: No such file or directory (os error 2) (a relative path starts at the configuration file)\n",
        ),
    ];
    for (text, expected) in rows {
        let main = format!("{text}{cluster}");
        let long = [b'x'; 5000];
        let files: [File<'_>; 5] = [
            ("f.toml", main.as_bytes()),
            ("p", b"p"),
            ("empty", b"\n"),
            ("long", &long),
            ("binary", b"a = 1\n#\xff\n"),
        ];
        assert_eq!(Directory::with(&files).load().expect_err(text), expected, "\n{main}");
    }
}

#[test]
fn a_relative_path_starts_at_the_file() {
    let main = b"listen.tls = { mode = \"require\", cert_file = \"c\", key_file = \"k\" }\n\
        clusters.main.nodes = \"a\"\nclusters.main.monitor.password_file = \"p\"\n";
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
    let directory = Directory::with(&[
        ("f.toml", main),
        ("c", certificate.as_bytes()),
        ("k", key.as_bytes()),
        ("p", b"hunter2\n"),
    ]);
    let config = directory.load().unwrap();
    assert_eq!(config.listen.tls.cert_file, Some(directory.0.join("c")));
    assert_eq!(config.listen.tls.key_file, Some(directory.0.join("k")));
    assert_eq!(config.clusters["main"].monitor.password.as_ref().unwrap().expose(), "hunter2");
}

#[test]
fn the_configuration_itself_cannot_be_read() {
    let rows: [(&[File<'_>], &str); 2] = [
        (&[], "f.toml: cannot be read: No such file or directory (os error 2)\n"),
        (&[("f.toml", b"# \xc3\xa9\n \xe9\n")], "f.toml:2:2: not UTF-8 (save it as UTF-8)\n"),
    ];
    for (files, expected) in rows {
        assert_eq!(Directory::with(files).load().unwrap_err(), expected);
    }
}
