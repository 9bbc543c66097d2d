//! What pgweir is, how it is configured, what it takes.

use std::fs;

use super::super::table::{Row, int8, text};
use super::{Show, View};
use crate::config::Listed;
use crate::gateway::{ClientHandle, Phase};
use crate::reload::{FIXED_KEY, Ledger};
use crate::serve::CLIENT_TASK_SIZE;

pub(super) const VERSION: Show = Show {
    name: "version",
    about: "the program and its version",
    columns: &[text("version")],
    rows: |_| vec![vec![concat!("pgweir ", env!("CARGO_PKG_VERSION")).into()]],
};

pub(super) const STATE: Show = Show {
    name: "state",
    about: "whether it serves",
    columns: &[text("key"), text("value")],
    rows: |view| {
        let word = |is_so| if is_so { "yes" } else { "no" };
        let is_serving = *view.gateway.phase().borrow() == Phase::Serving;
        let rows = [
            ("active", word(is_serving)),
            ("paused", word(view.gateway.gates.is_all_paused())),
            ("suspended", word(false)),
            ("draining", word(!is_serving)),
        ];
        let rows = rows.map(|(key, value)| (key, value.to_owned()));
        // What is wrong with the file, if it is not in force as it is.
        let problem = view.gateway.reloads.ledger().problems.first().map(ToString::to_string);
        let configuration = problem.unwrap_or_else(|| "in force".to_owned());
        let all = rows.into_iter().chain([("configuration", configuration)]);
        all.map(|(key, value)| vec![key.into(), value.into()]).collect()
    },
};

pub(super) const CONFIG: Show = Show {
    name: "config",
    about: "the configuration in force",
    columns: &[
        text("key"),
        text("value"),
        text("default"),
        text("changeable"),
        text("previous"),
        text("changed_at"),
        text("pending"),
    ],
    rows: |view| {
        let listed = view.now.config().list().into_iter();
        let ledger = view.gateway.reloads.ledger();
        listed.map(|listed| config_row(view, &ledger, listed)).collect()
    },
};

/// A key: its values, and what has become of it since the start.
fn config_row(view: &View<'_>, ledger: &Ledger, listed: Listed) -> Row {
    let is_fixed = listed.key == FIXED_KEY;
    let changed = ledger.history.get(&listed.key);
    let previous = changed.map(|(previous, _)| previous.clone());
    let changed_at = changed.map(|(_, at)| view.clock.wall_second(*at));
    let pending = ledger.pending.clone().filter(|_| is_fixed);
    vec![
        listed.key.into(),
        listed.value.into(),
        listed.default.into(),
        if is_fixed { "no" } else { "yes" }.into(),
        previous.into(),
        changed_at.into(),
        pending.into(),
    ]
}

pub(super) const MEM: Show = Show {
    name: "mem",
    about: "memory, in bytes: of the process, and of what there is many of",
    columns: &[text("name"), int8("size"), int8("used"), int8("free"), int8("memtotal")],
    rows: memory,
};

/// What is known by size and number, and the whole process as the system sees it.
fn memory(view: &View<'_>) -> Vec<Row> {
    let row = |name: &'static str, size: u64, used: u64| -> Row {
        vec![name.into(), size.into(), used.into(), 0_i32.into(), (size * used).into()]
    };
    let client = (size_of::<ClientHandle>() + CLIENT_TASK_SIZE) as u64;
    let clients = view.gateway.clients.all().len() as u64;
    let process = resident().map(|resident| row("process", resident, 1));
    [row("client", client, clients)].into_iter().chain(process).collect()
}

/// The memory of this process that is in RAM, in bytes (proc(5)).
pub(crate) fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}
