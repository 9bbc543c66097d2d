//! What the cases have in common: clusters, a running pgweir, clients that see every byte.

mod client;
mod cluster;
mod http;
mod process;
mod temporary;
mod terminal;
mod wait;
mod weir;
mod wire;

pub(crate) use client::{Client, Failure, Reply, describe_error};
pub(crate) use cluster::{LOGGED, Scratch, prepare, runner_of, servers_of, shared};
pub(crate) use http::{Metrics, get};
pub(crate) use process::{Finished, raise_descriptor_limit, resident, run};
pub(crate) use temporary::TemporaryDir;
pub(crate) use terminal::Terminal;
pub(crate) use wait::{SOON, until};
pub(crate) use weir::{Setup, Weir};
pub(crate) use wire::{Frame, Message, Wire};

/// A reproducible source of disorder (xorshift64*): a case that fails fails again.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit).unwrap();
        usize::try_from((self.roll() >> 8) % limit).unwrap()
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.roll().to_be_bytes()[0]).collect()
    }
}
