//! What a project may spend in a period, and whether a start fits into what is left of it.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::domain::keys::choice;
use crate::domain::ledger::{Account, Amount, Balance};

choice! {
    /// For how long a budget is: by the calendar, UTC. What is left does not roll over.
    pub enum Period {
        Month = "month",
        Quarter = "quarter",
        Year = "year",
        /// Once and for all.
        None = "none",
    }
    later {}
}

choice! {
    /// What becomes of a start that the budget has no room for.
    pub enum OnExhausted {
        /// It is refused; one that was accepted before waits.
        Reject = "reject",
        /// It goes ahead, and says so.
        Warn = "warn",
    }
    later {}
}

choice! {
    /// What becomes of starts that go on when more is spent and held than there is.
    pub enum OnOverrun {
        /// They go on to their end.
        Finish = "finish",
        /// As many as it takes are warned, so that they save, and stopped.
        Stop = "stop",
    }
    later {}
}

impl Period {
    /// The period that a moment is in: `2026-11`, `2026-Q4`, `2026`, `none`.
    pub fn label(self, at: Timestamp) -> String {
        let day = at.to_zoned(TimeZone::UTC);
        let (year, month) = (day.year(), day.month());
        match self {
            Self::Month => format!("{year:04}-{month:02}"),
            Self::Quarter => format!("{year:04}-Q{}", (month + 2) / 3),
            Self::Year => format!("{year:04}"),
            Self::None => self.as_str().to_owned(),
        }
    }
}

/// What a site file says of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    pub project: String,
    pub amount: Amount,
    pub period: Period,
    pub on_exhausted: OnExhausted,
    pub on_overrun: OnOverrun,
}

impl Budget {
    /// The account that starts of this moment are entered in.
    pub fn account(&self, at: Timestamp) -> Account {
        Account { project: self.project.clone(), period: self.period.label(at) }
    }
}

/// What a start sets aside before it is submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub account: Account,
    pub budget: Amount,
    pub on_exhausted: OnExhausted,
    /// What it may cost at most.
    pub amount: Amount,
    /// What that is for, in words.
    pub what: String,
}

impl Asked {
    /// Why the start waits where it is not let in. As long as it waits for the same, the words stay the same, whatever is
    /// entered meanwhile: each change of them is recorded, for every run that waits.
    pub fn waits(&self, refusal: &Refusal) -> String {
        match refusal {
            Refusal::Short(_) => format!(
                "{} has no room for this start, which may take {} charge units: {}",
                self.account, self.amount, self.what
            ),
            Refusal::Wrong(why) => why.clone(),
        }
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
    /// The ledger cannot be trusted. In words.
    Wrong(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Short(why) | Self::Wrong(why)) = self;
        f.write_str(why)
    }
}

/// Whether a start is let in, and if so, what has to be said about it. The budget that counts is the one of now.
pub fn may_start(standing: &Standing, asked: &Asked) -> Result<Option<String>, Refusal> {
    if standing.is_wrong {
        return Err(Refusal::Wrong(wrong(&asked.account)));
    }
    let balance = Balance { budget: asked.budget, ..standing.balance };
    if asked.amount <= balance.available() {
        return Ok(None);
    }
    let told = format!(
        "{} has {} of {} charge units left ({} spent, {} held), and {} may take {}",
        asked.account,
        balance.available(),
        asked.budget,
        balance.captured,
        balance.held,
        asked.what,
        asked.amount
    );
    match asked.on_exhausted {
        OnExhausted::Reject => Err(Refusal::Short(told)),
        OnExhausted::Warn => Ok(Some(told)),
    }
}

/// What is said where an account's entries do not come to its balance.
pub fn wrong(account: &Account) -> String {
    format!(
        "the ledger of {account} does not add up: its entries come to something else than the balance that is kept, and \
         nothing of it is started before an administrator has looked"
    )
}
