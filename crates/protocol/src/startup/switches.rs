//! The startup parameter `options`: command-line switches for a server process.
//!
//! PostgreSQL splits the text at unescaped white space (`pg_split_opts`) and runs the pieces
//! through `getopt` (`process_postgres_switches`). What comes out of it for a client's connection
//! is a list of settings, in order: most switches are a short way to write one, some mean
//! something to a standalone server only and are ignored, everything else is refused.
//!
//! Whether the client may change a setting is not decided here: the server says so when it is told.

use crate::error::ProtocolError;

/// A setting's name and value.
pub(super) type Setting = (String, String);

/// Reads the switches in `options` into settings, in the order given.
///
/// # Errors
/// [`ProtocolError::OptionsArgument`] for a switch or word that a server process does not know,
/// [`ProtocolError::OptionsValue`] for `-c` or `--` without `=`.
pub(super) fn read(options: &str) -> Result<Vec<Setting>, ProtocolError> {
    let arguments = split(options);
    let mut settings = Vec::new();
    let mut words = arguments.iter();
    while let Some(argument) = words.next() {
        let Some(cluster) = argument.strip_prefix('-').filter(|rest| !rest.is_empty()) else {
            return Err(unknown(argument));
        };
        // getopt's own word for "no switch follows": anything after it is one word too many.
        if cluster == "-" {
            return words.next().map_or(Ok(settings), |word| Err(unknown(word)));
        }
        read_cluster(argument, cluster, &mut words, &mut settings)?;
    }
    Ok(settings)
}

/// Reads the switches after one dash: any number without a value, then at most one with, whose
/// value is the rest of the word or the next one.
fn read_cluster<'a>(
    argument: &str,
    cluster: &str,
    words: &mut impl Iterator<Item = &'a String>,
    settings: &mut Vec<Setting>,
) -> Result<(), ProtocolError> {
    let mut switches = cluster.chars();
    while let Some(switch) = switches.next() {
        if let Some(setting) = flag(switch) {
            settings.extend(setting.map(owned));
            continue;
        }
        if !takes_value(switch) {
            return Err(unknown(argument));
        }
        let rest = switches.as_str();
        let value = match rest {
            "" => words.next().ok_or_else(|| unknown(argument))?.as_str(),
            rest => rest,
        };
        // PostgreSQL complains about the last word that it took.
        let last = if rest.is_empty() { value } else { argument };
        return valued(switch, value, last, settings);
    }
    Ok(())
}

/// A switch without a value: the setting it stands for, if any. `None` for other switches.
fn flag(switch: char) -> Option<Option<(&'static str, &'static str)>> {
    Some(match switch {
        // Meant for the postmaster, bootstrapping or a standalone server; ignored here.
        'b' | 'E' | 'j' | 'n' | 'T' => None,
        'e' => Some(("datestyle", "euro")),
        'F' => Some(("fsync", "false")),
        'i' => Some(("listen_addresses", "*")),
        'l' => Some(("ssl", "true")),
        'O' => Some(("allow_system_table_mods", "true")),
        'P' => Some(("ignore_system_indexes", "true")),
        's' => Some(("log_statement_stats", "true")),
        _ => return None,
    })
}

/// Whether `switch` is one with a value.
fn takes_value(switch: char) -> bool {
    "BCDcdfhkNprStvW-".contains(switch)
}

/// Reads a switch with its value.
fn valued(
    switch: char,
    value: &str,
    last: &str,
    settings: &mut Vec<Setting>,
) -> Result<(), ProtocolError> {
    let name = match switch {
        'B' => "shared_buffers",
        'h' => "listen_addresses",
        'k' => "unix_socket_directories",
        'N' => "max_connections",
        'p' => "port",
        'S' => "work_mem",
        'W' => "post_auth_delay",
        'c' => return long_option("-c ", value, settings),
        '-' => return long_option("--", value, settings),
        'd' => {
            settings.extend(debug_options(value));
            return Ok(());
        }
        'f' => {
            let name = plan_switch(value).ok_or_else(|| unknown(last))?;
            settings.push(owned((name, "false")));
            return Ok(());
        }
        't' => {
            let name = statistics_switch(value).ok_or_else(|| unknown(last))?;
            settings.push(owned((name, "true")));
            return Ok(());
        }
        // C, D, r, v: ignored outside a standalone server.
        _ => return Ok(()),
    };
    settings.push(owned((name, value)));
    Ok(())
}

/// `name=value`, dashes in the name standing for underscores (`ParseLongOption`).
fn long_option(
    switch: &'static str,
    text: &str,
    settings: &mut Vec<Setting>,
) -> Result<(), ProtocolError> {
    let Some((name, value)) = text.split_once('=') else {
        return Err(ProtocolError::OptionsValue { switch, argument: text.to_owned() });
    };
    settings.push((name.replace('-', "_"), value.to_owned()));
    Ok(())
}

/// `-d`: the level of debugging (`set_debug_options`).
fn debug_options(value: &str) -> impl Iterator<Item = Setting> {
    let level = leading_integer(value);
    let messages = match level {
        1.. => format!("debug{level}"),
        _ => "notice".to_owned(),
    };
    let deeper = [
        (2, "log_statement", "all"),
        (3, "debug_print_parse", "true"),
        (4, "debug_print_plan", "true"),
        (5, "debug_print_rewritten", "true"),
    ];
    let deeper = deeper.into_iter().filter(move |(least, ..)| level >= *least);
    std::iter::once(("log_min_messages".to_owned(), messages))
        .chain(deeper.map(|(_, name, value)| owned((name, value))))
}

/// C's `atoi`: the number that a text starts with, or 0.
fn leading_integer(text: &str) -> i32 {
    let text = text.trim_start_matches(is_space);
    let sign = usize::from(text.starts_with(['-', '+']));
    let digits = text.bytes().skip(sign).take_while(u8::is_ascii_digit).count();
    text.get(..sign + digits).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// `-f`: the kind of plan that is not to be used (`set_plan_disabling_options`).
fn plan_switch(value: &str) -> Option<&'static str> {
    Some(match value.bytes().next()? {
        b's' => "enable_seqscan",
        b'i' => "enable_indexscan",
        b'o' => "enable_indexonlyscan",
        b'b' => "enable_bitmapscan",
        b't' => "enable_tidscan",
        b'n' => "enable_nestloop",
        b'm' => "enable_mergejoin",
        b'h' => "enable_hashjoin",
        _ => return None,
    })
}

/// `-t`: whose statistics are to be logged (`get_stats_option_name`).
fn statistics_switch(value: &str) -> Option<&'static str> {
    match value.as_bytes() {
        [b'p', b'a', ..] => Some("log_parser_stats"),
        [b'p', b'l', ..] => Some("log_planner_stats"),
        [b'e', ..] => Some("log_executor_stats"),
        _ => None,
    }
}

/// Splits at white space; a backslash makes the next character an ordinary one
/// (`pg_split_opts`).
fn split(options: &str) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut rest = options.chars().peekable();
    loop {
        while rest.next_if(|character| is_space(*character)).is_some() {}
        if rest.peek().is_none() {
            return arguments;
        }
        let mut argument = String::new();
        while let Some(character) = rest.next_if(|character| !is_space(*character)) {
            match character {
                // A lone backslash at the end stands for nothing.
                '\\' => argument.extend(rest.next()),
                other => argument.push(other),
            }
        }
        arguments.push(argument);
    }
}

/// C's `isspace` in the "C" locale, which knows the vertical tab that Rust's does not.
fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

fn unknown(argument: &str) -> ProtocolError {
    ProtocolError::OptionsArgument { argument: argument.to_owned() }
}

fn owned((name, value): (&str, &str)) -> Setting {
    (name.to_owned(), value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Each row: `options`, and the settings that come out, written `name=value;…`.
    #[test]
    fn switches_and_their_settings() {
        let rows = [
            ("", ""),
            ("  \t\n ", ""),
            ("-c search_path=app", "search_path=app"),
            ("-csearch_path=app", "search_path=app"),
            ("--search_path=app", "search_path=app"),
            ("--statement-timeout=5s", "statement_timeout=5s"),
            ("-c statement-timeout=a-b", "statement_timeout=a-b"),
            ("-c a=1 --b=2 -c c=", "a=1;b=2;c="),
            ("-c a=b=c", "a=b=c"),
            (r"-c search_path=a,\ b", "search_path=a, b"),
            (r"-c a=x\\y", r"a=x\y"),
            (r"-c a=\x", "a=x"),
            (r"-c a=x\", "a=x"),
            ("-c geqo=off\x0b-c jit=off", "geqo=off;jit=off"),
            ("-c a=é\u{a0}ü", "a=é\u{a0}ü"),
            ("-F", "fsync=false"),
            ("-Fsca=1", "fsync=false;log_statement_stats=true;a=1"),
            (
                "-e -O -P -i -l",
                "datestyle=euro;allow_system_table_mods=true;ignore_system_indexes=true;listen_addresses=*;ssl=true",
            ),
            (
                "-B 1 -h 2 -k 3 -N 4 -p 5 -S 6 -W 7",
                "shared_buffers=1;listen_addresses=2;unix_socket_directories=3;max_connections=4;port=5;work_mem=6;post_auth_delay=7",
            ),
            ("-b -E -j -C x -D y -r z -v 3", ""),
            (
                "-fs -fi -fo -fb -ft -fn -fm -f hash",
                "enable_seqscan=false;enable_indexscan=false;enable_indexonlyscan=false;enable_bitmapscan=false;enable_tidscan=false;enable_nestloop=false;enable_mergejoin=false;enable_hashjoin=false",
            ),
            (
                "-tpa -tpl -te",
                "log_parser_stats=true;log_planner_stats=true;log_executor_stats=true",
            ),
            ("-d 0", "log_min_messages=notice"),
            ("-d -3", "log_min_messages=notice"),
            ("-d x", "log_min_messages=notice"),
            ("-d 1", "log_min_messages=debug1"),
            (
                "-d5",
                "log_min_messages=debug5;log_statement=all;debug_print_parse=true;debug_print_plan=true;debug_print_rewritten=true",
            ),
            ("--", ""),
            ("-c a=1 --", "a=1"),
        ];
        for (options, expected) in rows {
            let settings = read(options).unwrap_or_else(|error| panic!("{options:?}: {error}"));
            let shown: Vec<_> = settings.iter().map(|(n, v)| format!("{n}={v}")).collect();
            assert_eq!(shown.join(";"), expected, "{options:?}");
        }
    }

    /// Each row: `options`, and the error.
    #[test]
    fn options_a_server_refuses() {
        let unknown = "invalid command-line argument for server process: ";
        let rows = [
            ("x", format!("{unknown}x")),
            ("-", format!("{unknown}-")),
            ("-z", format!("{unknown}-z")),
            ("-Fz", format!("{unknown}-Fz")),
            ("-ü", format!("{unknown}-ü")),
            ("-c a=1 word", format!("{unknown}word")),
            ("-- word", format!("{unknown}word")),
            ("-c", format!("{unknown}-c")),
            ("-fx", format!("{unknown}-fx")),
            ("-f x", format!("{unknown}x")),
            ("-t q", format!("{unknown}q")),
            ("-c geqo", "-c geqo requires a value".to_owned()),
            ("--geqo", "--geqo requires a value".to_owned()),
        ];
        for (options, expected) in rows {
            let error = read(options).expect_err(options);
            assert_eq!(error.to_string(), expected, "{options:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(options: String) {
            let _ = read(&options);
        }

        #[test]
        fn an_escaped_value_comes_back_as_it_was(value in "[^\0]{0,20}") {
            let escaped: String = value.chars().flat_map(|c| ['\\', c]).collect();
            let settings = read(&format!("-c name={escaped}")).unwrap();
            prop_assert_eq!(settings, vec![("name".to_owned(), value)]);
        }
    }
}
