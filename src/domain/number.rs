//! Numbers that a training reports, which may be no finite ones.
//!
//! JSON does not know these, and `SQLite` knows no NaN: where either has them they are words, which Python's `float()` reads.

use std::fmt;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What stands for a number that is not finite.
pub fn word(number: f64) -> Option<&'static str> {
    match (number.is_nan(), number.is_finite()) {
        (true, _) => Some("nan"),
        (false, true) => None,
        (false, false) if number > 0.0 => Some("inf"),
        (false, false) => Some("-inf"),
    }
}

/// Reads a word that stands for a number that is not finite, as programs write it.
pub fn of_word(word: &str) -> Option<f64> {
    let (is_negative, word) = match word.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    let is = |known: &&str| word.eq_ignore_ascii_case(known);
    let infinity = if is_negative { f64::NEG_INFINITY } else { f64::INFINITY };
    match () {
        () if is(&"nan") => Some(f64::NAN),
        () if ["inf", "infinity"].iter().any(is) => Some(infinity),
        () => None,
    }
}

/// Writes a number, or its word.
pub fn serialize<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    Number(*number).serialize(serializer)
}

/// Reads what [`serialize`] wrote.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Number::deserialize(deserializer).map(|Number(number)| number)
}

/// The same where there may be none.
pub mod optional {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::domain::number::Number;

    pub fn serialize<S: Serializer>(
        number: &Option<f64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        number.map(Number).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<f64>, D::Error> {
        let number = Option::<Number>::deserialize(deserializer)?;
        Ok(number.map(|Number(number)| number))
    }
}

/// The same of several, by their names.
pub mod by_name {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use crate::domain::number::Number;

    pub fn serialize<S: Serializer>(
        numbers: &BTreeMap<String, f64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(numbers.iter().map(|(name, number)| (name, Number(*number))))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, f64>, D::Error> {
        let numbers = BTreeMap::<String, Number>::deserialize(deserializer)?;
        Ok(numbers.into_iter().map(|(name, Number(number))| (name, number)).collect())
    }
}

/// What the schema says of such a number.
pub fn schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "description": "A number; one that is not finite as its word.",
        "anyOf": [{ "type": "number" }, { "enum": ["nan", "inf", "-inf"] }]
    })
}

struct Number(f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match word(self.0) {
            Some(word) => serializer.serialize_str(word),
            None => serializer.serialize_f64(self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl Visitor<'_> for Reader {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or the word for one that is not finite")
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<f64, E> {
        Ok(number)
    }

    #[expect(clippy::cast_precision_loss, reason = "as serde reads whole numbers into an f64")]
    fn visit_i64<E: Error>(self, number: i64) -> Result<f64, E> {
        Ok(number as f64)
    }

    #[expect(clippy::cast_precision_loss, reason = "as serde reads whole numbers into an f64")]
    fn visit_u64<E: Error>(self, number: u64) -> Result<f64, E> {
        Ok(number as f64)
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<f64, E> {
        of_word(word).ok_or_else(|| E::invalid_value(Unexpected::Str(word), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_for_what_json_does_not_know() {
        #[derive(Serialize, Deserialize)]
        struct Both {
            #[serde(with = "crate::domain::number")]
            one: f64,
            #[serde(with = "crate::domain::number::optional", default)]
            other: Option<f64>,
        }
        let check = |number: f64, written: &str| {
            let both = serde_json::to_string(&Both { one: number, other: Some(number) });
            let both = both.expect("it can be written");
            assert_eq!(both, format!("{{\"one\":{written},\"other\":{written}}}"));
            let read: Both = serde_json::from_str(&both).expect("it can be read");
            assert_eq!(read.one.total_cmp(&number), std::cmp::Ordering::Equal);
            assert_eq!(read.other.map(f64::to_bits), Some(number.to_bits()));
        };
        check(0.5, "0.5");
        check(f64::NAN, "\"nan\"");
        check(f64::INFINITY, "\"inf\"");
        check(f64::NEG_INFINITY, "\"-inf\"");
        let older: Both = serde_json::from_str("{\"one\":3,\"other\":null}").expect("a record");
        assert_eq!((older.one, older.other), (3.0, None));
        assert!(serde_json::from_str::<Both>("{\"one\":\"3\"}").is_err());
    }

    #[test]
    fn words_are_read_as_programs_write_them() {
        for word in ["nan", "NaN", "NAN", "-nan"] {
            assert!(of_word(word).is_some_and(f64::is_nan), "{word}");
        }
        for word in ["inf", "Infinity", "+inf", "INF"] {
            assert_eq!(of_word(word), Some(f64::INFINITY), "{word}");
        }
        assert_eq!(of_word("-Infinity"), Some(f64::NEG_INFINITY));
        for other in ["", "-", "none", "1e999", "infinit", "nan ", "--inf"] {
            assert_eq!(of_word(other), None, "{other}");
        }
    }
}
