//! What a start has to set aside, and whether it fits into what is left.

use std::fmt;

use jiff::Timestamp;

use crate::domain::ledger::{Account, Amount, Balance, OnExhausted, Room};

/// What a start sets aside before it is submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// One of charge units, or one of each thing that Slurm counts. Never none.
    pub shares: Vec<Share>,
    pub on_exhausted: OnExhausted,
    /// What that is for, in words.
    pub what: String,
    /// Why nobody knows what is left, in words.
    pub unknown: Option<String>,
}

/// What a start takes of one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    pub account: Account,
    /// What it may cost at most.
    pub amount: Amount,
    pub budget: Funds,
}

/// What an account's budget is at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Funds {
    /// The site file says so.
    Granted(Amount),
    /// Slurm does.
    Slurm(Room),
    /// Slurm has said nothing so far.
    Untold,
}

impl Share {
    fn unit(&self) -> String {
        let unit = self.account.counted().map_or("charge unit", |counted| counted.unit());
        format!("{unit}s")
    }

    /// Why it does not fit, if it does not; `what` is the start in words.
    fn shortage(&self, balance: Balance, what: &str) -> Option<String> {
        let Self { account, amount, budget } = self;
        let held = balance.held;
        let within = |budget: Amount| Balance { budget, ..balance }.available();
        let (left, all, told) = match budget {
            Funds::Granted(granted) => (within(*granted), *granted, String::new()),
            Funds::Slurm(Room { room: Some(room), limit: Some((limit, of)), told_at }) => (
                within(*room),
                *limit,
                format!(", as Slurm tells of account `{of}` at {}", clock(*told_at)),
            ),
            Funds::Slurm(_) | Funds::Untold => return None,
        };
        // Where Slurm lets use decay, more may be left than the limit.
        let spent = all.less(held).less(left).max(Amount::ZERO);
        (*amount > left).then(|| {
            format!(
                "{account} has {left} of {all} {} left ({spent} spent, {held} held{told}), and {what} may take {amount}",
                self.unit(),
            )
        })
    }
}

fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%S UTC").to_string()
}

impl Asked {
    /// What so many alike starts ask for together.
    #[must_use]
    pub fn times(self, count: usize, what: String) -> Self {
        let times = |share: Share| Share { amount: share.amount.times(count), ..share };
        Self { shares: self.shares.into_iter().map(times).collect(), what, ..self }
    }

    /// With what other starts ask for.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        for share in other.shares {
            match self.shares.iter_mut().find(|own| own.account == share.account) {
                Some(own) => own.amount = own.amount.plus(share.amount).unwrap_or(own.amount),
                None => self.shares.push(share),
            }
        }
        Self { unknown: self.unknown.or(other.unknown), ..self }
    }

    /// Why the start waits where it is not let in. As long as it waits for the same, the words stay the same, whatever is
    /// entered meanwhile: each change of them is recorded, for every run that waits.
    pub fn waits(&self, refusal: &Refusal) -> String {
        let (Refusal::Short(_), Some(first)) = (refusal, self.shares.first()) else {
            return refusal.to_string();
        };
        let takes = |share: &Share| format!("{} {}", share.amount, share.unit());
        let takes: Vec<String> = self.shares.iter().map(takes).collect();
        let account = &first.account;
        format!(
            "{} has no room for this start, which may take {}: {}",
            if account.counted().is_some() { account.in_slurm() } else { account.to_string() },
            takes.join(", "),
            self.what
        )
    }
}

/// How an account stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    pub balance: Balance,
    /// Its entries do not come to the balance that is kept: nobody knows what is left.
    pub is_wrong: bool,
}

/// Why a start is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The budget has no room for it. In words.
    Short(String),
    /// Nobody knows whether it has: the ledger cannot be trusted, or Slurm does not tell. In words.
    Wrong(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Short(why) | Self::Wrong(why)) = self;
        f.write_str(why)
    }
}

/// Whether a start is let in, and if so, what has to be said about it. The budget that counts is the one of now.
pub fn may_start(
    standing: impl Fn(&Account) -> Standing,
    asked: &Asked,
) -> Result<Option<String>, Refusal> {
    let mut short = None;
    for share in &asked.shares {
        let Standing { balance, is_wrong } = standing(&share.account);
        if is_wrong {
            return Err(Refusal::Wrong(wrong(&share.account)));
        }
        short = short.or_else(|| share.shortage(balance, &asked.what).map(Refusal::Short));
    }
    let unknown = || asked.unknown.clone().map(Refusal::Wrong);
    match (short.or_else(unknown), asked.on_exhausted) {
        (None, _) => Ok(None),
        (Some(refusal), OnExhausted::Reject) => Err(refusal),
        (Some(refusal), OnExhausted::Warn) => Ok(Some(refusal.to_string())),
    }
}

/// What is said where an account's entries do not come to its balance.
pub fn wrong(account: &Account) -> String {
    format!(
        "the ledger of {account} does not add up: its entries come to something else than the balance that is kept, and \
         nothing of it is started before an administrator has looked"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ledger::{Purse, Resource};

    fn units(units: f64) -> Amount {
        Amount::clamped(units)
    }

    fn share(counted: Resource, amount: f64, room: Option<f64>) -> Share {
        let purse = Purse { cluster: "main".into(), account: "ml".into() };
        let limit = room.map(|_| (units(100.0), "lab".to_owned()));
        let room = Room { room: room.map(units), limit, told_at: Timestamp::UNIX_EPOCH };
        let account = Account::by_slurm("nlp", &purse, counted);
        Share { account, amount: units(amount), budget: Funds::Slurm(room) }
    }

    fn asked(shares: Vec<Share>) -> Asked {
        let what = "1 node of class `a` for up to 1h".to_owned();
        Asked { shares, on_exhausted: OnExhausted::Reject, what, unknown: None }
    }

    /// Everywhere 30 are captured and 20 held.
    fn standing(_: &Account) -> Standing {
        let balance = Balance { budget: Amount::ZERO, captured: units(30.0), held: units(20.0) };
        Standing { balance, is_wrong: false }
    }

    #[test]
    fn each_limit_of_slurms_has_to_have_room() {
        let (node, gpu) = (Resource::Nodes, Resource::Gpus);
        let both = |gpus| asked(vec![share(node, 1.0, Some(60.0)), share(gpu, gpus, Some(60.0))]);
        assert_eq!(may_start(standing, &both(10.0)), Ok(None));
        let refusal = may_start(standing, &both(10.5)).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "project `nlp` in main/ml/gres/gpu has 10 of 100 GPU-hours left (70 spent, 20 held, as Slurm tells of \
             account `lab` at 00:00:00 UTC), and 1 node of class `a` for up to 1h may take 10.5"
        );
        assert_eq!(
            both(10.5).waits(&refusal),
            "project `nlp` in main/ml has no room for this start, which may take 1 node-hours, 10.5 GPU-hours: 1 node \
             of class `a` for up to 1h"
        );
        // Where use decays there may be more than the limit; nothing less than nothing is spent.
        let decayed = asked(vec![share(node, 200.0, Some(180.0))]);
        let told = may_start(standing, &decayed).unwrap_err().to_string();
        assert!(told.contains("has 130 of 100 node-hours left (0 spent, 20 held"), "{told}");
        let warns = Asked { on_exhausted: OnExhausted::Warn, ..both(10.5) };
        assert_eq!(may_start(standing, &warns), Ok(Some(refusal.to_string())));
        // Where there is no limit there is room for everything.
        assert_eq!(may_start(standing, &asked(vec![share(node, 1e6, None)])), Ok(None));
    }

    #[test]
    fn nobody_is_let_in_where_slurm_does_not_tell() {
        let share = Share { budget: Funds::Untold, ..share(Resource::Nodes, 1.0, None) };
        let unknown = Asked { unknown: Some("it is silent".into()), ..asked(vec![share]) };
        assert_eq!(may_start(standing, &unknown), Err(Refusal::Wrong("it is silent".into())));
        let warns = Asked { on_exhausted: OnExhausted::Warn, ..unknown };
        assert_eq!(may_start(standing, &warns), Ok(Some("it is silent".into())));
    }

    #[test]
    fn starts_of_several_kinds_are_added_up() {
        let some = |count: usize, counted| {
            asked(vec![share(Resource::Nodes, 1.0, None), share(counted, 2.0, None)])
                .times(count, "points".into())
        };
        let all = some(3, Resource::Cpus).and(some(4, Resource::Gpus));
        let amounts: Vec<f64> = all.shares.iter().map(|share| share.amount.units()).collect();
        assert_eq!((amounts.as_slice(), all.what.as_str()), ([7.0, 6.0, 8.0].as_slice(), "points"));
    }
}
