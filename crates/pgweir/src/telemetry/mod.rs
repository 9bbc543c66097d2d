//! What others may know of a running pgweir: its log, its metrics.

pub mod count;
pub mod errors;
pub(crate) mod exposition;
pub mod log;
pub mod metrics;
mod observe;

pub(crate) use exposition::CONTENT_TYPE;
pub(crate) use observe::observe;
