//! The console: the virtual database `pgweir`, in PgBouncer's vocabulary.
//!
//! [`command`] reads texts, [`show`] draws tables from the running parts, [`conversation`] speaks the
//! protocol; none of them knows a socket. [`Console`] is the driver for one client: it moves bytes
//! and runs commands, one at a time.

mod clock;
mod command;
mod conversation;
pub(crate) mod history;
mod show;
mod table;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use bytes::BytesMut;
use pgweir_pool::Stream;
use pgweir_protocol::error::ProtocolError;
use pgweir_protocol::frame::{HEADER_LENGTH, Header};
use pgweir_protocol::report::{Report, Severity};
use pgweir_protocol::sqlstate::SqlState;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::gateway::{ClientHandle, Gateway, Signal};
use crate::serve::{Ending, shutting_down};

use clock::Clock;
use command::Command;
use conversation::{Answer, Conversation, Next};
use show::View;

/// The largest message of a console client, in bytes.
const MAX_MESSAGE: usize = 64 << 10;

/// Room for one read, in bytes.
const READ: usize = 4 << 10;

/// One administrator's client.
#[derive(Debug)]
pub(crate) struct Console {
    stream: Stream,
    gateway: Arc<Gateway>,
    handle: Arc<ClientHandle>,
    input: BytesMut,
    conversation: Conversation,
}

impl Console {
    pub(crate) fn new(stream: Stream, gateway: Arc<Gateway>, handle: Arc<ClientHandle>) -> Self {
        let (input, conversation) = (BytesMut::new(), Conversation::new());
        Self { stream, gateway, handle, input, conversation }
    }

    /// Serves the client to its end; the socket is left to be closed.
    pub(crate) async fn serve(mut self) -> (Ending, Stream) {
        let ending = loop {
            let mut out = Vec::new();
            let next = self.take_messages(&mut out);
            self.handle.account.work.sent.add(out.len() as u64);
            if let Err(error) = self.write(&out).await {
                break Ending::Io(error.kind());
            }
            match next {
                Ok(()) => {}
                Err(ending) => break ending,
            }
            if let Err(ending) = self.read().await {
                break ending;
            }
        };
        (ending, self.stream)
    }

    async fn write(&mut self, out: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(out).await?;
        self.stream.flush().await
    }

    /// Reads more of the client's bytes, or heeds a signal.
    async fn read(&mut self) -> Result<(), Ending> {
        self.input.reserve(READ);
        let handle = &self.handle;
        let signalled = poll_fn(|cx| match handle.signal(cx) {
            // There is no server to cancel anything on, and no command that runs for long.
            Signal::None | Signal::Cancel => Poll::Pending,
            Signal::Drain | Signal::Kill => Poll::Ready(()),
        });
        tokio::select! {
            read = self.stream.read_buf(&mut self.input) => match read {
                Ok(0) => Err(Ending::Left),
                Ok(_) => Ok(()),
                Err(error) => Err(Ending::Io(error.kind())),
            },
            () = signalled => {
                let mut out = Vec::new();
                shutting_down().encode_error(&mut out);
                let _ = self.write(&out).await;
                Err(Ending::Shutdown)
            }
        }
    }

    /// Takes every whole message there is.
    fn take_messages(&mut self, out: &mut Vec<u8>) -> Result<(), Ending> {
        loop {
            let header = match Header::read(&self.input) {
                Ok(Some(header)) if header.length > MAX_MESSAGE => {
                    too_long(&header).encode_error(out);
                    return Err(Ending::Violation);
                }
                Ok(Some(header)) => header,
                Ok(None) => return Ok(()),
                Err(error) => {
                    Report::from(&error).encode_error(out);
                    return Err(Ending::Violation);
                }
            };
            if self.input.len() < header.length {
                return Ok(());
            }
            let frame = self.input.split_to(header.length);
            self.handle.account.work.received.add(header.length as u64);
            self.take_message(header.tag, frame.get(HEADER_LENGTH..).unwrap_or_default(), out)?;
        }
    }

    fn take_message(&mut self, tag: u8, body: &[u8], out: &mut Vec<u8>) -> Result<(), Ending> {
        let mut next = self.conversation.message(tag, body, out);
        loop {
            match next {
                Next::Message => return Ok(()),
                Next::Close if tag == b'X' => return Err(Ending::Left),
                Next::Close => return Err(Ending::Violation),
                Next::Run(command) => {
                    let answer = self.run(&command);
                    next = self.conversation.answered(answer, out);
                }
            }
        }
    }

    fn run(&self, command: &Command) -> Result<Answer, Report> {
        self.handle.account.work.queries.add(1);
        self.handle.account.work.transactions.add(1);
        match command {
            Command::Show(show) => {
                let view = View { gateway: &self.gateway, clock: Clock::read() };
                Ok(Answer { rows: (show.rows)(&view), notice: None })
            }
            Command::Help => Ok(Answer { rows: Vec::new(), notice: Some(help()) }),
            Command::Transaction(_) | Command::Ignored => Ok(Answer::default()),
        }
    }
}

/// What SHOW HELP says, as PgBouncer does: a notice.
fn help() -> Report {
    let mut lines = String::from("\n\tSHOW HELP");
    for show in &show::TABLES {
        lines.push_str(&format!("\n\tSHOW {:<14} {}", show.name.to_uppercase(), show.about));
    }
    Report::new(Severity::Notice, SqlState::SUCCESSFUL_COMPLETION, "Console usage")
        .with_detail(lines)
}

fn too_long(header: &Header) -> Report {
    Report::from(&ProtocolError::InvalidLength {
        frame: "console message",
        length: i64::try_from(header.length - 1).unwrap_or(i64::MAX),
        least: 4,
        most: MAX_MESSAGE,
    })
}
