//! What a node does as a standby or becomes instead: promotion, replay, catching up.

use std::fs;
use std::time::Duration;

use crate::error::SandboxError;
use crate::node::Node;
use crate::run;
use crate::template::remove_if_there;

/// Size of a WAL page (`wal_block_size`), unless PostgreSQL was built otherwise.
const WAL_PAGE: u64 = 8192;
/// Sizes of a WAL page's header: of any page, and of the first of a segment.
const WAL_PAGE_HEADERS: [u64; 2] = [24, 40];

impl Node {
    /// Whether the server is a standby, as it says itself.
    ///
    /// # Errors
    /// [`SandboxError::Sql`] when it cannot be asked.
    pub fn is_in_recovery(&self) -> Result<bool, SandboxError> {
        Ok(self.psql("SELECT pg_is_in_recovery()")? == "t")
    }

    /// Promotes a standby to primary, waits until it takes writes, and makes it the sandbox's primary.
    ///
    /// Nothing is done to the old primary or to other standbys: two primaries at once are a case worth
    /// testing. [`Sandbox::follow`](crate::Sandbox::follow) and
    /// [`Sandbox::rejoin`](crate::Sandbox::rejoin) restore order.
    ///
    /// # Errors
    /// [`SandboxError::Sql`] when the server is no standby.
    pub fn promote(&self) -> Result<(), SandboxError> {
        let deadline = self.env().deadline;
        // Waiting on the server's side would outlast psql's deadline.
        self.psql("SELECT pg_promote(wait => false)")?;
        self.wait_for_answer("SELECT pg_is_in_recovery()", "f", deadline)?;
        self.env().set_primary(self.index());
        Ok(())
    }

    /// Stops replay on a standby: it keeps receiving WAL, and shows an unchanging past.
    ///
    /// # Errors
    /// [`SandboxError::Sql`] when the server is no standby; [`SandboxError::Timeout`].
    pub fn pause_replay(&self) -> Result<(), SandboxError> {
        self.psql("SELECT pg_wal_replay_pause()")?;
        self.wait_for_replay_state("paused")
    }

    /// Undoes [`Self::pause_replay`].
    ///
    /// # Errors
    /// As [`Self::pause_replay`].
    pub fn resume_replay(&self) -> Result<(), SandboxError> {
        self.psql("SELECT pg_wal_replay_resume()")?;
        self.wait_for_replay_state("not paused")
    }

    /// Makes a standby show each commit no earlier than `delay` after it was made (whole milliseconds;
    /// manual, 20.5.4 `recovery_min_apply_delay`). Zero ends the delay.
    ///
    /// # Errors
    /// As [`Self::set_config`].
    pub fn delay_replay(&self, delay: Duration) -> Result<(), SandboxError> {
        self.set_config("recovery_min_apply_delay", &format!("{}ms", delay.as_millis()))
    }

    /// Waits until this standby shows everything that `primary` had written when this was called.
    ///
    /// # Errors
    /// [`SandboxError::Timeout`] with how far it came.
    pub(crate) fn wait_replayed(
        &self,
        primary: &Self,
        deadline: Duration,
    ) -> Result<(), SandboxError> {
        self.running()?;
        let target = primary.written_position()?;
        let condition = format!("replayed up to {target}");
        let sql = "SELECT pg_last_wal_replay_lsn()";
        self.wait_for_sql(&condition, deadline, self, sql, |replayed| {
            Lsn::parse(replayed).is_some_and(|replayed| replayed >= target)
        })
    }

    /// Waits until this standby receives WAL from `primary`.
    pub(crate) fn wait_streaming(
        &self,
        primary: &Self,
        deadline: Duration,
    ) -> Result<(), SandboxError> {
        let sql = format!(
            "SELECT state FROM pg_stat_replication WHERE application_name = '{}'",
            self.name()
        );
        let condition = format!("streaming from {}", primary.name());
        self.wait_for_sql(&condition, deadline, primary, &sql, |state| state == "streaming")
    }

    /// Replaces the data directory by a base backup of `primary`, to start as its standby.
    pub(crate) fn rebuild_from(&self, primary: &Self) -> Result<(), SandboxError> {
        let partial = self.dir().with_extension("partial");
        remove_if_there(&partial)?;
        let mut backup = primary.program("pg_basebackup");
        backup.arg("-D").arg(&partial).args([
            "-X",
            "stream",
            "-c",
            "fast",
            "--no-sync",
            "--no-password",
        ]);
        run::run_well(&mut backup, self.env().deadline)?;
        remove_if_there(self.dir())?;
        fs::rename(&partial, self.dir()).map_err(SandboxError::file("make", self.dir()))?;
        self.mark_standby()?;
        self.set_upstream(primary)
    }

    /// The position that a standby passes once it shows all that was written here before this call.
    fn written_position(&self) -> Result<Lsn, SandboxError> {
        let answer = self.psql(
            "SET synchronous_commit = local;
             SELECT pg_current_wal_insert_lsn() AS inserted,
                    pg_current_wal_insert_lsn() > pg_current_wal_flush_lsn() AS unflushed \\gset
             \\echo :inserted
             \\if :unflushed
               -- Only what is flushed is sent, and nobody may be going to: a commit does it.
               SELECT pg_logical_emit_message(true, 'sandbox', 'flush') \\g /dev/null
             \\endif",
        )?;
        Lsn::parse(&answer).map(Lsn::end_of_record).ok_or_else(|| SandboxError::Sql {
            node: self.label(),
            outcome: "answered".to_owned(),
            message: answer,
            sql: "pg_current_wal_insert_lsn()".to_owned(),
        })
    }

    fn wait_for_replay_state(&self, state: &str) -> Result<(), SandboxError> {
        let deadline = self.env().deadline;
        self.wait_for_answer("SELECT pg_get_wal_replay_pause_state()", state, deadline)
    }
}

/// A WAL position (manual, 8.20 "`pg_lsn` Type").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Lsn(u64);

impl Lsn {
    /// Reads `16/B374D848`.
    fn parse(text: &str) -> Option<Self> {
        let (high, low) = text.trim().split_once('/')?;
        let (high, low) = (u32::from_str_radix(high, 16).ok()?, u32::from_str_radix(low, 16).ok()?);
        Some(Self(u64::from(high) << 32 | u64::from(low)))
    }

    /// The end of the last record before an insert position.
    ///
    /// `pg_current_wal_insert_lsn` is where the next record goes. At the start of a page that is past
    /// the page's header, which is not there yet: replay ends before it, and an idle primary would
    /// seem to be ahead of its standbys for ever.
    fn end_of_record(self) -> Self {
        let offset = self.0 % WAL_PAGE;
        if WAL_PAGE_HEADERS.contains(&offset) { Self(self.0 - offset) } else { self }
    }
}

impl std::fmt::Display for Lsn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_and_printed_as_postgresql_does() {
        let rows = [
            ("0/0", Some(Lsn(0))),
            ("16/B374D848", Some(Lsn(0x16_B374_D848))),
            ("FFFFFFFF/FFFFFFFF", Some(Lsn(u64::MAX))),
            ("", None),
            ("1", None),
            ("1/", None),
            ("1/G", None),
            ("1/100000000", None),
        ];
        for (text, want) in rows {
            assert_eq!(Lsn::parse(text), want, "{text:?}");
            if let Some(lsn) = want {
                assert_eq!(lsn.to_string(), text);
            }
        }
    }

    #[test]
    fn an_insert_position_behind_a_page_header_is_the_end_of_the_page_before() {
        let rows = [
            ("0/2000028", "0/2000000"),
            ("0/2002018", "0/2002000"),
            ("0/2002000", "0/2002000"),
            ("0/2000020", "0/2000020"),
            ("0/2000100", "0/2000100"),
        ];
        for (inserted, want) in rows {
            let got = Lsn::parse(inserted).unwrap().end_of_record().to_string();
            assert_eq!(got, want, "{inserted}");
        }
    }
}
