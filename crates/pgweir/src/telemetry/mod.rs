//! What pgweir tells the outside about itself.

pub mod log;
pub mod metrics;
mod observe;

pub(crate) use observe::observe;
