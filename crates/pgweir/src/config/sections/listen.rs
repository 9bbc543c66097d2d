//! `[listen]`

use std::path::PathBuf;
use std::time::Duration;

use crate::config::address::Address;
use crate::config::fields::Fields;
use crate::config::scope::Scope;
use crate::config::spec::{available, nested, section, words};
use crate::tls::TlsError;

/// The longest path of a Unix socket in bytes: `sun_path` less its final zero (unix(7)).
const MAX_SOCKET_PATH: usize = 107;

section! {
    /// Where clients connect.
    pub struct Listen checked by check {
        /// "host:port", or a list of them.
        address: Vec<Address> = vec![Address { host: "127.0.0.1".into(), port: 6432 }] => available();
        /// Directory of a Unix socket besides, e.g. "/run/pgweir"; "" = none.
        unix_socket_dir: Option<PathBuf> = None => available();
        /// Clients at a time; one more is refused with 53300.
        max_clients: u32 = 10_000 => available().within(1, 1_000_000);
        /// How long SIGTERM waits for clients to reach a transaction's end.
        drain_timeout: Duration = Duration::from_secs(30) => available().within(0, 86_400_000);
        /// Encryption towards clients.
        tls: ListenTls = ListenTls::default() => available();
    }
}

section! {
    /// Encryption towards clients.
    pub struct ListenTls checked by check_tls {
        /// Whether clients may or must use TLS.
        mode: ListenTlsMode = ListenTlsMode::Disable => available();
        /// Certificate chain, PEM.
        cert_file: Option<PathBuf> = None => available().example("\"server.crt\"");
        /// The certificate's private key, PEM.
        key_file: Option<PathBuf> = None => available().example("\"server.key\"");
        /// Authorities whose client certificates are accepted, PEM. With it, whoever uses TLS must show one,
        /// whatever auth.method says.
        client_ca_file: Option<PathBuf> = None => available().example("\"clients.crt\"");
    }
}

nested!(ListenTls);

words! {
    /// Whether clients may or must use TLS.
    pub enum ListenTlsMode {
        /// No TLS: SSLRequest is answered with N.
        Disable = "disable" => available();
        /// The client decides.
        Allow = "allow" => available();
        /// A client without TLS is refused.
        Require = "require" => available();
    }
}

fn check(listen: &mut Listen, fields: &Fields<'_, '_>, scope: &mut Scope<'_>) {
    if !(scope.is_sure("address") && scope.is_sure("unix_socket_dir")) {
        return;
    }
    if listen.address.is_empty() && listen.unix_socket_dir.is_none() {
        let suggestion = "give an address or a unix_socket_dir";
        fields.report("address", scope, "there is nothing to listen on", suggestion);
    }
    for (at, address) in listen.address.iter().enumerate() {
        let is_known = listen.address.iter().take(at).any(|earlier| earlier == address);
        if is_known && address.port != 0 {
            let message = format!("\"{address}\" is there twice");
            fields.report_element("address", at, scope, message, "leave one out");
        }
    }
    let port = listen.address.first().map_or(6432, |address| address.port);
    let Some(directory) = &listen.unix_socket_dir else {
        return;
    };
    let socket = directory.join(format!(".s.PGSQL.{port}"));
    if socket.as_os_str().len() > MAX_SOCKET_PATH {
        let message = "the path is too long for a Unix socket";
        let suggestion = format!("with the socket's name, at most {MAX_SOCKET_PATH} bytes");
        fields.report("unix_socket_dir", scope, message, suggestion);
    }
}

fn check_tls(tls: &mut ListenTls, fields: &Fields<'_, '_>, scope: &mut Scope<'_>) {
    if !scope.is_sure("mode") {
        return;
    }
    let files = [
        ("cert_file", &tls.cert_file, true),
        ("key_file", &tls.key_file, true),
        ("client_ca_file", &tls.client_ca_file, false),
    ];
    for (name, file, is_needed) in files {
        match file {
            _ if !scope.is_sure(name) => {}
            Some(file) => fields.require_readable(name, file, scope),
            None if tls.mode == ListenTlsMode::Disable || !is_needed => {}
            None => {
                let message = format!("tls mode \"{}\" needs {name}", tls.mode);
                fields.report(name, scope, message, "give cert_file and key_file, PEM");
            }
        }
    }
    if tls.mode == ListenTlsMode::Disable && tls.client_ca_file.is_some() {
        let message = "without TLS nobody shows a certificate";
        fields.report("client_ca_file", scope, message, "mode = \"require\"");
    }
    if scope.is_sure("cert_file")
        && scope.is_sure("key_file")
        && scope.is_sure("client_ca_file")
        && let Err(error) = crate::tls::acceptor(tls)
    {
        report_unusable(tls, &error, fields, scope);
    }
}

fn report_unusable(
    tls: &ListenTls,
    error: &TlsError,
    fields: &Fields<'_, '_>,
    scope: &mut Scope<'_>,
) {
    let is_in = |known: &Option<PathBuf>| match error {
        TlsError::File { file, .. } => known.as_ref() == Some(file),
        _ => false,
    };
    let pair = "a certificate chain and its private key, both PEM";
    let (name, suggestion) = match error {
        TlsError::Authorities(_) => ("client_ca_file", "certificates of authorities, PEM"),
        _ if is_in(&tls.key_file) => ("key_file", pair),
        _ if is_in(&tls.cert_file) || !is_in(&tls.client_ca_file) => ("cert_file", pair),
        _ => ("client_ca_file", "certificates of authorities, PEM"),
    };
    fields.report(name, scope, error.to_string(), suggestion);
}
