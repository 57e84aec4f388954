//! What runs may cost, before they are submitted: one, or all points of a sweep.

use crate::domain::ledger::Amount;
use crate::domain::units::Seconds;

/// Starts that ask for the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Starts {
    pub count: usize,
    pub nodes: u32,
    pub time_limit: Option<Seconds>,
    /// What one costs that ends at its time limit; none where it has none, or its class no rate.
    pub at_limit: Option<f64>,
    /// What is set aside for one; none where its class has no rate.
    pub set_aside: Option<Amount>,
}

/// What all of them come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sum {
    /// At their time limits; none where one has no limit.
    pub node_hours: Option<f64>,
    /// Of those that cost something; none where none does.
    pub at_limit: Option<f64>,
    pub set_aside: Option<Amount>,
}

impl Sum {
    #[expect(clippy::cast_precision_loss, reason = "counts and seconds have limits below 2^53")]
    pub fn of(all: &[Starts]) -> Self {
        const SECONDS_PER_HOUR: f64 = 3600.0;
        let mut sum = Self { node_hours: Some(0.0), at_limit: None, set_aside: None };
        for Starts { count, nodes, time_limit, at_limit, set_aside } in all.iter().copied() {
            let times = count as f64;
            let hours = time_limit
                .map(|limit| times * f64::from(nodes) * limit.0 as f64 / SECONDS_PER_HOUR);
            sum.node_hours = sum.node_hours.zip(hours).map(|(sum, hours)| sum + hours);
            if let Some(charge) = at_limit {
                sum.at_limit = Some(sum.at_limit.unwrap_or_default() + times * charge);
            }
            if let Some(amount) = set_aside {
                let before = sum.set_aside.unwrap_or_default();
                sum.set_aside = before.plus(amount.times(count)).or(Some(before));
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_points_of_a_sweep_are_added_up() {
        let hour = Some(Seconds(3600));
        let paid = |count, nodes| Starts {
            count,
            nodes,
            time_limit: hour,
            at_limit: Some(f64::from(nodes)),
            set_aside: Amount::of_units(f64::from(nodes) + 0.025),
        };
        let free = Starts { at_limit: None, set_aside: None, ..paid(2, 1) };
        let check = |all: &[Starts], hours: Option<f64>, charges: Option<(f64, f64)>| {
            let sum = Sum::of(all);
            let told = sum.at_limit.zip(sum.set_aside.map(Amount::units));
            assert_eq!((sum.node_hours, told), (hours, charges), "{all:?}");
        };
        check(&[paid(1, 4)], Some(4.0), Some((4.0, 4.025)));
        check(&[paid(3, 1), paid(2, 4)], Some(11.0), Some((11.0, 11.125)));
        check(&[free], Some(2.0), None);
        check(&[free, paid(1, 1)], Some(3.0), Some((1.0, 1.025)));
        let endless = Starts { time_limit: None, at_limit: None, ..paid(1, 1) };
        let sum = Sum::of(&[endless, paid(1, 1)]);
        assert_eq!((sum.node_hours, sum.at_limit), (None, Some(1.0)));
        assert_eq!(sum.set_aside, Amount::of_units(2.05));
    }
}
