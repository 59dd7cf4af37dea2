//! A password that cannot be printed by accident.

use std::fmt;

/// A password or a token. Its `Debug` shows none of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Keeps a copy.
    pub fn new(password: &[u8]) -> Self {
        Self(password.to_vec())
    }

    /// Whether `attempt` is the password. Takes a time that depends on the length of the attempt
    /// alone: how much of it was right cannot be measured.
    pub fn admits(&self, attempt: &[u8]) -> bool {
        let mut difference = u8::from(self.0.len() != attempt.len());
        for (index, byte) in attempt.iter().enumerate() {
            // An attempt that is longer wraps around: it is wrong already, and must cost the same.
            let wanted = self.0.get(index % self.0.len().max(1)).copied().unwrap_or_default();
            difference |= std::hint::black_box(byte ^ wanted);
        }
        difference == 0
    }

    /// The password itself, for CONFIG GET alone: Redis shows it to whoever may run that.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(password: &str, attempt: &str, expect: bool) {
        assert_eq!(Secret::new(password.as_bytes()).admits(attempt.as_bytes()), expect);
    }

    #[test]
    fn only_the_password_is_admitted() {
        check("geheim", "geheim", true);
        check("geheim", "", false);
        check("geheim", "gehei", false);
        check("geheim", "geheimgeheim", false);
        check("geheim", "Geheim", false);
        assert_eq!(format!("{:?}", Secret::new(b"geheim")), "(hidden)");
    }
}
