//! What users of libpq expect of `target_session_attrs` and lists of hosts (manual, 34.1.2).

use pgweir_sandbox::{PortLease, Sandbox};

use crate::harness::{Client, Failure, SOON, Weir, run, shared, until};

/// Connects with psql and asks who answers; the last of what it complains about otherwise.
fn psql(conninfo: &str) -> Result<String, String> {
    let mut psql = shared().program("psql");
    psql.args(["-XAtq", "-d", conninfo, "-c", "SHOW transaction_read_only"]);
    let finished = run(&mut psql, "", SOON);
    if finished.status.success() {
        return Ok(finished.stdout.trim_end().to_owned());
    }
    let error = finished.stderr.trim_end().lines().last().unwrap_or_default();
    Err(error.rsplit("failed: ").next().unwrap_or_default().to_owned())
}

fn conninfo(port: u16, attributes: &str, options: &str) -> String {
    format!(
        "host=127.0.0.1 port={port} user=postgres dbname=postgres connect_timeout=10 \
         target_session_attrs={attributes} options='{options}'"
    )
}

const ATTRIBUTES: [&str; 6] =
    ["any", "read-write", "read-only", "primary", "standby", "prefer-standby"];

#[test]
fn psql_takes_pgweir_for_a_primary_or_for_a_standby_if_it_asks_for_replicas() {
    let weir = Weir::start(shared(), "");
    let (primary, standby) = (shared().primary().port(), shared().replica(0).port());
    // Options, whom pgweir is like then, and which attributes fit.
    let rows = [
        ("", primary, [true, true, false, true, false, true]),
        // A session that only reads by default is read-only, and yet the primary's.
        ("-c default_transaction_read_only=on", primary, [true, false, true, true, false, true]),
        ("-c pgweir.route=replica", standby, [true, false, true, false, true, true]),
    ];
    for (options, like, fits) in rows {
        for (attributes, fits) in ATTRIBUTES.into_iter().zip(fits) {
            let through = psql(&conninfo(weir.port(), attributes, options));
            let direct = psql(&conninfo(like, attributes, options));
            assert_eq!(through, direct, "{attributes} {options:?}");
            assert_eq!(through.is_ok(), fits, "{attributes} {options:?}: {through:?}");
        }
    }
}

/// libpq asks with a query where a server is older than 14 and reports neither.
#[test]
fn what_older_drivers_ask_is_answered_alike() {
    let weir = Weir::start(shared(), "");
    // What is reported of the default and of the standby; what is asked of the transaction and of
    // recovery.
    let rows: [(&[(&str, &str)], [&str; 4]); 3] = [
        (&[], ["off", "off", "off", "f"]),
        (&[("default_transaction_read_only", "on")], ["on", "off", "on", "f"]),
        (&[("options", "-c pgweir.route=replica")], ["off", "on", "on", "t"]),
    ];
    for (parameters, wanted) in rows {
        let mut client = Client::connect(weir.port(), "postgres", "postgres", parameters).unwrap();
        let reported = |client: &Client, name| client.parameters[name].clone();
        let found = [
            reported(&client, "default_transaction_read_only"),
            reported(&client, "in_hot_standby"),
            client.ask("SHOW transaction_read_only"),
            client.ask("SELECT pg_catalog.pg_is_in_recovery()"),
        ];
        assert_eq!(found, wanted, "{parameters:?}");
        // Whoever answers next changes nothing of what was reported.
        for sql in ["SELECT 1", "/* pgweir: primary */ SELECT 1"] {
            assert_eq!(client.query(sql).parameters, [], "{parameters:?}");
        }
    }
}

#[test]
fn a_list_of_hosts_leads_past_what_does_not_fit() {
    let weir = Weir::start(shared(), "");
    let nobody = PortLease::any().unwrap();
    let replica = shared().replica(0).port();
    let list = |attributes: &str, ports: &[u16]| {
        let hosts = vec!["127.0.0.1"; ports.len()].join(",");
        let ports = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
        let mut psql = shared().program("psql");
        let conninfo = format!(
            "host={hosts} port={ports} user=postgres dbname=postgres connect_timeout=10 \
             target_session_attrs={attributes}"
        );
        // psql knows whom it ended up with.
        psql.args(["-XAtq", "-d", &conninfo, "-c", "\\echo :PORT"]);
        run(&mut psql, "", SOON).expect_success().trim_end().parse::<u16>().unwrap()
    };
    let own = weir.port();
    assert_eq!(list("any", &[nobody.port(), own]), own);
    assert_eq!(list("read-write", &[replica, own]), own);
    assert_eq!(list("primary", &[nobody.port(), replica, own]), own);
    assert_eq!(list("standby", &[own, replica]), replica);
    assert_eq!(list("prefer-standby", &[own, replica]), replica);
    assert_eq!(list("prefer-standby", &[nobody.port(), own]), own);
}

#[test]
fn without_a_primary_nobody_is_told_that_there_is_one_that_writes() {
    let sandbox = Sandbox::builder().replicas(1).start().unwrap();
    let weir = Weir::start(&sandbox, "failover.hold = \"1s\"");
    weir.postgres().ask("SELECT 1");
    sandbox.primary().kill().unwrap();
    // Reads go on, and a driver that looks for a primary finds one that has to be waited for.
    let mut client = until("a client that reads", SOON, || {
        let mut client = Client::connect(weir.port(), "postgres", "postgres", &[])?;
        client.query("SELECT 1").failure.map_or(Ok(client), Err::<Client, Failure>)
    });
    assert_eq!(client.parameters["in_hot_standby"], "off");
    assert_eq!(client.fail("SHOW transaction_read_only").code(), "57P03");
}
