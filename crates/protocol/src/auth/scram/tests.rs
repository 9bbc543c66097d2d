use postgres_protocol::authentication::sasl;
use proptest::prelude::*;

use super::*;
use crate::auth::AuthError;

/// The example of RFC 7677, section 3: user "user", password "pencil".
mod rfc7677 {
    pub(super) const PASSWORD: &str = "pencil";
    pub(super) const CLIENT_NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    pub(super) const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    pub(super) const SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";
    pub(super) const CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    pub(super) const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                                           s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    pub(super) const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
         p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    pub(super) const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
}

/// Fewer iterations than anybody has, for tests that are not about them.
const FEW_ITERATIONS: u32 = 2;

fn pencil() -> ScramSecret {
    let salt = BASE64.decode(rfc7677::SALT).unwrap();
    ScramSecret::from_password(rfc7677::PASSWORD, &salt, DEFAULT_ITERATIONS)
}

fn rfc_verifier(channel_binding: Option<Vec<u8>>) -> ScramVerifier {
    ScramVerifier::with_nonce(pencil(), rfc7677::SERVER_NONCE.to_owned(), channel_binding)
}

fn rfc_client() -> ScramClient {
    let credential = ScramCredential::Password(rfc7677::PASSWORD.to_owned());
    let nonce = rfc7677::CLIENT_NONCE.to_owned();
    ScramClient::with_name(credential, "user", nonce, ChannelBinding::Unsupported)
}

#[test]
fn the_rfcs_example_from_the_servers_side() {
    let mut verifier = rfc_verifier(None);
    let first = verifier.first(SCRAM_SHA_256, rfc7677::CLIENT_FIRST.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(first).unwrap(), rfc7677::SERVER_FIRST);
    let verified = verifier.last(rfc7677::CLIENT_FINAL.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(verified.server_final).unwrap(), rfc7677::SERVER_FINAL);
    let salt = BASE64.decode(rfc7677::SALT).unwrap();
    let keys = ScramKeys::derive(rfc7677::PASSWORD, &salt, DEFAULT_ITERATIONS);
    assert_eq!(verified.client_key, keys.client_key);
    assert_eq!(verifier.server_key(), keys.server_key);
}

#[test]
fn the_rfcs_example_from_the_clients_side() {
    let mut client = rfc_client();
    assert_eq!(client.first(), rfc7677::CLIENT_FIRST.as_bytes());
    let last = client.respond(rfc7677::SERVER_FIRST.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(last).unwrap(), rfc7677::CLIENT_FINAL);
    assert_eq!(client.finish(rfc7677::SERVER_FINAL.as_bytes()), Ok(()));
    assert_eq!(client.derived().unwrap().iterations, DEFAULT_ITERATIONS);
}

/// Each row: a password, and the secret that PostgreSQL 15 made of it.
#[test]
fn secrets_are_those_of_postgresql() {
    let rows = [
        (
            "secret",
            "SCRAM-SHA-256$4096:0+FNzb5X3miMWMgEsh6nOg==$L/VKTiVCtqfmtKL/02lGESXARaMej23b4EU6xHTGYR4=:u/+8NBLQEOu11K+/RuUOkJcxJ16oIyj8lWdnFUgwCzA=",
        ),
        // A soft hyphen is mapped to nothing.
        (
            "I\u{ad}X",
            "SCRAM-SHA-256$4096:SnP63dg/e5DtY9yqKTkyxw==$HGXKUtmhtWn53v1VKkLqsVAuid6iKTZhadYK8v5WXmY=:sd2HRypSdTizhW9jxgM6xsk0orbK0SQwH5b41kFmnXk=",
        ),
        // Normal form KC makes a plain letter of it.
        (
            "\u{aa}",
            "SCRAM-SHA-256$4096:dW2wuiUksh/Q2aBciHICQA==$p1cTWH/AevLFeEEH/BGOhf/qpVhc18RVWRRhmLFahkI=:9XFlldB4diGbIZnbm4W/upltiIGHQrsVTHjP4VsQ2hc=",
        ),
        // Nothing is left: taken as it is.
        (
            "\u{ad}",
            "SCRAM-SHA-256$4096:DQotHbNVeSjfnF65EFcXlA==$EHRJhYnOG9b+sYsk2nal2lJoYDBZK9XRSXBVPjm5ySo=:G37Q/+YOLIoEgferDBudYFndd02PQk42fTNy1sH45YA=",
        ),
        // A control character is prohibited: taken as it is.
        (
            "a\u{7}b\u{2168}",
            "SCRAM-SHA-256$4096:2uwVhsYkWjx4ivyafJ3OQg==$B6QqXoP9pkbGtfw38jIWch2hpkcBoopOdSYAwCKfgkM=:Q5Bvqb4yD2L98Sihqfo2sRnmfwTjmheJBws9RfeNbl8=",
        ),
        // From right to left, and not to the end: taken as it is.
        (
            "\u{627}\u{31}",
            "SCRAM-SHA-256$4096:EOvK/v64TIryJlMY9AUP8Q==$XqgsmQsrt1T8/8Ca6GVys/wwuXmjKDNzSiUCUxN8vw8=:LYZ0XyRdaQZQlHpfh+o1omc5U8+B4JX6zhz+bVCXpJI=",
        ),
        // A space of another kind, and a roman numeral in one character.
        (
            "\u{a0}x\u{2168}",
            "SCRAM-SHA-256$4096:B6o2sVc6f8l6D/gD/qwUpQ==$kWj5HjELJfC/rGSTgnGkx5F5kp6eeqdH6j437LjJJdo=:EYl0+g1j6FqY9wA+a9vlH5aC74637FNcczXcdPpARps=",
        ),
        // Not assigned in Unicode 3.2: taken as it is.
        (
            "\u{1f600}\u{2168}",
            "SCRAM-SHA-256$4096:+kAb+WmdlJDUCUcSfc190Q==$BEKI5q6ZDl7Ot/Ma5YtBMhbU5galfOPYs04D3NmJxcI=:mqmbRU0M5cuQFceej3PLscG/i9XBisFFnFsjDADKp6c=",
        ),
    ];
    for (password, stored) in rows {
        let secret = ScramSecret::parse(stored).unwrap();
        assert_eq!(secret.to_string(), stored, "{password:?}");
        let made = ScramSecret::from_password(password, &secret.salt, secret.iterations);
        assert_eq!(made.to_string(), stored, "{password:?}");
    }
}

#[test]
fn texts_that_are_no_secret() {
    let good = pencil().to_string();
    assert!(ScramSecret::parse(&good).is_ok());
    let rows = [
        String::new(),
        "secret".to_owned(),
        "md5ad16ab8cb9f9946be08171afa599199d".to_owned(),
        good.replace("SCRAM-SHA-256", "SCRAM-SHA-1"),
        good.replace("4096", "0"),
        good.replace("4096", "-1"),
        good.replace("4096", "+1"),
        good.replace("4096", ""),
        good.replace("4096", "4294967296"),
        good.replace("W22Z", "W22!"),
        good.replace(':', "$"),
        good[..good.len() - 4].to_owned(),
        format!("{good}="),
        format!("{good}:"),
        format!("{good} "),
    ];
    for text in rows {
        assert_eq!(ScramSecret::parse(&text), Err(InvalidSecret), "{text}");
    }
}

/// The lines of a table, each cut at its bars.
fn rows<const N: usize>(table: &'static str) -> impl Iterator<Item = [&'static str; N]> {
    table.trim().lines().map(|line| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        cells.try_into().expect(line)
    })
}

/// How an exchange ended: `ok`, or the error's detail if it has one, its message otherwise.
fn outcome<T>(result: Result<T, AuthError>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.detail().unwrap_or(error.to_string()),
    }
}

/// Columns: the mechanism chosen, whether channel binding is offered, the client's first message,
/// the outcome.
const FIRST_MESSAGES: &str = r#"
SCRAM-SHA-256      | no  | n,,n=,r=abc                      | ok
SCRAM-SHA-256      | no  | n,,n=*,r=abc                     | ok
SCRAM-SHA-256      | no  | n,,n=,r=abc,                     | ok
SCRAM-SHA-256      | no  | n,,n=,r=abc,x=1,y=               | ok
SCRAM-SHA-256      | no  | y,,n=,r=abc                      | ok
SCRAM-SHA-256      | yes | n,,n=,r=abc                      | ok
SCRAM-SHA-256      | yes | y,,n=,r=abc                      | The client supports SCRAM channel binding but thinks the server does not.  However, this server does support channel binding.
SCRAM-SHA-256-PLUS | yes | p=tls-server-end-point,,n=,r=abc | ok
SCRAM-SHA-256-PLUS | yes | p=tls-unique,,n=,r=abc           | unsupported SCRAM channel-binding type "tls-unique"
SCRAM-SHA-256-PLUS | yes | n,,n=,r=abc                      | The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include channel binding data.
SCRAM-SHA-256-PLUS | yes | y,,n=,r=abc                      | The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include channel binding data.
SCRAM-SHA-256-PLUS | no  | p=tls-server-end-point,,n=,r=abc | client selected an invalid SASL authentication mechanism
SCRAM-SHA-256      | yes | p=tls-server-end-point,,n=,r=abc | The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message includes channel binding data.
SCRAM-SHA-256      | no  | p=tls-server-end-point,,n=,r=abc | The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message includes channel binding data.
SCRAM-SHA-1        | no  | n,,n=,r=abc                      | client selected an invalid SASL authentication mechanism
                   | no  | n,,n=,r=abc                      | client selected an invalid SASL authentication mechanism
SCRAM-SHA-256      | no  |                                  | The message is empty.
SCRAM-SHA-256      | no  | x,,n=,r=abc                      | Unexpected channel-binding flag "x".
SCRAM-SHA-256      | no  | é                                | Unexpected channel-binding flag "0xc3".
SCRAM-SHA-256      | no  | n                                | Comma expected, but found character "0x00".
SCRAM-SHA-256      | no  | nn                               | Comma expected, but found character "n".
SCRAM-SHA-256      | no  | p                                | Expected character "=" for attribute "p".
SCRAM-SHA-256      | no  | p=                               | unsupported SCRAM channel-binding type ""
SCRAM-SHA-256      | no  | n,a=bob,n=,r=abc                 | client uses authorization identity, but it is not supported
SCRAM-SHA-256      | no  | n,                               | Unexpected attribute "0x00" in client-first-message.
SCRAM-SHA-256      | no  | n,x                              | Unexpected attribute "x" in client-first-message.
SCRAM-SHA-256      | no  | n,,m=x,n=,r=abc                  | client requires an unsupported SCRAM extension
SCRAM-SHA-256      | no  | n,,                              | Expected attribute "n" but found "0x00".
SCRAM-SHA-256      | no  | n,,r=abc                         | Expected attribute "n" but found "r".
SCRAM-SHA-256      | no  | n,,n                             | Expected character "=" for attribute "n".
SCRAM-SHA-256      | no  | n,,n=                            | Expected attribute "r" but found "0x00".
SCRAM-SHA-256      | no  | n,,n=,r=a c                      | non-printable characters in SCRAM nonce
SCRAM-SHA-256      | no  | n,,n=,r=ä                        | non-printable characters in SCRAM nonce
SCRAM-SHA-256      | no  | n,,n=,r=abc,1=                   | Attribute expected, but found invalid character "1".
SCRAM-SHA-256      | no  | n,,n=,r=abc,x                    | Expected character "=" for attribute "x".
SCRAM-SHA-256      | no  | n,,n=,r=abc,é=                   | Attribute expected, but found invalid character "0xc3".
"#;

#[test]
fn first_messages() {
    for [mechanism, offered, message, expected] in rows(FIRST_MESSAGES) {
        let mut verifier = rfc_verifier((offered == "yes").then(|| b"hash".to_vec()));
        let got = outcome(verifier.first(mechanism, message.as_bytes()));
        assert_eq!(got, expected, "{mechanism} {offered} {message}");
        let again = verifier.first(SCRAM_SHA_256, b"n,,n=,r=abc");
        assert_eq!(again, Err(AuthError::OutOfTurn), "an exchange begins once");
    }
}

#[test]
fn messages_that_are_no_text() {
    let rows: [(&[u8], &str); 3] = [
        (b"n,,n=,r=a\0", "Message length does not match input length."),
        (b"\0", "Message length does not match input length."),
        (b"n,,n=\xff,r=abc", "The message is not UTF-8."),
    ];
    for (message, expected) in rows {
        let got = outcome(rfc_verifier(None).first(SCRAM_SHA_256, message));
        assert_eq!(got, expected, "{message:?}");
    }
}

/// Columns: what is replaced in the RFC's message, by what, the outcome.
const LAST_MESSAGES: &str = r#"
         |           | ok
biws     | eSws      | unexpected SCRAM channel-binding attribute in client-final-message
c=biws,  |           | Expected attribute "c" but found "r".
k0,p     | k1,p      | Nonce does not match.
%hvYD    |           | Nonce does not match.
r=       | x=        | Expected attribute "r" but found "x".
p=dHzb   | p=AAAA    | password authentication failed
p=       | x=1,p=    | password authentication failed
p=dHzb   | p=        | Malformed proof in client-final-message.
p=dHzb   | p=!!!!    | Malformed proof in client-final-message.
p=       | x=        | Attribute expected, but found end of string.
ndVQ=    | ndVQ=,x=1 | Garbage found at the end of client-final-message.
"#;

#[test]
fn last_messages() {
    let good = rfc7677::CLIENT_FINAL;
    for [what, by, expected] in rows(LAST_MESSAGES) {
        let message = good.replacen(what, by, 1);
        let mut verifier = rfc_verifier(None);
        let first = rfc7677::CLIENT_FIRST.as_bytes();
        verifier.first(SCRAM_SHA_256, first).unwrap();
        let got = outcome(verifier.last(message.as_bytes()));
        assert_eq!(got, expected, "{message}");
        let again = verifier.last(good.as_bytes());
        assert_eq!(again, Err(AuthError::OutOfTurn), "one try");
    }
    let unbegun = rfc_verifier(None).last(good.as_bytes());
    assert_eq!(unbegun, Err(AuthError::OutOfTurn));
}

/// The same for the server's first message.
const FIRST_MESSAGES_OF_A_SERVER: &str = r#"
                               |            | ok
i=4096                         | i=4096,x=1 | ok
r=r                            | r=x        | the server's SCRAM nonce does not continue the client's
%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0 |            | the server's SCRAM nonce does not continue the client's
r=r                            | m=x,r=r    | the server requires an unsupported SCRAM extension
r=r                            | x=r        | malformed SCRAM message from the server: Expected attribute "r" but found "x".
s=                             | s=!        | malformed SCRAM message from the server: Malformed salt in server-first-message.
s=                             | x=         | malformed SCRAM message from the server: Expected attribute "s" but found "x".
,i=4096                        |            | malformed SCRAM message from the server: Expected attribute "i" but found "0x00".
4096                           | 0          | malformed SCRAM message from the server: Malformed iteration count in server-first-message.
4096                           | -1         | malformed SCRAM message from the server: Malformed iteration count in server-first-message.
4096                           | 1000001    | the server asks for 1000001 SCRAM iterations, at most 1000000 are done
4096                           | 4096,1     | malformed SCRAM message from the server: Attribute expected, but found invalid character "1".
"#;

#[test]
fn first_messages_of_a_server() {
    let good = rfc7677::SERVER_FIRST;
    for [what, by, expected] in rows(FIRST_MESSAGES_OF_A_SERVER) {
        let message = good.replacen(what, by, 1);
        let mut client = rfc_client();
        let got = client.respond(message.as_bytes());
        let got = got.map_or_else(|error| error.to_string(), |_| "ok".to_owned());
        assert_eq!(got, expected, "{message}");
        let again = client.respond(good.as_bytes());
        assert_eq!(again, Err(ScramError::OutOfTurn), "one try");
    }
}

/// The same for the server's last message.
const LAST_MESSAGES_OF_A_SERVER: &str = r#"
        |                 | ok
94G4=   | 94G4=,x=1       | ok
v=6rri  | v=AAAA          | the server's SCRAM signature is wrong
v=6rri  | e=invalid,v=    | the server ended the SCRAM exchange: invalid
v=6rri  | v=              | malformed SCRAM message from the server: Malformed signature in server-final-message.
v=      | x=              | malformed SCRAM message from the server: Expected attribute "v" but found "x".
"#;

#[test]
fn last_messages_of_a_server() {
    let good = rfc7677::SERVER_FINAL;
    for [what, by, expected] in rows(LAST_MESSAGES_OF_A_SERVER) {
        let message = good.replacen(what, by, 1);
        let mut client = rfc_client();
        client.respond(rfc7677::SERVER_FIRST.as_bytes()).unwrap();
        let got = client.finish(message.as_bytes());
        let got = got.map_or_else(|error| error.to_string(), |()| "ok".to_owned());
        assert_eq!(got, expected, "{message}");
        let again = client.finish(good.as_bytes());
        assert_eq!(again, Err(ScramError::OutOfTurn), "one try");
    }
    let unbegun = rfc_client().finish(good.as_bytes());
    assert_eq!(unbegun, Err(ScramError::OutOfTurn));
}

/// Runs an exchange; gives the keys that the verifier took out of the proof.
fn exchange(
    verifier: &mut ScramVerifier,
    client: &mut ScramClient,
) -> Result<ScramKeys, AuthError> {
    let first = verifier.first(client.mechanism(), &client.first())?;
    let last = client.respond(&first).unwrap();
    let verified = verifier.last(&last)?;
    client.finish(&verified.server_final).unwrap();
    let (client_key, server_key) = (verified.client_key, verifier.server_key());
    Ok(ScramKeys { client_key, server_key })
}

#[test]
fn a_proof_reveals_keys_that_open_a_server_with_the_same_secret() {
    let secret = ScramSecret::from_password("pw", b"salt", FEW_ITERATIONS);
    let mut verifier = ScramVerifier::new(secret.clone(), [1; NONCE_LENGTH], None);
    let password = ScramCredential::Password("pw".to_owned());
    let mut client = ScramClient::new(password, [2; NONCE_LENGTH], ChannelBinding::Unsupported);
    let keys = exchange(&mut verifier, &mut client).unwrap();
    assert_eq!(keys, client.derived().unwrap().keys);

    let with_keys = || {
        let keys = ScramCredential::Keys(keys.clone());
        ScramClient::new(keys, [4; NONCE_LENGTH], ChannelBinding::Unsupported)
    };
    let mut server = ScramVerifier::new(secret, [3; NONCE_LENGTH], None);
    assert_eq!(exchange(&mut server, &mut with_keys()), Ok(keys.clone()));

    let changed = ScramSecret::from_password("pw", b"other salt", FEW_ITERATIONS);
    let mut server = ScramVerifier::new(changed, [3; NONCE_LENGTH], None);
    assert_eq!(exchange(&mut server, &mut with_keys()), Err(AuthError::Failed));
}

#[test]
fn known_keys_are_used_for_their_salt_and_derived_anew_for_another() {
    let secret = ScramSecret::from_password("pw", b"salt", FEW_ITERATIONS);
    let known = DerivedKeys {
        salt: b"salt".to_vec(),
        iterations: FEW_ITERATIONS,
        keys: ScramKeys::derive("pw", b"salt", FEW_ITERATIONS),
    };
    // A wrong password shows that the known keys, and not it, were used.
    let client = |password: &str| {
        let password = ScramCredential::Password(password.to_owned());
        ScramClient::new(password, [2; NONCE_LENGTH], ChannelBinding::Unsupported)
            .with_known(Some(known.clone()))
    };
    let mut server = ScramVerifier::new(secret, [1; NONCE_LENGTH], None);
    assert!(exchange(&mut server, &mut client("wrong")).is_ok());

    let changed = ScramSecret::from_password("pw", b"other", FEW_ITERATIONS);
    let mut server = ScramVerifier::new(changed, [1; NONCE_LENGTH], None);
    let mut client = client("pw");
    assert!(exchange(&mut server, &mut client).is_ok());
    assert_eq!(client.derived().unwrap().salt, b"other");
}

/// Each row: what pgweir offers, what the client does, and how it ends.
#[test]
fn channel_binding() {
    let hash = b"a certificate's hash".to_vec();
    let other = b"a forger's certificate".to_vec();
    let end_point = ChannelBinding::TlsServerEndPoint;
    let rows = [
        (None, ChannelBinding::Unsupported, Ok(())),
        (None, ChannelBinding::NotOffered, Ok(())),
        (Some(hash.clone()), ChannelBinding::Unsupported, Ok(())),
        (Some(hash.clone()), ChannelBinding::NotOffered, Err(AuthError::ChannelBindingNegotiation)),
        (Some(hash.clone()), end_point(hash.clone()), Ok(())),
        (Some(hash.clone()), end_point(other), Err(AuthError::ChannelBindingCheck)),
        (None, end_point(hash), Err(AuthError::Mechanism)),
    ];
    for (offered, used, expected) in rows {
        let secret = ScramSecret::from_password("pw", b"salt", FEW_ITERATIONS);
        let mut verifier = ScramVerifier::new(secret, [1; NONCE_LENGTH], offered.clone());
        let password = ScramCredential::Password("pw".to_owned());
        let mut client = ScramClient::new(password, [2; NONCE_LENGTH], used.clone());
        let got = exchange(&mut verifier, &mut client).map(|_| ());
        assert_eq!(got, expected, "{offered:?} {used:?}");
    }
}

#[test]
fn a_user_that_does_not_exist_gets_as_far_as_one_with_a_wrong_password() {
    let mock = ScramSecret::mock(&[7; KEY_LENGTH], "nobody");
    assert_eq!(mock, ScramSecret::mock(&[7; KEY_LENGTH], "nobody"));
    assert_ne!(mock.salt, ScramSecret::mock(&[7; KEY_LENGTH], "somebody").salt);
    assert_ne!(mock.salt, ScramSecret::mock(&[8; KEY_LENGTH], "nobody").salt);
    assert_eq!((mock.salt.len(), mock.iterations), (SALT_LENGTH, DEFAULT_ITERATIONS));
    let mut verifier = ScramVerifier::new(mock, [1; NONCE_LENGTH], None);
    let password = ScramCredential::Password("pw".to_owned());
    let mut client = ScramClient::new(password, [2; NONCE_LENGTH], ChannelBinding::Unsupported);
    assert_eq!(exchange(&mut verifier, &mut client), Err(AuthError::Failed));
}

#[test]
fn nothing_secret_is_shown() {
    let keys = ScramKeys::derive("pw", b"salt", FEW_ITERATIONS);
    let known = DerivedKeys { salt: vec![], iterations: 1, keys: keys.clone() };
    let verifier = ScramVerifier::new(pencil(), [1; NONCE_LENGTH], None);
    let verified = Verified { server_final: vec![], client_key: keys.client_key };
    let password = ScramCredential::Password("pw".to_owned());
    let client = ScramClient::new(password.clone(), [2; NONCE_LENGTH], ChannelBinding::NotOffered);
    let shown = [
        format!("{keys:?}"),
        format!("{known:?}"),
        format!("{:?}", pencil()),
        format!("{verifier:?}"),
        format!("{verified:?}"),
        format!("{password:?} {:?}", ScramCredential::Keys(keys)),
        format!("{client:?}"),
    ];
    let expected = [
        "ScramKeys(***)",
        "DerivedKeys { salt: [], iterations: 1, keys: ScramKeys(***) }",
        "ScramSecret(4096 iterations, ***)",
        "ScramVerifier(***)",
        "Verified(***)",
        "Password(***) Keys(***)",
        "ScramClient(SCRAM-SHA-256)",
    ];
    assert_eq!(shown, expected);
}

proptest! {
    #[test]
    fn client_and_verifier_agree_on_any_password(
        password: String,
        salt: Vec<u8>,
        iterations in 1_u32..8,
        nonces: [[u8; NONCE_LENGTH]; 2],
        hash: Option<Vec<u8>>,
    ) {
        let secret = ScramSecret::from_password(&password, &salt, iterations);
        prop_assert_eq!(&ScramSecret::parse(&secret.to_string()).unwrap(), &secret);
        let binding = match hash.clone() {
            Some(hash) => ChannelBinding::TlsServerEndPoint(hash),
            None => ChannelBinding::Unsupported,
        };
        let mut verifier = ScramVerifier::new(secret, nonces[0], hash);
        let mut client =
            ScramClient::new(ScramCredential::Password(password.clone()), nonces[1], binding);
        let keys = exchange(&mut verifier, &mut client);
        prop_assert_eq!(keys, Ok(ScramKeys::derive(&password, &salt, iterations)));
    }

    #[test]
    fn another_password_fails(password: String, other: String, salt: Vec<u8>) {
        prop_assume!(normalize(&password) != normalize(&other));
        let secret = ScramSecret::from_password(&password, &salt, FEW_ITERATIONS);
        let mut verifier = ScramVerifier::new(secret, [1; NONCE_LENGTH], None);
        let credential = ScramCredential::Password(other);
        let mut client =
            ScramClient::new(credential, [2; NONCE_LENGTH], ChannelBinding::Unsupported);
        prop_assert_eq!(exchange(&mut verifier, &mut client), Err(AuthError::Failed));
    }

    #[test]
    fn the_client_of_postgres_protocol_is_let_in(
        password in "[ -~\u{a0}\u{aa}äß€Ⅸ]{0,20}",
        salt: Vec<u8>,
        hash: Option<Vec<u8>>,
    ) {
        let secret = ScramSecret::from_password(&password, &salt, FEW_ITERATIONS);
        let (binding, mechanism) = match hash.clone() {
            Some(hash) => (sasl::ChannelBinding::tls_server_end_point(hash), SCRAM_SHA_256_PLUS),
            None => (sasl::ChannelBinding::unsupported(), SCRAM_SHA_256),
        };
        let mut verifier = ScramVerifier::new(secret, [1; NONCE_LENGTH], hash);
        let mut client = sasl::ScramSha256::new(password.as_bytes(), binding);
        let first = verifier.first(mechanism, client.message()).unwrap();
        client.update(&first).unwrap();
        let verified = verifier.last(client.message()).unwrap();
        client.finish(&verified.server_final).unwrap();
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(first: Vec<u8>, last: Vec<u8>, plus: bool) {
        let mechanism = if plus { SCRAM_SHA_256_PLUS } else { SCRAM_SHA_256 };
        let mut verifier = rfc_small(Some(vec![1]));
        let _ = verifier.first(mechanism, &first);
        let _ = verifier.last(&last);
        let mut client = rfc_client();
        let _ = client.respond(&first);
        let _ = client.finish(&last);
    }

    #[test]
    fn anything_like_a_message_is_read_without_a_panic(
        first in "(n|y|p|p=|p=tls-server-end-point){0,2},a?=?,?n?=?[a-z]{0,3},r=[ -~]{0,8}(,[a-z1]=?)*",
        last in "c=(biws|eSws|cD)?,r=[ -~]{0,8}(,[a-zé]=?[A-Za-z0-9+/=]{0,44})*,?",
        server_first in "r=rOprNGfwEbeRWgbNEkqO[ -~]{0,6},s=[A-Za-z0-9+/]{0,8}={0,2},i=[0-9]{0,2}(,.{0,3})?",
        server_final in "[ve]=[A-Za-z0-9+/=]{0,45}(,.{0,3})?",
    ) {
        let mut verifier = rfc_small(None);
        let _ = verifier.first(SCRAM_SHA_256, first.as_bytes());
        let mut verifier = rfc_small(None);
        verifier.first(SCRAM_SHA_256, rfc7677::CLIENT_FIRST.as_bytes()).unwrap();
        prop_assert!(verifier.last(last.as_bytes()).is_err());
        let mut client = rfc_client();
        if client.respond(server_first.as_bytes()).is_ok() {
            prop_assert!(client.finish(server_final.as_bytes()).is_err());
        }
    }
}

/// A verifier that costs nothing to make.
fn rfc_small(channel_binding: Option<Vec<u8>>) -> ScramVerifier {
    let secret = ScramSecret::mock(&[0; KEY_LENGTH], "user");
    ScramVerifier::with_nonce(secret, rfc7677::SERVER_NONCE.to_owned(), channel_binding)
}
