//! The one question of a poll: `squeue` for everything of ours that slurmctld remembers.
//!
//! Job names and reasons are free text and may hold anything, newlines and forged rows included. So a nonce made for the
//! call stands behind the first column and around the free text, which comes last: a line without it is no row, and
//! nothing inside a row can pass for a boundary. [`args`] and [`parse`] must change together.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use jiff::Timestamp;
use memchr::memmem::Finder;

use crate::domain::ids::JobKey;
use crate::domain::run::Digest;
use crate::domain::slurm_state::SlurmState;
use crate::slurm::fields;
use crate::slurm::tasks::TaskSet;

/// Columns between the job id and the free text. All of them are known to every release from 20.11 on; their values
/// hold no `|`.
const COLUMNS: [&str; 17] = [
    "arrayjobid",
    "arraytaskid",
    "state",
    "restartcnt",
    "exit_code",
    "submittime",
    "eligibletime",
    "starttime",
    "endtime",
    "nodelist",
    "tres-alloc",
    "timelimit",
    "partition",
    "qos",
    "account",
    "userid",
    "cluster",
];

/// The place of the task, or tasks, among the columns.
const TASK: usize = 1;

/// One job of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The job id, which the last task of an array shares with the array.
    pub raw: u64,
    pub array: u64,
    pub task: Option<u32>,
    /// The tasks that wait, which are one row together.
    pub tasks: Option<TaskSet>,
    pub state: SlurmState,
    pub restart: u32,
    pub exit: (Option<i32>, Option<i32>),
    pub submitted_at: Option<Timestamp>,
    pub eligible_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub nodes: String,
    pub tres: String,
    pub time_limit_seconds: Option<u64>,
    pub partition: Option<String>,
    pub qos: Option<String>,
    pub account: Option<String>,
    pub uid: Option<u32>,
    pub cluster: Option<String>,
    pub reason: Option<String>,
    pub name: String,
}

/// One line of an answer, in which nothing but the boundaries is looked for yet: of a hundred thousand rows most are
/// nobody's here, or say what they said before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    Row(Printed<'a>),
    /// A row of Slurm's with something missing: there is a job that is not shown. Where even the mark behind the name is,
    /// it may be any job's.
    Broken {
        text: &'a str,
        is_nameless: bool,
    },
    /// No row: a forged one, or what follows a newline in a name.
    Foreign,
}

/// A row as it was printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Printed<'a> {
    id: &'a str,
    columns: &'a str,
    reason: &'a str,
    pub name: &'a str,
}

/// Which tasks of an array a row is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tasks {
    One(u32),
    /// Those that wait.
    Several(TaskSet),
    /// Of none: it is no array's, or what is left of an array all of whose tasks that waited were cancelled.
    None,
    /// It does not say.
    Unknown,
}

/// A whole answer, all of whose rows are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    pub rows: Vec<Row>,
    /// Rows of Slurm's that cannot be read: jobs exist that are not in `rows`.
    pub unread: Vec<String>,
    /// How many of those do not even show a name.
    pub nameless: usize,
    /// Lines that are no rows.
    pub dropped: usize,
}

/// The words of the call. `-a` shows jobs in hidden partitions too.
pub fn args(nonce: &str) -> Vec<String> {
    let columns: String = COLUMNS.map(|column| format!(",{column}:|")).concat();
    let format = format!("jobid:|{nonce}|{columns}{nonce}|,reason:|{nonce}|,name:|{nonce}|");
    ["-h", "-a", "--me", "-t", "all", "-O", &format].map(str::to_owned).into()
}

/// The words of the call that shows one job.
pub fn args_of(job: &str, nonce: &str) -> Vec<String> {
    let mut args = args(nonce);
    args.push(format!("--jobs={job}"));
    args
}

/// The lines of an answer.
pub fn lines<'a>(text: &'a str, nonce: &str) -> impl Iterator<Item = Line<'a>> {
    let mark = format!("|{nonce}|");
    let finder = Finder::new(mark.as_bytes()).into_owned();
    let mut lines = text.lines().peekable();
    std::iter::from_fn(move || {
        let line = lines.next()?;
        let read = read_line(line, &finder);
        // A name may begin with a newline: then it goes on in what is no row.
        let (Line::Broken { .. }, Some(unnamed)) = (read, unnamed(line, &finder)) else {
            return Some(read);
        };
        let goes_on = lines.peek().is_some_and(|next| read_line(next, &finder) == Line::Foreign);
        Some(if goes_on { Line::Row(unnamed) } else { read })
    })
}

fn read_line<'a>(line: &'a str, finder: &Finder<'_>) -> Line<'a> {
    /// How often the nonce stands in a row whose free text has no newline.
    const MARKS: usize = 4;
    let mut parts = Parts { rest: Some(line), finder };
    let id = parts.next().filter(|id| is_number(id));
    match (id, parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(id), Some(columns), Some(reason), Some(name), end)
            if end.is_some() || !name.is_empty() =>
        {
            Line::Row(Printed { id, columns, reason, name })
        }
        // What follows a newline in a name has the mark behind it, once, and may be a number. Nobody else knows the nonce.
        (None, _, None, ..) | (Some(_), None | Some(""), None, ..) => Line::Foreign,
        _ => {
            let is_nameless = finder.find_iter(line.as_bytes()).count() < MARKS;
            Line::Broken { text: line, is_nameless }
        }
    }
}

/// A row that ends where its name begins.
fn unnamed<'a>(line: &'a str, finder: &Finder<'_>) -> Option<Printed<'a>> {
    let mut parts = Parts { rest: Some(line), finder };
    let (id, columns, reason, name) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    (name.is_empty() && parts.next().is_none()).then_some(Printed { id, columns, reason, name })
}

/// What stands between the marks of a line.
struct Parts<'a, 'f> {
    rest: Option<&'a str>,
    finder: &'f Finder<'f>,
}

impl<'a> Iterator for Parts<'a, '_> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest?;
        let found = self.finder.find(rest.as_bytes());
        self.rest = found.and_then(|at| rest.get(at + self.finder.needle().len()..));
        found.map_or(Some(rest), |at| rest.get(..at))
    }
}

/// Reads all of an answer.
pub fn parse(bytes: &[u8], nonce: &str) -> Answer {
    let text = String::from_utf8_lossy(bytes);
    let mut answer = Answer::default();
    for (line, text) in lines(&text, nonce).zip(text.lines()) {
        match line {
            Line::Row(printed) => match printed.row() {
                Some(row) => answer.rows.push(row),
                None => answer.unread.push(text.to_owned()),
            },
            Line::Broken { text, is_nameless } => {
                answer.unread.push(text.to_owned());
                answer.nameless += usize::from(is_nameless);
            }
            Line::Foreign => answer.dropped += 1,
        }
    }
    answer
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

impl Printed<'_> {
    pub fn tasks(&self) -> Tasks {
        let text = self.columns.split('|').nth(TASK).unwrap_or("");
        match text.parse() {
            Ok(task) => Tasks::One(task),
            Err(_) if text == "N/A" => Tasks::None,
            Err(_) => TaskSet::parse(text).map_or(Tasks::Unknown, Tasks::Several),
        }
    }

    /// Stands for what is printed, but for what changes all the time and means nothing: when slurmctld expects a job to
    /// start and to end that waits, and which tasks wait beside a task that waits.
    pub fn digest(&self) -> Digest {
        /// Places of the state and the expected times among the columns.
        const STATE: usize = 2;
        const EXPECTED: std::ops::Range<usize> = 7..9;
        let mut hasher = DefaultHasher::new();
        let mut waits = false;
        let is_shared = matches!(self.tasks(), Tasks::Several(_));
        for (place, column) in self.columns.split('|').enumerate() {
            waits |= place == STATE && column == "PENDING";
            if !(waits && EXPECTED.contains(&place) || is_shared && place == TASK) {
                column.hash(&mut hasher);
            }
        }
        let id = Some(self.id).filter(|_| !is_shared);
        (id, self.reason, self.name).hash(&mut hasher);
        Digest(hasher.finish())
    }

    /// The row; none where it is not what was asked for.
    pub fn row(&self) -> Option<Row> {
        let Printed { id, columns, reason, name } = *self;
        let columns: Vec<&str> = columns.split('|').collect();
        let columns: [&str; COLUMNS.len()] = columns.try_into().ok()?;
        let [
            array,
            task,
            state,
            restart,
            exit,
            submitted,
            eligible,
            started,
            ended,
            nodes,
            tres,
            limit,
            ..,
        ] = columns;
        let [.., partition, qos, account, uid, cluster] = columns;
        Some(Row {
            raw: id.parse().ok()?,
            array: array.parse().ok()?,
            // A task's number, or what is left of the array: `3-6%2`.
            task: task.parse().ok(),
            tasks: if task.parse::<u32>().is_ok() { None } else { TaskSet::parse(task) },
            state: SlurmState::parse(state),
            restart: restart.parse().ok()?,
            exit: fields::exit(exit),
            submitted_at: fields::time(submitted),
            eligible_at: fields::time(eligible),
            started_at: fields::time(started),
            ended_at: fields::time(ended),
            nodes: nodes.to_owned(),
            tres: tres.to_owned(),
            time_limit_seconds: fields::limit(limit),
            partition: fields::text(partition),
            qos: fields::text(qos),
            account: fields::text(account),
            uid: uid.parse().ok(),
            cluster: fields::text(cluster),
            reason: fields::text(reason),
            name: name.to_owned(),
        })
    }
}

impl Row {
    /// Its identity on the cluster that the site calls so.
    /// Of a row that several tasks share it is that of one of them.
    pub fn key(&self, cluster: &str, task: Option<u32>) -> JobKey {
        let is_shared = |task: &u32| self.tasks.as_ref().is_some_and(|set| set.contains(*task));
        let array_task = self.task.or(task.filter(is_shared)).filter(|_| self.array > 0);
        let job = if array_task.is_some() { self.array } else { self.raw };
        JobKey { cluster: cluster.to_owned(), job, array_task }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Slurm 22.05 answers, with a job name that forges a row.
    const TEXT: &str = "\
2|n0nce|2|2-4%1|PENDING|0|0|1795239181|N/A|N/A|N/A||cpu=1,mem=4000M,node=1,billing=1|UNLIMITED|debug|(null)|(null)|0|priv|n0nce|JobArrayTaskLimit|n0nce|evil
7|NONCE|x|y|n0nce|
1|n0nce|1|N/A|RUNNING|2|0|1795239181|1795239181|1795239182|1795239782|p[1-2]|cpu=2,mem=8000M,node=2,billing=2|10:00|debug|normal|lab|1000|priv|n0nce|None|n0nce|42-llama.1.tyaaaaaaaaaaaaaaaaaaaa|n0nce|
4|n0nce|2|1|FAILED|0|768|1795239181|1795239182|1795239182|1795239187|p3|cpu=1|UNLIMITED|debug|(null)|(null)|0|priv|n0nce|NonZeroExitCode|n0nce|evil
7|NONCE|x|y|n0nce|
";

    #[test]
    fn rows_are_read_and_forged_ones_dropped() {
        let answer = parse(TEXT.as_bytes(), "n0nce");
        assert_eq!((answer.rows.len(), answer.dropped, answer.unread.len()), (3, 2, 0));
        let keys: Vec<String> =
            answer.rows.iter().map(|row| row.key("main", None).to_string()).collect();
        assert_eq!(keys, ["main:2", "main:1", "main:2_1"]);
        let row = &answer.rows[1];
        assert_eq!((row.restart, row.uid, row.time_limit_seconds), (2, Some(1000), Some(600)));
        assert_eq!((row.qos.as_deref(), row.account.as_deref()), (Some("normal"), Some("lab")));
        assert_eq!(
            (row.reason.as_deref(), row.name.as_str()),
            (None, "42-llama.1.tyaaaaaaaaaaaaaaaaaaaa")
        );
        assert_eq!(row.started_at.map(Timestamp::as_second), Some(1_795_239_182));
        assert_eq!(answer.rows[2].exit, (Some(3), None));
        assert_eq!(answer.rows[0].reason.as_deref(), Some("JobArrayTaskLimit"));
    }

    #[test]
    fn free_text_cannot_move_a_boundary() {
        let hostile = TEXT.replace("None|n0nce|42-llama", "a|b\u{1b}|c|n0nc|d|n0nce|42-llama");
        let answer = parse(hostile.as_bytes(), "n0nce");
        assert_eq!(answer.rows.len(), 3);
        assert_eq!(answer.rows[1].reason.as_deref(), Some("a|b\u{1b}|c|n0nc|d"));
    }

    #[test]
    fn a_row_that_cannot_be_read_is_kept_as_such() {
        // A column is missing, as after a release that does not know it.
        let missing = TEXT.replace("|RUNNING|2|", "|RUNNING|");
        let answer = parse(missing.as_bytes(), "n0nce");
        assert_eq!((answer.rows.len(), answer.unread.len()), (2, 1));
        assert!(answer.unread[0].contains("tyaaaaaaaaaaaaaaaaaaaa"));
        assert_eq!(answer.nameless, 0);
        let nameless = TEXT.replace("42-llama.1.tyaaaaaaaaaaaaaaaaaaaa|n0nce|", "");
        let answer = parse(nameless.as_bytes(), "n0nce");
        assert_eq!((answer.rows.len(), answer.unread.len(), answer.nameless), (2, 1, 1));
        // Without its id it is a row of Slurm's all the same.
        let answer = parse(TEXT.replace("\n1|n0nce|", "\n").as_bytes(), "n0nce");
        assert_eq!((answer.rows.len(), answer.unread.len(), answer.nameless), (2, 1, 1));
        // A name that begins with a newline is none that is missing.
        let late = TEXT.replace("evil\n7|NONCE", "\nevil7|NONCE");
        let answer = parse(late.as_bytes(), "n0nce");
        assert_eq!((answer.rows.len(), answer.unread.len(), answer.nameless), (3, 0, 0));
        assert_eq!(parse(b"", "n0nce"), Answer::default());
        assert_eq!(parse(b"\xff\xfe\n\n|n0nce|\n", "n0nce").dropped, 3);
        // Some name ends with a line that is a number.
        let numbered = TEXT.replace("7|NONCE|x|y|n0nce|", "123|n0nce|");
        let answer = parse(numbered.as_bytes(), "n0nce");
        assert_eq!((answer.rows.len(), answer.dropped, answer.unread.len()), (3, 2, 0));
        // Yesterday's nonce is no nonce.
        assert_eq!(parse(TEXT.as_bytes(), "another").dropped, 5);
    }

    #[test]
    fn every_cut_of_an_answer_gives_no_false_row() {
        // Of the name, which comes last, a part may be all there is.
        let nameless = |text: &str| -> Vec<Row> {
            let rows = parse(text.as_bytes(), "n0nce").rows.into_iter();
            rows.map(|row| Row { name: String::new(), ..row }).collect()
        };
        let whole = nameless(TEXT);
        for end in 0..TEXT.len() {
            let rows = nameless(&TEXT[..end]);
            assert_eq!(rows, whole[..rows.len()], "{end}");
        }
    }

    #[test]
    fn the_call_asks_for_what_is_read() {
        let args = args("n0nce");
        assert_eq!(args[..6], ["-h", "-a", "--me", "-t", "all", "-O"].map(str::to_owned));
        assert!(args[6].starts_with("jobid:|n0nce|,arrayjobid:|,arraytaskid:|,state:|"));
        assert!(args[6].ends_with(",userid:|,cluster:|n0nce|,reason:|n0nce|,name:|n0nce|"));
    }
}
