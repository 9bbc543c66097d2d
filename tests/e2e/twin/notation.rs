//! Messages as people write them: `Parse s "select $1" 23 | Bind "" s "1" | Execute "" 0 | Sync`.
//!
//! A client's message is its name in the manual (55.7 Message Formats) and its fields in their
//! order there, as in the golden conversations of the protocol crate; the bytes are made here by
//! the manual, without any of pgweir's own code. Beyond the manual's names there are
//!
//! * `Run "sql" VALUE…`: Parse, Bind, Describe and Execute of the unnamed statement and portal;
//! * `frame Q "body"`: any tag and any body; `bytes 51 00 ff`: anything.
//!
//! A value is a string or `null`. `in 0 1` in front of a Bind's values, and `out 1` behind them, are
//! the formats of parameters and results. In a string, `\n`, `\t`, `\0`, `\xff`, `\"` and `\\` mean
//! what they mean in C, and `\$3;` is `$1, $2, $3`. `"x"~500` is filled with blanks to 500 bytes,
//! `"x"*500` is said 500 times over in one string, and `"x" times 500` is 500 values.
//!
//! What a server says is only ever compared and shown: [`Ear`] turns it into words that keep every
//! field.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::harness::{Failure, Frame};

/// Numbers of objects from here on are given by the server in the order of their making
/// (`FirstNormalObjectId`).
const FIRST_OWN_OBJECT: u32 = 16_384;

/// A client's message: what it is called, and its bytes.
pub(crate) type Said = (String, Vec<u8>);

/// Client messages: name, tag, fields.
///
/// s: string; n: number; t: bytes to the end; k: a byte; o: types; b: a Bind's values with their
/// formats; f: a FunctionCall's.
const MESSAGES: &[(&str, u8, &str)] = &[
    ("Query", b'Q', "s"),
    ("Parse", b'P', "sso"),
    ("Bind", b'B', "ssb"),
    ("Describe", b'D', "ks"),
    ("Execute", b'E', "sn"),
    ("Close", b'C', "ks"),
    ("Sync", b'S', ""),
    ("Flush", b'H', ""),
    ("Terminate", b'X', ""),
    ("FunctionCall", b'F', "nf"),
    ("CopyData", b'd', "t"),
    ("CopyDone", b'c', ""),
    ("CopyFail", b'f', "s"),
];

// ---- words to bytes ----

/// The messages of one line.
///
/// # Errors
/// What cannot be understood, in words.
pub(crate) fn encode(line: &str) -> Result<Vec<Said>, String> {
    let mut words = Words { rest: line };
    let mut said = Vec::new();
    loop {
        said.extend(message(&mut words).map_err(|why| format!("{why}, in {line:?}"))?);
        match words.next()? {
            None => return Ok(said),
            Some(Word::Bar) => {}
            Some(word) => return Err(format!("{word:?} was not expected in {line:?}")),
        }
    }
}

fn message(words: &mut Words<'_>) -> Result<Vec<Said>, String> {
    let name = words.plain()?.ok_or("a message's name is missing")?;
    match name.as_str() {
        "bytes" => {
            let mut bytes = Vec::new();
            while let Some(byte) = words.plain()? {
                bytes.push(u8::from_str_radix(&byte, 16).map_err(|_| format!("no byte: {byte}"))?);
            }
            Ok(vec![(name, bytes)])
        }
        "frame" => {
            let tag = words.plain()?.ok_or("a tag is missing")?;
            let body = words.string()?;
            Ok(vec![(name, frame(tag.as_bytes()[0], &body))])
        }
        "Run" => run(words),
        _ => {
            let known = MESSAGES.iter().find(|message| message.0 == name);
            let (_, tag, fields) = known.ok_or_else(|| format!("no message {name:?}"))?;
            let mut body = Vec::new();
            for field in fields.chars() {
                put_field(field, words, &mut body)?;
            }
            Ok(vec![(name, frame(*tag, &body))])
        }
    }
}

fn run(words: &mut Words<'_>) -> Result<Vec<Said>, String> {
    let sql = words.string()?;
    let mut bind = vec![0, 0];
    put_bind(words, &mut bind)?;
    let parse = [&[0][..], &sql, &[0, 0, 0]].concat();
    Ok(vec![
        ("Parse".to_owned(), frame(b'P', &parse)),
        ("Bind".to_owned(), frame(b'B', &bind)),
        ("Describe".to_owned(), frame(b'D', b"P\0")),
        ("Execute".to_owned(), frame(b'E', &[0; 5])),
    ])
}

/// One message's bytes.
pub(crate) fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[tag][..], &length, body].concat()
}

fn put_field(field: char, words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), String> {
    match field {
        's' => {
            out.extend(words.string()?);
            out.push(0);
        }
        't' => out.extend(words.string()?),
        'n' => out.extend(number::<i32>(&words.string()?)?.to_be_bytes()),
        'k' => out.extend(words.string()?),
        'o' => put_types(words, out)?,
        'b' => put_bind(words, out)?,
        'f' => {
            put_formats("in", words, out)?;
            put_values(words, out)?;
            let format = words.formats("out")?;
            out.extend(format.first().copied().unwrap_or(0).to_be_bytes());
        }
        other => return Err(format!("no field {other:?}")),
    }
    Ok(())
}

fn put_types(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), String> {
    let mut types = Vec::new();
    while let Some(word) = words.plain()? {
        match (word.as_str(), types.last().copied()) {
            ("times", Some(last)) => {
                types.extend(vec![last; number::<usize>(&words.string()?)? - 1]);
            }
            _ => types.push(number::<u32>(&word)?),
        }
    }
    put_count(types.len(), out);
    out.extend(types.iter().flat_map(|oid| oid.to_be_bytes()));
    Ok(())
}

fn put_bind(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), String> {
    put_formats("in", words, out)?;
    put_values(words, out)?;
    put_formats("out", words, out)
}

fn put_formats(word: &str, words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), String> {
    let formats = words.formats(word)?;
    put_count(formats.len(), out);
    out.extend(formats.iter().flat_map(|format| format.to_be_bytes()));
    Ok(())
}

fn put_values(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), String> {
    let mut values: Vec<Option<Vec<u8>>> = Vec::new();
    while let Some(value) = words.value()? {
        values.push(value);
        if words.eat("times")? {
            let last = values.last().cloned().unwrap();
            values.extend(vec![last; number::<usize>(&words.string()?)? - 1]);
        }
    }
    put_count(values.len(), out);
    for value in values {
        let length = value.as_ref().map_or(-1, |value| i32::try_from(value.len()).unwrap());
        out.extend(length.to_be_bytes());
        out.extend(value.unwrap_or_default());
    }
    Ok(())
}

fn put_count(count: usize, out: &mut Vec<u8>) {
    out.extend(u16::try_from(count).unwrap().to_be_bytes());
}

fn number<T: std::str::FromStr>(text: impl AsRef<[u8]>) -> Result<T, String> {
    let text = String::from_utf8_lossy(text.as_ref());
    text.parse().map_err(|_| format!("no number: {text}"))
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Plain(String),
    Quoted(Vec<u8>),
    Bar,
}

/// Cuts a line into words.
#[derive(Debug, Clone)]
struct Words<'a> {
    rest: &'a str,
}

impl Words<'_> {
    fn next(&mut self) -> Result<Option<Word>, String> {
        let rest = self.rest.trim_start();
        match rest.chars().next() {
            None => {
                self.rest = rest;
                Ok(None)
            }
            Some('|') => {
                self.rest = &rest[1..];
                Ok(Some(Word::Bar))
            }
            Some('"') => {
                self.rest = &rest[1..];
                self.quoted().map(|text| Some(Word::Quoted(text)))
            }
            Some(_) => {
                let end = rest.find(|c: char| c.is_whitespace() || c == '|').unwrap_or(rest.len());
                self.rest = &rest[end..];
                Ok(Some(Word::Plain(rest[..end].to_owned())))
            }
        }
    }

    fn quoted(&mut self) -> Result<Vec<u8>, String> {
        let mut text = Vec::new();
        loop {
            let Some((end, mark)) = self.rest.char_indices().find(|(_, c)| "\"\\".contains(*c))
            else {
                return Err(format!("no end of the string {:?}", self.rest));
            };
            text.extend(&self.rest.as_bytes()[..end]);
            self.rest = &self.rest[end + 1..];
            if mark == '"' {
                return self.multiplied(text);
            }
            self.escaped(&mut text)?;
        }
    }

    fn escaped(&mut self, text: &mut Vec<u8>) -> Result<(), String> {
        let mark = self.rest.chars().next().ok_or("nothing behind a backslash")?;
        self.rest = &self.rest[mark.len_utf8()..];
        match mark {
            'n' => text.push(b'\n'),
            't' => text.push(b'\t'),
            '0' => text.push(0),
            'x' => {
                let digits = self.rest.get(..2).ok_or("two digits are missing")?;
                text.push(u8::from_str_radix(digits, 16).map_err(|_| format!("no byte {digits}"))?);
                self.rest = &self.rest[2..];
            }
            '$' => {
                let (count, rest) = self.rest.split_once(';').ok_or("no ; behind \\$")?;
                let names: Vec<String> =
                    (1..=number::<u32>(count)?).map(|at| format!("${at}")).collect();
                text.extend(names.join(", ").as_bytes());
                self.rest = rest;
            }
            other => text.extend(other.to_string().as_bytes()),
        }
        Ok(())
    }

    fn multiplied(&mut self, mut text: Vec<u8>) -> Result<Vec<u8>, String> {
        let Some(mark) = self.rest.chars().next().filter(|mark| "~*".contains(*mark)) else {
            return Ok(text);
        };
        let rest = &self.rest[1..];
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let count: usize = number(&rest[..end])?;
        self.rest = &rest[end..];
        match mark {
            '~' => text.resize(count.max(text.len()), b' '),
            _ => text = text.repeat(count),
        }
        Ok(text)
    }

    /// A word, quoted or not, that has to be there.
    fn string(&mut self) -> Result<Vec<u8>, String> {
        match self.next()? {
            Some(Word::Plain(text)) => Ok(text.into_bytes()),
            Some(Word::Quoted(text)) => Ok(text),
            other => Err(format!("a word was expected, not {other:?}")),
        }
    }

    /// An unquoted word, if that is what follows.
    fn plain(&mut self) -> Result<Option<String>, String> {
        let before = self.rest;
        match self.next()? {
            Some(Word::Plain(text)) => Ok(Some(text)),
            _ => {
                self.rest = before;
                Ok(None)
            }
        }
    }

    /// Takes this word, if it is what follows.
    fn eat(&mut self, word: &str) -> Result<bool, String> {
        let before = self.rest;
        let is_next = self.plain()?.is_some_and(|plain| plain == word);
        if !is_next {
            self.rest = before;
        }
        Ok(is_next)
    }

    /// A value: a quoted string, or `null`.
    fn value(&mut self) -> Result<Option<Option<Vec<u8>>>, String> {
        let before = self.rest;
        match self.next()? {
            Some(Word::Quoted(text)) => Ok(Some(Some(text))),
            Some(Word::Plain(text)) if text == "null" => Ok(Some(None)),
            _ => {
                self.rest = before;
                Ok(None)
            }
        }
    }

    /// Formats behind this word, if it is there.
    fn formats(&mut self, word: &str) -> Result<Vec<u16>, String> {
        let mut formats = Vec::new();
        if self.eat(word)? {
            while let Some(format) = self.clone().plain()?.and_then(|word| word.parse().ok()) {
                self.plain()?;
                formats.push(format);
            }
        }
        Ok(formats)
    }
}

// ---- bytes to words ----

/// Turns what a server says into words, one string a message. What no two connections have in
/// common is masked, and nothing else:
///
/// * the process id of a NotificationResponse, and process ids in reports (`process 123`, `PID 123`);
/// * the numbers of objects made by users, which are told apart by the order in which they come up:
///   the server counts them over all sessions;
/// * file, line and routine of an error 25P02: a statement that the server has to be given once more
///   is refused by Parse there, and not by what the client said;
/// * `in_hot_standby`, which is a server's own: another server's is not the client's.
#[derive(Debug, Default)]
pub(crate) struct Ear {
    objects: BTreeMap<u32, usize>,
}

impl Ear {
    /// One message; none if it is nobody's business.
    pub(crate) fn hear(&mut self, frame: &Frame) -> Option<String> {
        let body = &frame.body;
        let words = match frame.tag {
            b'S' if body.starts_with(b"in_hot_standby\0") => return None,
            b'S' => format!("ParameterStatus {}", strings(body).join(" = ")),
            b'T' => format!("RowDescription {}", self.columns(body)),
            b'D' => format!("DataRow {}", values(body)),
            b'C' => format!("CommandComplete {}", strings(body).join("?")),
            b'Z' => format!("ReadyForQuery {}", body.escape_ascii()),
            b'E' => format!("ErrorResponse {}", report(body)),
            b'N' => format!("NoticeResponse {}", report(body)),
            b'A' => format!("NotificationResponse {}", strings(&body[4..]).join(" ")),
            b't' => format!("ParameterDescription {}", self.types(body)),
            b'V' => format!("FunctionCallResponse {}", body.escape_ascii()),
            b'G' => format!("CopyInResponse {}", body.escape_ascii()),
            b'H' => format!("CopyOutResponse {}", body.escape_ascii()),
            b'd' => format!("CopyData {}", body.escape_ascii()),
            tag => format!("{} {}", name(tag), body.escape_ascii()),
        };
        Some(words.trim_end().to_owned())
    }

    fn object(&mut self, oid: u32) -> String {
        if oid < FIRST_OWN_OBJECT {
            return oid.to_string();
        }
        let next = self.objects.len() + 1;
        format!("own{}", self.objects.entry(oid).or_insert(next))
    }

    fn types(&mut self, body: &[u8]) -> String {
        let types = body[2..].chunks_exact(4);
        let types: Vec<String> = types.map(|oid| self.object(number_at(oid, 0))).collect();
        types.join(" ")
    }

    fn columns(&mut self, body: &[u8]) -> String {
        let mut rest = &body[2..];
        let mut text = String::new();
        while let Some(end) = rest.iter().position(|&byte| byte == 0) {
            let (name, after) = rest.split_at(end + 1);
            let (of, after) = after.split_at(18);
            let table = self.object(number_at(of, 0));
            let kind = self.object(number_at(of, 6));
            let name = name[..end].escape_ascii();
            let (column, rest_of) = (of[4..6].escape_ascii(), of[10..].escape_ascii());
            let _ = write!(text, "{name}:{kind}({table}.{column} {rest_of}) ");
            rest = after;
        }
        text
    }
}

fn name(tag: u8) -> String {
    let names = [
        (b'1', "ParseComplete"),
        (b'2', "BindComplete"),
        (b'3', "CloseComplete"),
        (b'n', "NoData"),
        (b'I', "EmptyQueryResponse"),
        (b's', "PortalSuspended"),
        (b'c', "CopyDone"),
    ];
    let known = names.iter().find(|(known, _)| *known == tag);
    known.map_or_else(|| format!("message {}", char::from(tag)), |(_, name)| (*name).to_owned())
}

fn number_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// The strings of a body, each up to its zero.
fn strings(body: &[u8]) -> Vec<String> {
    let body = body.strip_suffix(&[0]).unwrap_or(body);
    body.split(|&byte| byte == 0).map(|text| text.escape_ascii().to_string()).collect()
}

fn values(body: &[u8]) -> String {
    let mut rest = &body[2..];
    let mut text = String::new();
    while !rest.is_empty() {
        let length = usize::try_from(number_at(rest, 0).cast_signed());
        rest = &rest[4..];
        let Ok(length) = length else {
            text.push_str("null ");
            continue;
        };
        let (value, after) = rest.split_at(length);
        let _ = write!(text, "\"{}\" ", value.escape_ascii());
        rest = after;
    }
    text
}

fn report(body: &[u8]) -> String {
    let failure = Failure::parse(body);
    let is_aborted = failure.code() == "25P02";
    let field = |(letter, text): (&char, &String)| format!("{letter}={}", without_processes(text));
    let fields = failure.fields().iter();
    let fields = fields.filter(|(letter, _)| !is_aborted || !"FLR".contains(**letter));
    fields.map(field).collect::<Vec<_>>().join(" ")
}

/// A report's text without the numbers of processes.
fn without_processes(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((at, word)) =
        ["process ", "PID "].iter().filter_map(|word| rest.find(word).map(|at| (at, word))).min()
    {
        let (before, after) = rest.split_at(at + word.len());
        out.push_str(before);
        let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        if digits > 0 {
            out.push('_');
        }
        rest = &after[digits..];
    }
    out + rest
}

#[test]
fn what_is_written_becomes_the_manuals_bytes() {
    let rows: [(&str, &[u8]); 8] = [
        (r#"Query "a\n\x00""#, b"Q\0\0\0\x08a\n\0\0"),
        (r#"Parse s "x" 23 25"#, b"P\0\0\0\x12s\0x\0\0\x02\0\0\0\x17\0\0\0\x19"),
        (
            r#"Bind p s in 1 "a" null out 0 1"#,
            b"B\0\0\0\x1dp\0s\0\0\x01\0\x01\0\x02\0\0\0\x01a\xff\xff\xff\xff\0\x02\0\0\0\x01",
        ),
        (r#"Execute "" 7 | Sync"#, b"E\0\0\0\x09\0\0\0\0\x07S\0\0\0\x04"),
        (r#"FunctionCall 9 "a" out 1"#, b"F\0\0\0\x13\0\0\0\x09\0\0\0\x01\0\0\0\x01a\0\x01"),
        (r#"CopyData "a"*3 | CopyFail "b"~2"#, b"d\0\0\0\x07aaaf\0\0\0\x07b \0"),
        (r#"frame Q "x" | bytes 00 ff"#, b"Q\0\0\0\x05x\0\xff"),
        (r#"Query "\$3;""#, b"Q\0\0\0\x0f$1, $2, $3\0"),
    ];
    for (line, want) in rows {
        let got: Vec<u8> = encode(line).unwrap().into_iter().flat_map(|(_, bytes)| bytes).collect();
        assert_eq!(got.escape_ascii().to_string(), want.escape_ascii().to_string(), "{line}");
    }
    let run = encode(r#"Run "x" "1" times 2 | Sync"#).unwrap();
    let names: Vec<&str> = run.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Parse", "Bind", "Describe", "Execute", "Sync"]);
    for wrong in ["Quer \"x\"", "Query", "Query \"x", "Execute \"\" many", "Sync Sync"] {
        assert!(encode(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn numbers_of_processes_are_masked_and_others_are_not() {
    let text = "process 12 waits for 34; PID 5; process of 6";
    assert_eq!(without_processes(text), "process _ waits for 34; PID _; process of 6");
}
