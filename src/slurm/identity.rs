//! Whose a record is. A job id is no identity: Slurm gives ids out again. The token is: nobody knew it before the intent, so
//! the times of a record prove little beside it, and a clock that was wrong at the intent, here or there, does no harm.

use jiff::{SignedDuration, Timestamp};

use crate::domain::ids::Token;

/// By how much the clocks of Slurm and of this machine are expected to differ.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// By how much the clock of an intent may have been ahead at most. A record from before that is a broken one, and must not
/// pass for an earlier start of the job.
const WRONG_CLOCK: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What a record of a submission must agree with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ours<'a> {
    /// Slurm's own name of the cluster; `None` where nobody knows it.
    pub cluster: Option<&'a str>,
    pub token: &'a Token,
}

/// What a record says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimed<'a> {
    pub cluster: Option<&'a str>,
    pub is_our_user: bool,
    pub name: &'a str,
    pub submitted_at: Option<Timestamp>,
}

impl Ours<'_> {
    /// From when on a job of a submission with that intent is looked for.
    pub fn earliest(intent_at: Timestamp) -> Timestamp {
        intent_at.checked_sub(SKEW).unwrap_or(Timestamp::MIN)
    }

    /// Whether a record's Submit can be one of a job of a submission with that intent.
    pub fn is_in_time(submitted_at: Timestamp, intent_at: Timestamp) -> bool {
        intent_at.checked_sub(WRONG_CLOCK).is_ok_and(|oldest| submitted_at >= oldest)
    }

    /// Plugins of the site may rename a job, so its name only has to contain the token. A record without Submit is not whole.
    pub fn is(&self, claimed: &Claimed<'_>) -> bool {
        let same_cluster = match (self.cluster, claimed.cluster) {
            (Some(ours), Some(theirs)) => ours.eq_ignore_ascii_case(theirs),
            (None, _) | (_, None) => true,
        };
        same_cluster
            && claimed.is_our_user
            && claimed.name.contains(self.token.whole())
            && claimed.submitted_at.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_must_agree() {
        let token = Token::from_bits(1);
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let ours = Ours { cluster: Some("priv"), token: &token };
        let name = format!("42-llama.1.{token}");
        let good = Claimed {
            cluster: Some("priv"),
            is_our_user: true,
            name: &name,
            submitted_at: Some(at(10_000)),
        };
        let renamed = format!("site-{name}-gpu");
        let another = format!("42-llama.1.{}", Token::from_bits(2));
        assert!(ours.is(&good));
        assert!(ours.is(&Claimed { name: &renamed, ..good }));
        assert!(ours.is(&Claimed { submitted_at: Some(at(9_700)), ..good }));
        assert!(ours.is(&Claimed { submitted_at: Some(at(99_000)), ..good }));
        assert!(ours.is(&Claimed { cluster: None, ..good }));
        assert!(!ours.is(&Claimed { name: &another, ..good }));
        // Our clock was an hour ahead when the intent was recorded.
        assert!(ours.is(&Claimed { submitted_at: Some(at(6_400)), ..good }));
        assert!(!ours.is(&Claimed { submitted_at: None, ..good }));
        assert!(!ours.is(&Claimed { cluster: Some("other"), ..good }));
        assert!(!ours.is(&Claimed { is_our_user: false, ..good }));
    }
}
