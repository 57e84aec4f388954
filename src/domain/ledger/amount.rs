//! Amounts of charge units, in whole millionths: their sums are exact.

use std::fmt;

use crate::domain::document::Node;
use crate::domain::keys::FromNode;
use crate::domain::problem::{At, Problem};

/// Millionths of a charge unit. Less than nothing only where an amount is a difference.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(i64);

const MICROS_PER_UNIT: f64 = 1e6;
/// No budget is larger, and no start costs more: a thousand million node-hours.
pub const UNITS_MAX: f64 = 1e9;

impl Amount {
    pub const ZERO: Self = Self(0);

    pub const fn of_micros(micros: i64) -> Self {
        Self(micros)
    }

    pub const fn micros(self) -> i64 {
        self.0
    }

    /// The nearest millionth; none of what is no number, negative or more than [`UNITS_MAX`].
    pub fn of_units(units: f64) -> Option<Self> {
        #[expect(clippy::cast_possible_truncation, reason = "it is within bounds")]
        (0.0..=UNITS_MAX).contains(&units).then(|| Self((units * MICROS_PER_UNIT).round() as i64))
    }

    /// The nearest amount within the bounds.
    pub fn clamped(units: f64) -> Self {
        Self::of_units(units.clamp(0.0, UNITS_MAX)).unwrap_or_default()
    }

    /// In units, as documents give it.
    #[expect(clippy::cast_precision_loss, reason = "exact to 9 thousand million units")]
    pub fn units(self) -> f64 {
        self.0 as f64 / MICROS_PER_UNIT
    }

    pub fn plus(self, more: Self) -> Option<Self> {
        self.0.checked_add(more.0).map(Self)
    }

    /// So many of it, within all bounds.
    #[must_use]
    pub fn times(self, count: usize) -> Self {
        Self(self.0.saturating_mul(i64::try_from(count).unwrap_or(i64::MAX)))
    }

    /// The difference, within all bounds.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Amount {
    /// Without zeros at the end: `12`, `0.5`, `-0.000001`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MICROS: u64 = 1_000_000;
        let (whole, rest) = (self.0.unsigned_abs() / MICROS, self.0.unsigned_abs() % MICROS);
        let sign = if self.0 < 0 { "-" } else { "" };
        let decimals = format!("{rest:06}");
        let text = match decimals.trim_end_matches('0') {
            "" => format!("{sign}{whole}"),
            decimals => format!("{sign}{whole}.{decimals}"),
        };
        f.pad(&text)
    }
}

impl FromNode for Amount {
    fn from_node(node: &At<Node>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        let amount = Self::of_units(f64::from_node(node, path, problems)?);
        if amount.is_none() {
            let message = format!("`{path}` is more than {UNITS_MAX} charge units");
            problems.push(Problem::at(node.place, message));
        }
        amount
    }
}

impl schemars::JsonSchema for Amount {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Amount".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "number", "minimum": 0, "maximum": UNITS_MAX, "description": "charge units" })
    }
}
