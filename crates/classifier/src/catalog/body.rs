//! What the body of a function does, as far as its text tells.
//!
//! A body in SQL is read by the grammar, like any text. For PL/pgSQL there is no grammar here, and none
//! is needed: every word is taken for whatever it could name (a function, if a parenthesis follows; a
//! relation; a type; a field, behind a point), and only statements that cannot write may begin where a
//! statement begins. That finds more than there is and misses nothing. A body in any other language is
//! believed if its function is declared not to be volatile and nothing in it looks like a way to run SQL.

use crate::hidden::mentioned_settings;
use crate::lex::{
    self,
    tokens::{Token, tokens},
};
use crate::statement::{Judge, setting};
use crate::{Access, Effect, Pin, Verdict};

use super::names::{Kept, Recorder, Traits, Use};

/// Bodies longer than this are not read, in bytes.
pub(crate) const MAX_BODY_BYTES: usize = 128 << 10;

/// What was found in a body, what it calls left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) verdict: Verdict,
    /// What decided, for people.
    pub(crate) why: &'static str,
    pub(crate) traits: Traits,
    pub(crate) uses: Vec<Kept>,
    /// Custom settings (with a point in their names) that it sets, in lower case.
    pub(crate) settings: Vec<Box<str>>,
    /// It may set others, whose names are not in its text, or change what no name tells.
    pub(crate) sets_unknown: bool,
}

impl Body {
    fn harmless() -> Self {
        Self {
            verdict: Verdict::Read,
            why: "",
            traits: Traits::NONE,
            uses: Vec::new(),
            settings: Vec::new(),
            sets_unknown: false,
        }
    }

    /// A body that cannot be read: it may do anything.
    pub(crate) fn opaque(why: &'static str) -> Self {
        let traits = Traits::SESSION.with(Traits::RUNS);
        Self { sets_unknown: true, ..Self::of(Verdict::Unknown, why, traits) }
    }

    /// A body that is not read, because something else says what it does.
    pub(crate) fn of(verdict: Verdict, why: &'static str, traits: Traits) -> Self {
        Self { verdict, why, traits, ..Self::harmless() }
    }

    /// Reads a body in the language of that name.
    pub(crate) fn read(language: &str, text: &str, is_volatile: bool) -> Self {
        if text.len() > MAX_BODY_BYTES {
            return Self::opaque("a body too long to be read");
        }
        let read = |standard_strings| match language {
            "sql" => sql(text, standard_strings),
            "plpgsql" => words(text, standard_strings),
            _ => foreign(text, is_volatile),
        };
        let mut body = read(true);
        if text.contains('\\') {
            // What a backslash means is the session's to say.
            body = body.or(read(false));
        }
        if body.verdict > Verdict::Primary && defines_objects(text) {
            body.traits = body.traits.with(Traits::DEFINES);
        }
        body
    }

    /// What may be either of two.
    fn or(mut self, other: Self) -> Self {
        self.raise(other.verdict, other.why);
        self.traits = self.traits.with(other.traits);
        self.uses.extend(other.uses);
        self.settings.extend(other.settings);
        self.sets_unknown |= other.sets_unknown;
        self
    }

    fn raise(&mut self, verdict: Verdict, why: &'static str) {
        if verdict > self.verdict {
            self.verdict = verdict;
            self.why = why;
        }
    }

    /// It runs SQL that is made while it runs.
    fn runs_text(&mut self) {
        self.raise(Verdict::RunsText, "dynamic SQL");
        self.traits = self.traits.with(Traits::SESSION).with(Traits::RUNS);
        self.sets_unknown = true;
    }
}

/// What SQL that is given as text uses; `None` if it does more than read, or if its session has a say.
pub(crate) fn uses_of_query(text: &str) -> Option<Vec<Kept>> {
    if text.len() > MAX_BODY_BYTES {
        return None;
    }
    let body = Body::read("sql", text, true);
    let reads = body.verdict == Verdict::Read && body.traits == Traits::NONE;
    reads.then_some(body.uses)
}

/// True if code has the words that objects are created, changed and dropped with, in quotes or not. A
/// column that is called `created_at` is none of them.
#[must_use]
pub fn defines_objects(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["create", "alter", "drop"].iter().any(|word| has_word(&text, word))
}

fn has_word(text: &str, word: &str) -> bool {
    let is_of_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (text.get(..at), text.get(at + word.len()..));
        let mut before = before.unwrap_or_default().chars().rev();
        // The letter of an escape (`E'\nCREATE …'`) is not the word's.
        let begins = !before.next().is_some_and(is_of_word) || before.next() == Some('\\');
        begins && !after.unwrap_or_default().starts_with(is_of_word)
    })
}

// ---- SQL ----

fn sql(text: &str, standard_strings: bool) -> Body {
    let Ok(scan) = lex::scan(text.as_bytes(), standard_strings) else {
        return Body::opaque("a body that cannot be read");
    };
    let dialect = if standard_strings {
        pg_query::ParserOptions::DEFAULT
    } else {
        pg_query::ParserOptions::DISABLE_STANDARD_CONFORMING_STRINGS
    };
    let blanked = scan.blanked.as_deref().unwrap_or(text.as_bytes());
    let parsed = std::str::from_utf8(blanked).ok().filter(|_| !scan.unreadable);
    let parsed =
        parsed.and_then(|text| Some((text, pg_query::parse(text, dialect).ok()?.protobuf)));
    let Some((text, parsed)) = parsed else {
        return Body::opaque("a body that cannot be read");
    };
    let recorder = Recorder::default();
    let mut body = Body::harmless();
    let mut judge = Judge::new(text, &recorder);
    for statement in &parsed.stmts {
        let label = judge.statement(statement);
        match label.access {
            Access::Neutral | Access::Read => {}
            Access::Primary => body.raise(Verdict::Primary, label.kind),
            Access::Write => body.raise(Verdict::Write, label.kind),
        }
        for effect in &label.effects {
            body.traits = body.traits.with(trait_of(effect));
        }
    }
    body.uses = recorder.into_uses();
    note_settings(text, &mut body);
    body
}

/// What is left of an effect of one of a function's statements when the function has returned.
fn trait_of(effect: &Effect) -> Traits {
    match effect {
        Effect::Set { local: true, .. }
        | Effect::Reset { local: true, .. }
        | Effect::SetsLocally => Traits::SETS_LOCALLY,
        Effect::ListsStatements => Traits::LISTS_STATEMENTS,
        Effect::DeclareCursor(_) => Traits::NONE,
        Effect::UsesSequence => Traits::USES_SEQUENCE,
        Effect::RecallsSequence => Traits::RECALLS_SEQUENCE,
        Effect::Pin(Pin::Load) => Traits::SESSION.with(Traits::KEEPS_STATE),
        _ => Traits::SESSION,
    }
}

// ---- PL/pgSQL ----

/// What may stand where a statement of PL/pgSQL begins. Manual: "PL/pgSQL".
const STATEMENTS: &[&str] = &[
    "assert",
    "begin",
    "case",
    "close",
    "continue",
    "declare",
    "else",
    "elseif",
    "elsif",
    "end",
    "exception",
    "exit",
    "fetch",
    "for",
    "foreach",
    "get",
    "if",
    "loop",
    "move",
    "null",
    "open",
    "perform",
    "raise",
    "return",
    "select",
    "when",
    "while",
    "with",
];

/// Words that stand for operators, which a search path may have others for (`gram.y`).
const IMPLIED: &[(&str, &[&str])] = &[
    ("between", &["<", "<=", ">", ">="]),
    ("case", &["="]),
    ("distinct", &["="]),
    ("ilike", &["~~*", "!~~*"]),
    ("in", &["=", "<>"]),
    ("like", &["~~", "!~~"]),
    ("natural", &["="]),
    ("nullif", &["="]),
    ("similar", &["~", "!~"]),
    ("using", &["="]),
];

/// Why a function that changes its transaction's modes is not a standby's.
pub(crate) const OF_TRANSACTION: &str = "it changes its transaction's modes";

/// Words that write wherever they stand outside of quotes: statements inside `WITH`, and row locks.
const WRITES: &[&str] = &["delete", "insert", "merge", "update"];

/// Where a reader of PL/pgSQL is.
struct Reader<'t> {
    tokens: &'t [Token],
    /// The next token begins a statement.
    starts: bool,
    /// Between `DECLARE` and `BEGIN`.
    declares: bool,
    /// `CASE` expressions that are open: their `THEN`, `ELSE` and `END` are not PL/pgSQL's.
    cases: usize,
    body: Body,
}

fn words(text: &str, standard_strings: bool) -> Body {
    let Some(tokens) = tokens(text, standard_strings) else {
        return Body::opaque("a body that cannot be read");
    };
    let mut reader =
        Reader { tokens: &tokens, starts: true, declares: false, cases: 0, body: Body::harmless() };
    for at in 0..tokens.len() {
        reader.token(at);
    }
    let mut body = reader.body;
    body.uses.push(Use::Rows.into());
    note_settings(text, &mut body);
    body
}

impl Reader<'_> {
    fn get(&self, at: usize) -> Option<&Token> {
        self.tokens.get(at)
    }

    fn before(&self, at: usize) -> Option<&Token> {
        at.checked_sub(1).and_then(|at| self.tokens.get(at))
    }

    fn token(&mut self, at: usize) {
        let Some(token) = self.tokens.get(at) else { return };
        match token {
            Token::Word(word) => self.word(at, word),
            Token::Quoted(name) => {
                self.starts = false;
                self.name(at, name);
            }
            Token::Operator(run) => self.operator(at, run),
            Token::Mark(';') => self.starts = true,
            Token::Literal(_) | Token::Value | Token::Mark(_) => self.starts = false,
        }
    }

    fn word(&mut self, at: usize, word: &str) {
        let behind_end = self.before(at).is_some_and(|token| token.is_word("end"));
        if WRITES.contains(&word) {
            self.body.raise(Verdict::Write, "a statement that writes");
        } else if word == "share" {
            self.body.raise(Verdict::Write, "FOR SHARE");
        } else if word == "execute" {
            self.body.runs_text();
        } else if self.starts && !self.declares && !self.may_start(at, word) {
            self.body.raise(Verdict::Write, "a statement other than a query");
            self.body.traits = self.body.traits.with(Traits::SESSION);
        }
        match word {
            "declare" if self.starts => self.declares = true,
            "begin" => self.declares = false,
            "case" if !self.starts && !behind_end => self.cases += 1,
            _ => {}
        }
        let implied = IMPLIED.iter().filter(|(of, _)| *of == word).flat_map(|(_, names)| *names);
        for name in implied {
            let used = Use::Operator { schema: None, name, operands: Some(2) };
            self.body.uses.push(used.into());
        }
        let ends_case = word == "end" && self.cases > 0;
        let opens = matches!(word, "begin" | "declare" | "then" | "else" | "loop");
        self.starts = opens && self.cases == 0 && !behind_end;
        self.cases -= usize::from(ends_case);
        self.name(at, word);
    }

    /// A statement's own word, or the name of a variable that is assigned to.
    fn may_start(&self, at: usize, word: &str) -> bool {
        let assigned = match self.get(at + 1) {
            Some(Token::Mark(mark)) => matches!(mark, ':' | '.' | '['),
            Some(Token::Operator(run)) => run.starts_with('='),
            _ => false,
        };
        assigned || STATEMENTS.contains(&word)
    }

    /// A name, for everything it could be the name of.
    fn name(&mut self, at: usize, name: &str) {
        let qualified = self.before(at).is_some_and(|token| token.is_mark('.'));
        let schema = if qualified {
            at.checked_sub(2).and_then(|at| self.tokens.get(at)).and_then(Token::name)
        } else {
            None
        };
        let mut uses = vec![Use::Relation { schema, name }, Use::Type { schema, name }];
        if self.get(at + 1).is_some_and(|token| token.is_mark('(')) {
            if self.is_local_setting(at, name) {
                self.body.traits = self.body.traits.with(Traits::SETS_LOCALLY);
                if self.names_transaction(at) {
                    self.body.raise(Verdict::Primary, OF_TRANSACTION);
                }
            } else {
                uses.push(Use::Function { schema, name, arguments: None });
                if name == "current_setting" && !self.asks_own_setting(at) {
                    self.body.raise(Verdict::Primary, "it asks for a setting of the server's");
                }
            }
        }
        if qualified {
            uses.push(Use::Field(name));
        }
        self.body.uses.extend(uses.into_iter().map(Kept::from));
    }

    /// `current_setting('app.name')`: a setting that the session has made up.
    fn asks_own_setting(&self, at: usize) -> bool {
        let name = self.get(at + 2);
        let ends = |token: &Token| [',', ')', ':'].iter().any(|mark| token.is_mark(*mark));
        matches!(name, Some(Token::Literal(name)) if name.contains('.'))
            && self.get(at + 3).is_some_and(ends)
    }

    /// `set_config(name, value, true)`: gone with the transaction.
    fn is_local_setting(&self, at: usize, name: &str) -> bool {
        name == "set_config" && ends_in_true(self.tokens, at) == Some(true)
    }

    /// `set_config('transaction_read_only', …)`.
    fn names_transaction(&self, at: usize) -> bool {
        matches!(self.get(at + 2), Some(Token::Literal(name)) if setting::is_of_transaction(name))
    }

    fn operator(&mut self, at: usize, run: &str) {
        match run {
            // `<<label>>`
            ">>" if at >= 2 && self.tokens.get(at - 2) == Some(&Token::Operator("<<".into())) => {
                self.starts = true;
            }
            // `#option`, in front of everything
            "#" if at == 0 => self.declares = true,
            _ => self.starts = false,
        }
        // Where a run of several operators is cut does not matter if none of its parts does harm.
        let characters: Vec<char> = run.chars().collect();
        for from in 0..characters.len() {
            for part in (from + 1..=characters.len()).filter_map(|to| characters.get(from..to)) {
                let name: String = part.iter().collect();
                let used = Use::Operator { schema: None, name: &name, operands: None };
                self.body.uses.push(used.into());
            }
        }
    }
}

// ---- settings ----

/// True if the last argument of the call whose name stands at a position is the word `true`.
fn ends_in_true(tokens: &[Token], at: usize) -> Option<bool> {
    let arguments = tokens.get(at + 2..)?;
    let mut depth = 0_usize;
    let end = arguments.iter().position(|token| {
        depth += usize::from(token.is_mark('('));
        let ends = depth == 0 && token.is_mark(')');
        depth -= usize::from(depth > 0 && token.is_mark(')'));
        ends
    })?;
    let last = arguments.get(end.checked_sub(2)?..end);
    Some(matches!(last, Some([Token::Mark(','), word]) if word.is_word("true")))
}

/// Notes the custom settings that a body mentions.
fn note_settings(text: &str, body: &mut Body) {
    let mentioned = mentioned_settings(text);
    body.settings = mentioned.names.into_iter().map(String::into_boxed_str).collect();
    body.sets_unknown |= mentioned.is_dynamic;
}

/// The name of a custom setting in lower case; `None` for one of PostgreSQL's own.
pub(crate) fn custom(name: &str) -> Option<Box<str>> {
    name.contains('.').then(|| name.to_ascii_lowercase().into())
}

// ---- other languages ----

/// What leads from another language to SQL.
const SQL_MARKS: &[&str] = &["spi_", "plpy", "execute", "plv8", "query", "dbi", "exec"];

/// A body in a language that is not read.
fn foreign(text: &str, is_volatile: bool) -> Body {
    let text = text.to_ascii_lowercase();
    if is_volatile || SQL_MARKS.iter().any(|mark| text.contains(mark)) {
        return Body::opaque("code in another language");
    }
    Body::harmless()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(language: &str, text: &str) -> String {
        let body = Body::read(language, text, true);
        let session = if body.traits.has(Traits::SESSION) { " session" } else { "" };
        let local = if body.traits.has(Traits::SETS_LOCALLY) { " local" } else { "" };
        let unknown = if body.sets_unknown { " unknown" } else { "" };
        let settings: String = body.settings.iter().map(|name| format!(" {name}")).collect();
        format!("{:?}{session}{local}{unknown}{settings}", body.verdict)
    }

    #[test]
    fn bodies_in_sql_are_read_by_the_grammar() {
        let rows = [
            ("SELECT 1", "Read"),
            ("SELECT a FROM t WHERE b = $1; SELECT 2", "Read"),
            ("INSERT INTO t VALUES (1)", "Write"),
            ("SELECT * FROM t FOR UPDATE", "Write"),
            ("SELECT pg_catalog.set_config('app.User', $1, true)", "Read local app.user"),
            ("SELECT set_config('app.user', 'x', false)", "Read session app.user"),
            ("SELECT set_config($1, $2, false)", "Primary session unknown"),
            ("SET app.x = 1", "Read session app.x"),
            ("SHOW work_mem", "Primary"),
            ("SELEC 1", "Unknown session unknown"),
            ("CREATE TEMP TABLE x (a int)", "Write session"),
        ];
        for (text, expected) in rows {
            assert_eq!(told("sql", text), expected, "{text}");
        }
    }

    #[test]
    fn bodies_in_plpgsql_may_hold_queries_and_nothing_else() {
        let rows = [
            ("BEGIN RETURN 1; END", "Read"),
            (
                "DECLARE a int := 1; b t%ROWTYPE; BEGIN a := a + 1; SELECT * INTO b FROM t; RETURN a; END",
                "Read",
            ),
            (
                "<<l>> BEGIN FOR r IN SELECT * FROM t LOOP x = r.a; r.b := 2; a[1] := 3; END LOOP l; RETURN; END",
                "Read",
            ),
            (
                "BEGIN RETURN CASE WHEN a THEN b ELSE c END; IF x THEN RETURN 1; ELSE RETURN 2; END IF; END",
                "Read",
            ),
            (
                "BEGIN CASE a WHEN 1 THEN PERFORM f(); ELSE NULL; END CASE; RETURN QUERY SELECT 1; END",
                "Read",
            ),
            (
                "BEGIN x := CASE WHEN a THEN CASE b WHEN 1 THEN c END ELSE d END; y := 1; END",
                "Read",
            ),
            (
                "#variable_conflict use_column\nBEGIN RAISE NOTICE 'DELETE FROM t'; EXCEPTION WHEN others THEN RETURN 1; END",
                "Read",
            ),
            ("BEGIN INSERT INTO t VALUES (1); END", "Write"),
            ("BEGIN PERFORM 1 FROM t FOR NO KEY UPDATE; END", "Write"),
            ("BEGIN PERFORM 1 FROM t FOR KEY SHARE; END", "Write"),
            ("BEGIN WITH x AS (DELETE FROM t RETURNING a) SELECT a INTO b FROM x; END", "Write"),
            ("BEGIN EXECUTE 'SELECT 1'; END", "RunsText session unknown"),
            ("BEGIN RETURN QUERY EXECUTE q; END", "RunsText session unknown"),
            ("BEGIN CREATE TEMP TABLE x (); END", "Write session"),
            ("BEGIN IF a THEN NOTIFY x; END IF; END", "Write session"),
            ("BEGIN SET LOCAL app.a = 1; END", "Write session app.a"),
            ("BEGIN COMMIT; END", "Write session"),
            ("BEGIN CALL p(); END", "Write session"),
            ("BEGIN PERFORM set_config('a.b', x, true); END", "Read local a.b"),
            ("BEGIN PERFORM set_config(n, x, true); END", "Read local unknown"),
            ("BEGIN RETURN 'a\\'; END", "Unknown session unknown"),
            (r"BEGIN RETURN regexp_replace($1, '\d+', ''); END", "Read"),
        ];
        for (text, expected) in rows {
            assert_eq!(told("plpgsql", text), expected, "{text}");
        }
    }

    #[test]
    fn definitions_are_known_by_their_words() {
        let rows = [
            ("EXECUTE 'CREATE TABLE ' || name", true),
            ("EXECUTE format('drop\tTABLE %I', name)", true),
            (r"EXECUTE E'\nALTER TABLE x'", true),
            ("x('CREATE'||' TABLE')", true),
            ("SELECT created_at, recreate, altered FROM drops", false),
            ("EXECUTE 'SELECT 1 ORDER BY ' || by_created", false),
        ];
        for (text, expected) in rows {
            assert_eq!(defines_objects(text), expected, "{text}");
        }
    }

    #[test]
    fn other_languages_are_believed_where_they_cannot_reach_sql() {
        let read = |text, volatile| Body::read("plperl", text, volatile).verdict;
        assert_eq!(read("return 1;", false), Verdict::Read);
        assert_eq!(read("return 1;", true), Verdict::Unknown);
        assert_eq!(read("spi_exec_query('x')", false), Verdict::Unknown);
    }
}
