//! Who is connected, and what binds whom to which server connection.

use std::net::SocketAddr;

use pgweir_pool::CancelHandle;

use super::super::table::{Column, Row, Value, int4, int8, text};
use super::pools::{Server, servers};
use super::{MICROS, Show, View};
use crate::account::Kind;
use crate::gateway::ClientHandle;

/// What PgBouncer shows of a connection, in SHOW CLIENTS, SERVERS and SOCKETS.
pub(super) const SOCKET_COLUMNS: [Column; 18] = [
    text("type"),
    text("user"),
    text("database"),
    text("state"),
    text("addr"),
    int4("port"),
    text("local_addr"),
    int4("local_port"),
    text("connect_time"),
    text("request_time"),
    int4("wait"),
    int4("wait_us"),
    int4("close_needed"),
    text("ptr"),
    text("link"),
    int4("remote_pid"),
    text("tls"),
    text("application_name"),
];

const OWN: [Column; 8] = [
    int4("id"),
    text("activity"),
    text("pins"),
    text("node"),
    int4("server_pid"),
    text("last_node"),
    int8("queries"),
    int8("transactions"),
];

pub(super) const CLIENTS: Show = Show {
    name: "clients",
    about: "clients, what they wait for, what serves them, what binds them to it",
    columns: &super::joined::<{ SOCKET_COLUMNS.len() + OWN.len() }>(&SOCKET_COLUMNS, &OWN),
    rows: |view| view.gateway.clients.all().iter().map(|client| row(view, client)).collect(),
};

pub(super) const PINS: Show = Show {
    name: "pins",
    about: "one row for each reason that binds a client to its server connection",
    columns: PIN_COLUMNS,
    rows: |view| {
        let clients = view.gateway.clients.all();
        clients.iter().flat_map(|client| pins(view, client)).collect()
    },
};

const PIN_COLUMNS: &[Column] = &[
    int4("id"),
    text("user"),
    text("database"),
    text("reason"),
    text("since"),
    int8("seconds"),
    text("node"),
    int4("server_pid"),
    text("application_name"),
];

/// Everything that [`activity`] may say.
pub(crate) const ACTIVITIES: [&str; 7] =
    ["login", "idle", "waiting", "attached", "pinned", "replication", "console"];

/// What a client is doing, in more words than PgBouncer's `state` has.
pub(crate) fn activity(client: &ClientHandle, server: Option<&CancelHandle>) -> &'static str {
    let account = &client.account;
    if !account.is_admitted() {
        "login"
    } else if account.identity.kind == Kind::Console {
        "console"
    } else if account.identity.kind == Kind::Replication {
        "replication"
    } else if account.waits_since().is_some() {
        "waiting"
    } else if server.is_none() {
        "idle"
    } else if account.pins().is_empty() {
        "attached"
    } else {
        "pinned"
    }
}

/// PgBouncer's columns.
fn socket(view: &View<'_>, client: &ClientHandle) -> Row {
    let (account, identity) = (&client.account, &client.account.identity);
    let server = client.server();
    let waits = account.waits_since();
    let asked_at = waits.or(client.last_server().map(|(_, since)| since));
    let waited = waits.map_or(0, |since| crate::account::micros(view.clock.since(since)));
    let address = |address: Option<SocketAddr>| {
        address.map_or_else(|| "unix".to_owned(), |address| address.ip().to_string())
    };
    vec![
        "C".into(),
        identity.user.clone().into(),
        identity.database.clone().into(),
        state(activity(client, server.as_ref())).into(),
        address(identity.peer).into(),
        identity.peer.map_or(0, |peer| peer.port()).into(),
        address(identity.local).into(),
        identity.local.map_or(0, |local| local.port()).into(),
        view.clock.second(identity.since).into(),
        view.clock.second(asked_at.unwrap_or(identity.since)).into(),
        (waited / MICROS).into(),
        (waited % MICROS).into(),
        0_i32.into(),
        client.pid.to_string().into(),
        server.as_ref().map_or_else(String::new, name_of_server).into(),
        identity.process.unwrap_or_default().into(),
        identity.encryption.clone().unwrap_or_default().into(),
        identity.application_name.clone().into(),
    ]
}

fn row(view: &View<'_>, client: &ClientHandle) -> Row {
    let (account, server) = (&client.account, client.server());
    let pins: Vec<&str> = account.pins().iter().map(|pinned| pinned.reason).collect();
    let last = client.last_server();
    let mut row = socket(view, client);
    row.extend([
        client.pid.into(),
        activity(client, server.as_ref()).into(),
        pins.join(",").into(),
        server.as_ref().map(|server| server.node().name().to_owned()).into(),
        server.as_ref().map(CancelHandle::pid).into(),
        last.map(|(node, _)| node.name().to_owned()).into(),
        account.work.queries.get().into(),
        account.work.transactions.get().into(),
    ]);
    row
}

/// PgBouncer's word: who is idle is active too.
fn state(activity: &'static str) -> &'static str {
    match activity {
        "login" | "waiting" => activity,
        _ => "active",
    }
}

/// What `ptr` is in SHOW SERVERS and `link` in SHOW CLIENTS: unique among those that are open.
pub(super) fn name_of_server(server: &CancelHandle) -> String {
    format!("{}/{}", server.node().name(), server.pid())
}

fn pins(view: &View<'_>, client: &ClientHandle) -> Vec<Row> {
    let identity = &client.account.identity;
    let server = client.server();
    let row = |pinned: &crate::account::Pinned| -> Row {
        vec![
            client.pid.into(),
            identity.user.clone().into(),
            identity.database.clone().into(),
            pinned.reason.into(),
            view.clock.second(pinned.since).into(),
            Value::from(view.clock.since(pinned.since).as_secs()),
            server.as_ref().map(|server| server.node().name().to_owned()).into(),
            server.as_ref().map(CancelHandle::pid).into(),
            identity.application_name.clone().into(),
        ]
    };
    client.account.pins().iter().map(row).collect()
}

// ---- SHOW SOCKETS ----

/// Where PgBouncer is in its buffers. pgweir keeps no such buffers: these are NULL.
const BUFFER_COLUMNS: [Column; 7] = [
    int4("recv_pos"),
    int4("pkt_pos"),
    int4("pkt_remain"),
    int4("send_pos"),
    int4("send_remain"),
    int4("pkt_avail"),
    int4("send_avail"),
];

pub(super) const SOCKETS: Show = Show {
    name: "sockets",
    about: "the connections of both sides",
    columns: &super::joined::<{ SOCKET_COLUMNS.len() + BUFFER_COLUMNS.len() }>(
        &SOCKET_COLUMNS,
        &BUFFER_COLUMNS,
    ),
    rows: |view| {
        let clients = view.gateway.clients.all();
        let clients = clients.iter().map(|client| socket(view, client));
        let servers = servers(view);
        let all = clients.chain(servers.iter().map(|server: &Server| server.socket(view)));
        all.map(|mut row| {
            row.extend([const { Value::Null }; BUFFER_COLUMNS.len()]);
            row
        })
        .collect()
    },
};
