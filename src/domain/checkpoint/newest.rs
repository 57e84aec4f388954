//! Which checkpoint a training goes on from.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::checkpoint::layout::without_temporary;
use crate::domain::checkpoint::{Found, step_of};

/// The file of the run directory that names what a person chose to go on from.
pub const BRANCH_FILE: &str = "resume_from";

/// What a person chose to go on from: what is older and something else belongs to a past that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Branch {
    pub path: String,
    pub step: Option<i64>,
    pub at: Timestamp,
}

/// The newest complete one.
///
/// In one directory the highest step is the newest, since times change when files are copied or touched. Between
/// directories, and for what tells no step, it is the time.
pub fn newest<'a>(found: &'a [Found], branch: Option<&Branch>) -> Option<&'a Found> {
    let mut highest: BTreeMap<&Path, &Found> = BTreeMap::new();
    let mut alone = Vec::new();
    for one in found.iter().filter(|one| one.lacks.is_none() && is_of(one, branch)) {
        match directory(one) {
            Some(directory) => {
                let known = highest.entry(directory).or_insert(one);
                if by_step(known, one) == Ordering::Less {
                    *known = one;
                }
            }
            None => alone.push(one),
        }
    }
    let key = |one: &&Found| (one.modified, one.step, one.path.clone());
    highest.into_values().chain(alone).max_by_key(key)
}

fn is_of(one: &Found, branch: Option<&Branch>) -> bool {
    let Some(branch) = branch else { return true };
    one.path == branch.path || one.modified.is_some_and(|modified| modified > branch.at)
}

/// Where the name lies that tells its step.
fn directory(one: &Found) -> Option<&Path> {
    one.step?;
    let path = Path::new(&one.path);
    let parent = path.parent()?;
    let name = path.file_name()?.as_encoded_bytes();
    if step_of(without_temporary(name)).is_some() { Some(parent) } else { parent.parent() }
}

fn by_step(one: &Found, other: &Found) -> Ordering {
    (one.step, one.modified, &one.path).cmp(&(other.step, other.modified, &other.path))
}
