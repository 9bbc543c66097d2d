//! `pgweir config`: prints the reference configuration, or its JSON Schema.

use std::io::{self, Write};

use crate::config;

/// Writes the reference configuration, or with `schema` its JSON Schema.
///
/// # Errors
///
/// When the output cannot be written.
pub fn run(schema: bool, out: &mut impl Write) -> io::Result<()> {
    if schema {
        serde_json::to_writer_pretty(&mut *out, &config::schema())?;
        writeln!(out)
    } else {
        out.write_all(config::reference().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_is_toml_and_its_schema_json() {
        let (mut reference, mut schema) = (Vec::new(), Vec::new());
        run(false, &mut reference).unwrap();
        run(true, &mut schema).unwrap();
        assert_eq!(String::from_utf8(reference).unwrap(), config::reference());
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&schema).unwrap(), config::schema());
        assert_eq!(schema.last(), Some(&b'\n'));
    }
}
