//! Sets of tasks of a job array, as Slurm spells them: `0-9:3,12%4`.

/// What is left of an array, or what is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskSet(Vec<Range>);

/// From the first to the last, each that is a whole number of steps away from the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    first: u32,
    last: u32,
    step: u32,
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let (ends, step) = match text.split_once(':') {
            Some((ends, step)) => (ends, step.parse().ok().filter(|step| *step > 0)?),
            None => (text, 1),
        };
        let (first, last) = ends.split_once('-').unwrap_or((ends, ends));
        let range = Self { first: first.parse().ok()?, last: last.parse().ok()?, step };
        (range.first <= range.last).then_some(range)
    }

    fn contains(self, task: u32) -> bool {
        (self.first..=self.last).contains(&task) && (task - self.first).is_multiple_of(self.step)
    }
}

impl TaskSet {
    /// Reads a set, with or without the brackets around it and a limit behind it. None for what is no set, and for one that
    /// was cut.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let (set, limit) = text.split_once('%').unwrap_or((text, "0"));
        let _: u32 = limit.parse().ok()?;
        set.split(',').map(Range::parse).collect::<Option<_>>().map(Self)
    }

    pub fn contains(&self, task: u32) -> bool {
        self.0.iter().any(|range| range.contains(task))
    }

    /// The tasks, at most `max`: the text is not ours.
    pub fn tasks(&self, max: usize) -> impl Iterator<Item = u32> {
        let each = |range: &Range| {
            (range.first..=range.last).step_by(usize::try_from(range.step).unwrap_or(usize::MAX))
        };
        self.0.iter().flat_map(each).take(max)
    }
}

/// Spells tasks, which are in order.
pub(super) fn spelled(tasks: &[u32]) -> String {
    let runs = tasks.chunk_by(|one, next| one.checked_add(1) == Some(*next));
    let words: Vec<String> = runs
        .filter_map(|run| match (run.first()?, run.last()?) {
            (first, last) if first == last => Some(first.to_string()),
            (first, last) => Some(format!("{first}-{last}")),
        })
        .collect();
    words.join(",")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tasks(text: &str) -> Option<Vec<u32>> {
        Some(TaskSet::parse(text)?.tasks(100).collect())
    }

    #[test]
    fn sets_are_read_as_slurm_spells_them() {
        assert_eq!(tasks("7"), Some(vec![7]));
        assert_eq!(tasks("[3-6%2]"), Some(vec![3, 4, 5, 6]));
        assert_eq!(tasks("0-9:3,12%4"), Some(vec![0, 3, 6, 9, 12]));
        assert_eq!(tasks("[0]"), Some(vec![0]));
        for wrong in ["", "N/A", "3-", "-3", "3,", "6-3", "0-9:0", "1-5,...", "3%", "3%x", "[3"] {
            assert_eq!(tasks(wrong), None, "{wrong}");
        }
        // A text that is not ours cannot make us count without end.
        assert_eq!(TaskSet::parse("0-4294967295").unwrap().tasks(1_000).count(), 1_000);
    }

    proptest! {
        #[test]
        fn what_is_spelled_is_read_back(tasks in prop::collection::btree_set(0..300_u32, 1..80)) {
            let tasks: Vec<u32> = tasks.into_iter().collect();
            let set = TaskSet::parse(&spelled(&tasks)).unwrap();
            prop_assert_eq!(set.tasks(1_000).collect::<Vec<_>>(), tasks.clone());
            for task in 0..300 {
                prop_assert_eq!(set.contains(task), tasks.contains(&task));
            }
        }
    }
}
