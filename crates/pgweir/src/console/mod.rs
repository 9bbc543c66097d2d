//! The console: the virtual database `pgweir`, in PgBouncer's vocabulary.
//!
//! [`command`] reads texts, [`show`] draws tables from the running parts, [`conversation`] speaks the
//! protocol; none of them knows a socket. [`Console`] is the driver for one client: it moves bytes
//! and runs commands, one at a time.

mod act;
mod clock;
mod command;
mod conversation;
pub(crate) mod gates;
pub(crate) mod history;
pub(crate) mod json;
mod show;
mod table;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use pgweir_pool::Stream;
use pgweir_protocol::error::ProtocolError;
use pgweir_protocol::frame::{HEADER_LENGTH, Header};
use pgweir_protocol::report::{Report, Severity};
use pgweir_protocol::sqlstate::SqlState;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::config::{Admin, Problem};
use crate::gateway::{ClientHandle, Gateway, Shutdown, Signal};
use crate::reload::{Trigger, Wish};
use crate::serve::{Ending, cancelled, shutting_down};

use act::Wait;
use clock::Clock;
use command::{Action, Command};
use conversation::{Answer, Conversation, Next};
use show::View;

pub(crate) use show::{ACTIVITIES, activity, resident};

/// The largest message of a console client, in bytes.
const MAX_MESSAGE: usize = 64 << 10;

/// How often it is looked whether what a command waits for has come.
const WAIT_PACE: Duration = Duration::from_millis(20);

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
    /// What is to be done once the answer to it is out.
    shutdown: Option<Shutdown>,
}

impl Console {
    pub(crate) fn new(stream: Stream, gateway: Arc<Gateway>, handle: Arc<ClientHandle>) -> Self {
        Self {
            stream,
            gateway,
            handle,
            input: BytesMut::new(),
            conversation: Conversation::new(),
            shutdown: None,
        }
    }

    /// Serves the client to its end; the socket is left to be closed.
    pub(crate) async fn serve(mut self) -> (Ending, Stream) {
        let ending = loop {
            let mut out = Vec::new();
            let next = self.take_messages(&mut out).await;
            self.handle.account.work.sent.add(out.len() as u64);
            if let Err(error) = self.write(&out).await {
                break Ending::Io(error.kind());
            }
            if let Some(shutdown) = self.shutdown.take() {
                self.gateway.shut_down(shutdown);
            }
            if let Err(ending) = next {
                break ending;
            }
            match self.read().await {
                // There is no server to cancel anything on.
                Ok(()) | Err(Disturbed::Cancelled) => {}
                Err(Disturbed::Ended(ending)) => break ending,
            }
        };
        (ending, self.stream)
    }

    async fn write(&mut self, out: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(out).await?;
        self.stream.flush().await
    }

    /// Reads more of the client's bytes, or heeds a signal.
    async fn read(&mut self) -> Result<(), Disturbed> {
        self.input.reserve(READ);
        let handle = &self.handle;
        let signalled = poll_fn(|cx| match handle.signal(cx) {
            Signal::None => Poll::Pending,
            signal => Poll::Ready(signal),
        });
        tokio::select! {
            read = self.stream.read_buf(&mut self.input) => match read {
                Ok(0) => Err(Disturbed::Ended(Ending::Left)),
                Ok(_) => Ok(()),
                Err(error) => Err(Disturbed::Ended(Ending::Io(error.kind()))),
            },
            signal = signalled => {
                match signal {
                    Signal::Cancel => return Err(Disturbed::Cancelled),
                    // What is in force is looked up by each command.
                    Signal::Renew => return Ok(()),
                    _ => {}
                }
                let mut out = Vec::new();
                shutting_down().encode_error(&mut out);
                let _ = self.write(&out).await;
                Err(Disturbed::Ended(Ending::Shutdown))
            }
        }
    }

    /// Takes every whole message there is.
    async fn take_messages(&mut self, out: &mut Vec<u8>) -> Result<(), Ending> {
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
            let body = frame.get(HEADER_LENGTH..).unwrap_or_default();
            self.take_message(header.tag, body, out).await?;
        }
    }

    async fn take_message(
        &mut self,
        tag: u8,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Ending> {
        let mut next = self.conversation.message(tag, body, out);
        loop {
            match next {
                Next::Message => return Ok(()),
                Next::Close if tag == b'X' => return Err(Ending::Left),
                Next::Close => return Err(Ending::Violation),
                Next::Run(command) => {
                    let answer = self.run(&command).await?;
                    next = self.conversation.answered(answer, out);
                }
            }
        }
    }

    /// Runs a command; an error is the client's end.
    async fn run(&mut self, command: &Command) -> Result<Result<Answer, Report>, Ending> {
        self.handle.account.work.queries.add(1);
        self.handle.account.work.transactions.add(1);
        match command {
            Command::Show(show) => {
                let view =
                    View { gateway: &self.gateway, now: self.gateway.now(), clock: Clock::read() };
                Ok(Ok(Answer { rows: (show.rows)(&view), notice: None }))
            }
            Command::Help => Ok(Ok(Answer { rows: Vec::new(), notice: Some(help()) })),
            Command::Transaction(_) | Command::Ignored => Ok(Ok(Answer::default())),
            Command::Act(_) if self.rights() != Admin::Full => Ok(Err(read_only())),
            Command::Act(action) => self.act(action).await,
        }
    }

    /// What the user may do, as of now.
    fn rights(&self) -> Admin {
        let now = self.gateway.now();
        let user = now.config().users.get(&self.handle.account.identity.user);
        user.map_or(Admin::No, |user| user.admin)
    }

    async fn act(&mut self, action: &Action) -> Result<Result<Answer, Report>, Ending> {
        let command = action.shown();
        self.handle.span().in_scope(|| tracing::info!(command, "console command"));
        let wish = match action {
            Action::Reload => Some(Wish::Reload),
            Action::Set(key, values) => {
                Some(Wish::Set { key: key.clone(), values: values.clone() })
            }
            _ => None,
        };
        if let Some(wish) = wish {
            return Ok(configure(wish, &self.gateway).await);
        }
        let wait = match act::act(action, &self.gateway) {
            Ok(wait) => wait,
            Err(report) => return Ok(Err(report)),
        };
        if let Action::Shutdown(shutdown) = action {
            self.shutdown = Some(*shutdown);
        }
        let Some(wait) = wait else {
            return Ok(Ok(Answer::default()));
        };
        match self.wait(&wait).await {
            Ok(()) => Ok(Ok(Answer::default())),
            Err(disturbed) => {
                wait.give_up(&self.gateway);
                match disturbed {
                    Disturbed::Cancelled => Ok(Err(cancelled())),
                    Disturbed::Ended(ending) => Err(ending),
                }
            }
        }
    }

    /// Waits, for as long as the client does.
    async fn wait(&mut self, wait: &Wait) -> Result<(), Disturbed> {
        while !wait.is_over(&self.gateway) {
            let look_again = tokio::time::sleep(WAIT_PACE);
            if self.input.len() >= MAX_MESSAGE {
                look_again.await;
                continue;
            }
            tokio::select! {
                () = look_again => {}
                read = self.read() => read?,
            }
        }
        Ok(())
    }
}

/// Reloads the configuration, or sets a key of it.
async fn configure(wish: Wish, gateway: &Gateway) -> Result<Answer, Report> {
    let is_reload = wish == Wish::Reload;
    let Some(outcome) = gateway.reloads.ask(wish, Trigger::Console).await else {
        let message = "pgweir: nobody reloads configurations here";
        return Err(Report::new(Severity::Error, SqlState::CANNOT_CONNECT_NOW, message));
    };
    match outcome {
        Ok(changes) => {
            let lines: Vec<String> = changes.iter().map(ToString::to_string).collect();
            let count = match lines.len() {
                0 => "nothing has changed".to_owned(),
                1 => "one key has changed".to_owned(),
                more => format!("{more} keys have changed"),
            };
            let notice = Report::new(Severity::Notice, SqlState::SUCCESSFUL_COMPLETION, count);
            let notice =
                if lines.is_empty() { notice } else { notice.with_detail(lines.join("\n")) };
            Ok(Answer { rows: Vec::new(), notice: Some(notice) })
        }
        Err(problems) => Err(refused(&problems, is_reload)),
    }
}

/// Every problem, in the words of `pgweir check`. A value that was set is in no file.
fn refused(problems: &[Problem], is_reload: bool) -> Report {
    let line = |problem: &Problem| match &problem.suggestion {
        _ if is_reload => problem.to_string(),
        Some(suggestion) => format!("{}: {} ({suggestion})", problem.key, problem.message),
        None => format!("{}: {}", problem.key, problem.message),
    };
    let lines: Vec<String> = problems.iter().map(line).collect();
    let first = lines.first().map_or("", String::as_str);
    let (code, what) = match is_reload {
        true => (SqlState::CONFIG_FILE_ERROR, "configuration refused"),
        false => (SqlState::INVALID_PARAMETER_VALUE, "value refused"),
    };
    let report = Report::new(Severity::Error, code, format!("pgweir: {what}: {first}"))
        .with_hint("Nothing has changed; the configuration in force stays so.");
    if lines.len() > 1 { report.with_detail(lines.join("\n")) } else { report }
}

/// What ends a wait for the client.
enum Disturbed {
    /// A cancel request.
    Cancelled,
    /// The client's end.
    Ended(Ending),
}

fn read_only() -> Report {
    let message = "pgweir: this user may only look";
    Report::new(Severity::Error, SqlState::INSUFFICIENT_PRIVILEGE, message)
        .with_hint("In auth.users_file, admin = true gives all rights.")
}

/// What SHOW HELP says, as PgBouncer does: a notice.
fn help() -> Report {
    let mut lines = String::from("\n\tSHOW HELP");
    for show in &show::TABLES {
        lines.push_str(&format!("\n\tSHOW {:<21} {}", show.name.to_uppercase(), show.about));
    }
    for (usage, about) in command::USAGE {
        lines.push_str(&format!("\n\t{usage:<26} {about}"));
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
