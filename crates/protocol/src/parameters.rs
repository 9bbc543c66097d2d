//! The parameters a server reports to its client (manual, 55.2.7 Asynchronous Operations).

/// ParameterStatus values in the order they first arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters {
    entries: Vec<(Box<str>, Box<str>)>,
}

impl Parameters {
    /// Notes a reported value; true when it is new or different.
    pub fn note(&mut self, name: &str, value: &str) -> bool {
        match self.entries.iter_mut().find(|(known, _)| &**known == name) {
            Some((_, known)) if &**known == value => false,
            Some((_, known)) => {
                *known = value.into();
                true
            }
            None => {
                self.entries.push((name.into(), value.into()));
                true
            }
        }
    }

    /// The value last reported.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.entries.iter().find(|(known, _)| &**known == name).map(|(_, value)| &**value)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(name, value)| (&**name, &**value))
    }
}

impl FromIterator<(String, String)> for Parameters {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(values: T) -> Self {
        let mut parameters = Self::default();
        for (name, value) in values {
            parameters.note(&name, &value);
        }
        parameters
    }
}
