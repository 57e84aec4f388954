//! Numbers as people write them, counted with exactly: three steps of 0.1 are 0.3.

use crate::domain::document::Node;

/// A number of at most this many digits behind its point, and as many before it.
const SCALE_MAX: u32 = 18;

/// `mantissa` × 10^-`scale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decimal {
    mantissa: i128,
    scale: u32,
}

impl Decimal {
    /// Reads what TOML has for numbers; none for those that are infinite, no numbers, or have too many digits.
    pub(super) fn of(node: &Node) -> Option<Self> {
        match node {
            Node::Integer(number) => Some(Self { mantissa: i128::from(*number), scale: 0 }),
            Node::Float(text) => Self::parse(text),
            Node::Text(_)
            | Node::Boolean(_)
            | Node::Datetime(_)
            | Node::List(_)
            | Node::Table(_) => None,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let exponent: i64 = exponent.parse().ok()?;
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let fraction = fraction.trim_end_matches('0');
        let all = format!("{whole}{fraction}");
        let mantissa: i128 = all.parse().ok()?;
        let scale = i64::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
        let number = if let Ok(scale) = u32::try_from(scale) {
            Self { mantissa, scale }
        } else {
            let zeros = u32::try_from(scale.checked_neg()?).ok()?;
            Self { mantissa: mantissa.checked_mul(power(zeros)?)?, scale: 0 }
        };
        (number.scale <= SCALE_MAX).then_some(number)
    }

    /// The number in units of 10^-`scale`.
    fn scaled(self, scale: u32) -> Option<i128> {
        self.mantissa.checked_mul(power(scale.checked_sub(self.scale)?)?)
    }
}

fn power(exponent: u32) -> Option<i128> {
    (exponent <= 2 * SCALE_MAX).then(|| 10_i128.pow(exponent))
}

/// The numbers from one to before another, a step apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Steps {
    from: i128,
    step: i128,
    scale: u32,
    pub(super) count: u128,
}

impl Steps {
    /// None where the numbers are too far apart in size, or do not go up.
    pub(super) fn of(from: Decimal, to: Decimal, step: Decimal) -> Option<Self> {
        let scale = from.scale.max(to.scale).max(step.scale);
        let (from, to) = (from.scaled(scale)?, to.scaled(scale)?);
        let step = step.scaled(scale)?;
        let way = to.checked_sub(from)?;
        if way <= 0 || step <= 0 {
            return None;
        }
        let count = way.unsigned_abs().div_ceil(step.unsigned_abs());
        Some(Self { from, step, scale, count })
    }

    /// All of them, as whole numbers or as floats.
    pub(super) fn nodes(self, are_whole: bool) -> impl Iterator<Item = Node> {
        let number = move |index: u128| {
            let index = i128::try_from(index).unwrap_or(i128::MAX);
            let value = self.from.saturating_add(self.step.saturating_mul(index));
            match i64::try_from(value) {
                Ok(whole) if are_whole => Node::Integer(whole),
                Ok(_) | Err(_) => Node::Float(spelled(value, self.scale)),
            }
        };
        (0..self.count).map(number)
    }
}

/// `-0.3`, `12.0`.
fn spelled(value: i128, scale: u32) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let width = usize::try_from(scale).unwrap_or(0);
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = width + 1);
    let (whole, fraction) = digits.split_at(digits.len() - width);
    let fraction = fraction.trim_end_matches('0');
    format!("{sign}{whole}.{}", if fraction.is_empty() { "0" } else { fraction })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn float(text: &str) -> Node {
        Node::Float(text.into())
    }

    #[track_caller]
    fn check(from: &Node, to: &Node, step: &Node, expected: &[Node]) {
        let number = |node| Decimal::of(node).unwrap();
        let steps = Steps::of(number(from), number(to), number(step)).unwrap();
        assert_eq!(steps.nodes(matches!(step, Node::Integer(_))).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn steps_are_exact() {
        let tenths = ["0.0", "0.1", "0.2", "0.3"].map(float);
        check(&float("0.0"), &float("0.4"), &float("0.1"), &tenths);
        check(&float("-1e-3"), &float("1e-3"), &float("1e-3"), &["-0.001", "0.0"].map(float));
        check(&float("1e2"), &Node::Integer(101), &float("0.75"), &["100.0", "100.75"].map(float));
        check(
            &Node::Integer(-1),
            &Node::Integer(2),
            &Node::Integer(2),
            &[-1, 1].map(Node::Integer),
        );
        check(
            &Node::Integer(i64::MAX - 1),
            &Node::Integer(i64::MAX),
            &Node::Integer(1),
            &[Node::Integer(i64::MAX - 1)],
        );
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in ["nan", "inf", "-inf", "1e400", "1e-19", "1e99999999999999999999", "0.1e-18"] {
            assert_eq!(Decimal::of(&float(text)), None, "{text}");
        }
        assert_eq!(Decimal::of(&Node::Text("1".into())), None);
        let [one, two, none] = ["1.0", "2.0", "0.0"].map(|text| Decimal::parse(text).unwrap());
        assert_eq!(Steps::of(two, one, one), None, "backwards");
        assert_eq!(Steps::of(one, one, one), None, "empty");
        assert_eq!(Steps::of(one, two, none), None, "no step");
    }
}
