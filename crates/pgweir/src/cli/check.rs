//! `pgweir check`: validates a configuration without serving.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::config::Config;

/// Names every problem of the file on `problems` and answers 1; or says on `out` that the file is
/// fine, with a note on each thing an operator should know, and answers 0.
///
/// # Errors
///
/// When the output cannot be written.
pub fn run(file: &Path, out: &mut impl Write, problems: &mut impl Write) -> io::Result<ExitCode> {
    match Config::load(file) {
        Ok(config) => {
            writeln!(out, "{}: ok", file.display())?;
            for note in config.notes() {
                writeln!(out, "note: {note}")?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(found) => {
            for problem in found {
                writeln!(problems, "{problem}")?;
            }
            Ok(ExitCode::FAILURE)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks a file with this content; answers the exit code, the output and the problems.
    fn checked(name: &str, content: &str) -> (ExitCode, String, String) {
        let name = format!("pgweir-check-{}-{name}.toml", std::process::id());
        let file = std::env::temp_dir().join(name);
        std::fs::write(&file, content).unwrap();
        let (mut out, mut problems) = (Vec::new(), Vec::new());
        let code = run(&file, &mut out, &mut problems).unwrap();
        std::fs::remove_file(&file).unwrap();
        let text =
            |bytes| String::from_utf8(bytes).unwrap().replace(file.to_str().unwrap(), "f.toml");
        (code, text(out), text(problems))
    }

    #[test]
    fn a_valid_file_is_ok_with_its_notes() {
        let unused =
            "clusters.a.nodes = \"a\"\nclusters.b.nodes = \"b\"\ndatabases.d.cluster = \"a\"";
        let (code, out, problems) = checked("valid", unused);
        assert_eq!(code, ExitCode::SUCCESS);
        assert_eq!(out, "f.toml: ok\nnote: clusters.b: no database uses it\n");
        assert_eq!(problems, "");
    }

    #[test]
    fn a_refused_file_has_every_problem_on_a_line() {
        let (code, out, problems) = checked("refused", "[pool]\nsize = 0\nmin_idel = 5\n");
        assert_eq!(code, ExitCode::FAILURE);
        assert_eq!(out, "");
        let expected = "f.toml:1:1: clusters: there is no cluster \
            (for example [clusters.main] with nodes = [\"127.0.0.1:5432\"])\n\
            f.toml:2:8: pool.size: 0 is out of range (the least is 1)\n\
            f.toml:3:1: pool.min_idel: unknown key (did you mean min_idle?)\n";
        assert_eq!(problems, expected);
    }
}
