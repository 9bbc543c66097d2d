//! What pgweir is.

use super::super::table::text;
use super::Show;

pub(super) const VERSION: Show = Show {
    name: "version",
    about: "the program and its version",
    columns: &[text("version")],
    rows: |_| vec![vec![concat!("pgweir ", env!("CARGO_PKG_VERSION")).into()]],
};
