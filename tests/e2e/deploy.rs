//! What is in `deploy/`, as far as it can be checked without a cluster, and what its files promise of the
//! program.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::drivers::{is_full, tell};
use crate::harness::{Weir, run};

/// Compiling what renders the chart takes a while.
const PATIENCE: Duration = Duration::from_secs(300);

#[test]
fn what_is_in_deploy_is_good_as_far_as_the_tools_are_here() {
    let check = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/deploy/check.py");
    // Debian's python3 has the modules that scripts/setup installs.
    let mut python = Command::new("/usr/bin/python3");
    python.arg(check).arg(Weir::program().get_program()).env("PYTHONDONTWRITEBYTECODE", "1");
    if is_full() {
        python.env("PGWEIR_DEPLOY_FULL", "1");
    }
    let told = run(&mut python, "", PATIENCE);
    for line in told.stdout.lines().filter(|line| line.starts_with("SKIPPED")) {
        tell(&format!("{line} (scripts/setup deploy)"));
    }
    assert!(told.status.success(), "{}{}", told.stdout, told.stderr);
    assert!(told.stdout.contains("ok "), "nothing was checked: {}", told.stdout);
}
