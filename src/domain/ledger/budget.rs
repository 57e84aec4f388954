//! What a site file says that a project may spend.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::domain::document::Node;
use crate::domain::keys::{FromNode, choice};
use crate::domain::ledger::{Account, Amount};
use crate::domain::problem::{At, Problem};

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

/// What a site file says of a project whose budget Slurm keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlurmBudget {
    pub project: String,
    pub on_exhausted: OnExhausted,
}

/// The key itself: charge units, or that Slurm knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BudgetKey {
    Units(Amount),
    Slurm,
}

impl FromNode for BudgetKey {
    fn from_node(node: &At<Node>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        match &node.value {
            Node::Text(word) if word == SLURM => Some(Self::Slurm),
            Node::Text(word) => {
                let message = format!(
                    "`{path}` must be a number, or \"slurm\"; it is `{}`",
                    word.escape_debug()
                );
                problems.push(Problem::at(node.place, message));
                None
            }
            Node::Integer(_)
            | Node::Float(_)
            | Node::Boolean(_)
            | Node::Datetime(_)
            | Node::List(_)
            | Node::Table(_) => Amount::from_node(node, path, problems).map(Self::Units),
        }
    }
}

const SLURM: &str = "slurm";

impl schemars::JsonSchema for BudgetKey {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "BudgetKey".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let units = Amount::json_schema(generator);
        schemars::json_schema!({
            "description": "charge units, or \"slurm\": the GrpTRESMins of its account",
            "anyOf": [units, { "const": SLURM }],
        })
    }
}
