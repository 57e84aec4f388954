//! What happens to a run: its state, what can be seen of it, and the one function that decides.
//!
//! [`decide()`] folds everything that was seen in one pass into events and gives them to [`step()`], which is the
//! state × event table of docs/ARCHITECTURE.md. Both are pure and total: safe to call at any time, any number of times,
//! on anything the scheduler may have said.

mod accounted;
mod attempt;
mod call;
mod claim;
mod decide;
mod decision;
mod doubt;
mod finish;
mod jobs;
mod nodes;
mod policy;
mod progress;
mod reason;
mod restart;
mod seen;
mod sighted;
mod state;
mod step;
mod timers;
mod warned;
mod wishes;

pub use accounted::settle;
pub use claim::Claim;
pub use decide::decide;
pub use decision::{Act, Decision, Note};
pub use jobs::{are_of_others, has_others, is_end_of_anybody, sort_out, unheard_end};
pub use policy::Policy;
pub use seen::{
    Answer, Digest, Event, Granted, JobEnd, Look, Phase, Preparation, Revocation, Seen, Sighting,
    Wish, WishKind,
};
pub use state::{
    Attempt, AttemptState, Began, Call, Doubt, End, Ending, Reason, Run, Stale, State, Stop,
    Submission, Unreachable,
};
pub use step::step;

#[cfg(test)]
mod tests;
