//! pgbench's reads while replicas are killed again and again: no client sees an error, in any query mode.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use pgweir_sandbox::Sandbox;

use crate::harness::{SOON, Weir, run};
use crate::seconds;

/// How long each query mode runs in the short form.
const SECONDS: u64 = 4;

#[test]
fn pgbench_does_not_notice_that_replicas_are_killed_again_and_again() {
    let _turn = crate::turn();
    let sandbox = Sandbox::builder().start().unwrap();
    let length = seconds().map_or(SECONDS, |seconds| seconds / 10);
    let patience = Duration::from_secs(length) + SOON * 4;
    let primary = sandbox.primary().port().to_string();
    let pgbench = |port: &str, arguments: &[&str]| {
        let mut pgbench = sandbox.program("pgbench");
        pgbench.args(["-h", "127.0.0.1", "-p", port, "-U", "postgres"]).args(arguments);
        run(pgbench.arg("postgres"), "", patience)
    };
    pgbench(&primary, &["-i", "-q"]).expect_success();
    sandbox.wait_all_caught_up(SOON).unwrap();
    let weir = Weir::start(&sandbox, "");
    let port = weir.port().to_string();
    for mode in ["simple", "extended", "prepared"] {
        let is_over = AtomicBool::new(false);
        let (finished, kills) = thread::scope(|scope| {
            let killing = scope.spawn(|| {
                let mut kills = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let victim = sandbox.replica(kills % 2);
                    thread::sleep(Duration::from_millis(400));
                    victim.kill().unwrap();
                    victim.start().unwrap();
                    kills += 1;
                }
                kills
            });
            let time = length.to_string();
            let finished = pgbench(&port, &["-n", "-S", "-c", "8", "-T", &time, "-M", mode]);
            is_over.store(true, Ordering::Relaxed);
            (finished, killing.join().unwrap())
        });
        assert!(!finished.stderr.contains("ERROR"), "{mode}: {}", finished.stderr);
        let printed = finished.expect_success();
        assert!(printed.contains("number of failed transactions: 0 "), "{mode}: {printed}");
        let line =
            |word: &str| printed.lines().find(|line| line.contains(word)).unwrap_or_default();
        println!("{mode}: {kills} kills; {}; {}", line("processed"), line("failed"));
        assert!(kills > 0);
    }
}
