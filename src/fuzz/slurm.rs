//! What Slurm's commands print. Beside not falling over: nothing may come out of an answer that was not whole in it.

use std::collections::BTreeSet;

use super::corpus::{answers, texts};
use super::mutate::{Random, TOKENS};
use super::round;
use crate::domain::resolve::Asker;
use crate::domain::run::Answer;
use crate::ports::Output;
use crate::slurm::answer::judge;
use crate::slurm::commands::good;
use crate::slurm::found::{Said, WhichSlurm, site_text};
use crate::slurm::{config, nodes, sacct, squeue};

/// The nonce of the recordings.
const RECORDED: &str = "NONCE";

fn polls() -> Vec<Vec<u8>> {
    answers(|name| name.contains("poll"))
}

fn accounts() -> Vec<Vec<u8>> {
    answers(|name| name.contains("accounts"))
}

/// Whether a line begins with a number and the nonce.
fn begins_a_row(line: &str, mark: &str) -> bool {
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    digits > 0 && line[digits..].starts_with(mark)
}

#[test]
fn squeues_answers() {
    round("squeue", &polls(), |input, random| {
        let answer = squeue::parse(input, RECORDED);
        let text = String::from_utf8_lossy(input);
        assert_eq!(answer.rows.len() + answer.unread.len() + answer.dropped, text.lines().count());
        let mark = format!("|{RECORDED}|");
        let whole: Vec<&str> = text.lines().filter(|line| begins_a_row(line, &mark)).collect();
        for row in &answer.rows {
            // Its number, its columns, its reason and its name: each behind a whole nonce.
            let is_there = whole.iter().any(|line| {
                let parts: Vec<&str> = line.split(&mark).collect();
                parts.len() >= 4
                    && parts[0].parse() == Ok(row.raw)
                    && parts[1]
                        .split('|')
                        .nth(2)
                        .map(str::trim)
                        .is_some_and(|state| state.starts_with(&row.state.text))
                    && parts[3] == row.name
            });
            assert!(is_there, "{row:?} is in no line");
        }
        assert_eq!(squeue::parse(input, &random.word(20)).rows, []);
    });
}

#[test]
fn the_nodes_of_a_cluster() {
    let line = "NodeName=n4 CPUTot=8 ActiveFeatures=slow Gres=gpu:v100:2(S:0-1) OS=Linux 6.1 #1 SMP \
                RealMemory=8000 State=DOWN*+DRAIN Partitions=main,low Reason=y State=IDLE [root@1]\n";
    round("scontrol-nodes", &[line.into(), line.repeat(3).into()], |input, _| {
        let text = String::from_utf8_lossy(input);
        let nodes = nodes::parse(&text);
        assert!(nodes.len() <= text.lines().count());
        for node in nodes {
            let name = format!("NodeName={}", node.name);
            assert!(text.contains(&name), "{name} is in no line");
        }
    });
}

/// A name or a reason that somebody else chose: guesses at everything but the nonce, which nobody can know.
fn free_text(lines: &[&str], random: &mut Random) -> String {
    let mut text = String::new();
    for _ in 0..=random.below(6) {
        match random.below(3) {
            0 => {
                let line = lines[random.below(lines.len())];
                let guess = random.one_of(&["NONCE", "nonce", "", "|"]);
                text.push('\n');
                text.push_str(&line.replace(RECORDED, guess));
                text.push('\n');
            }
            _ => text.push_str(random.one_of(TOKENS)),
        }
    }
    text
}

/// Puts free text into the last column of one line, under a nonce of this answer's own. Gives the text and the line's place.
fn with_free_text(input: &[u8], random: &mut Random) -> Option<(String, String, usize)> {
    let text = String::from_utf8(input.to_vec()).ok()?;
    let lines: Vec<&str> = text.lines().collect();
    let mark = format!("|{RECORDED}|");
    let chosen = random.below(lines.len().max(1));
    let mut parts: Vec<&str> = lines.get(chosen)?.split(&mark).collect();
    let nonce = random.word(20);
    let name = free_text(&lines, random);
    let last = if parts.len() == 18 { 17 } else { 3 };
    *parts.get_mut(last)? = &name;
    let line = parts.join(&format!("|{nonce}|"));
    let other = |line: &&str| line.replace(RECORDED, &nonce);
    let all: Vec<String> = lines[..chosen]
        .iter()
        .map(other)
        .chain([line])
        .chain(lines[chosen + 1..].iter().map(other))
        .collect();
    Some((all.join("\n") + "\n", nonce, chosen))
}

#[test]
fn a_name_in_squeues_answer_changes_nothing_but_itself() {
    let corpus = polls();
    round("squeue, a hostile name", &texts(&["x"]), |_, random| {
        let recorded = &corpus[random.below(corpus.len())];
        let Some((text, nonce, _)) = with_free_text(recorded, random) else { return };
        let before = squeue::parse(recorded, RECORDED);
        let after = squeue::parse(text.as_bytes(), &nonce);
        let nameless = |answer: squeue::Answer| -> Vec<squeue::Row> {
            answer.rows.into_iter().map(|row| squeue::Row { name: String::new(), ..row }).collect()
        };
        assert_eq!(after.unread, Vec::<String>::new(), "{text}");
        let forged = "row of a name with a line break, which is recorded too";
        assert_eq!(nameless(after), nameless(before), "{forged}\n{text}");
    });
}

#[test]
fn a_name_in_accountings_answer_changes_nothing_but_itself() {
    let corpus = accounts();
    round("sacct, a hostile name", &texts(&["x"]), |_, random| {
        let recorded = &corpus[random.below(corpus.len())];
        let Some((text, nonce, chosen)) = with_free_text(recorded, random) else { return };
        // `allocation` is a name with a meaning: of an unfinished record, which is none.
        let key = |record: &sacct::Record| {
            (record.job, record.array_task, record.submitted_at, record.state.text.clone())
        };
        let keys = |records: Vec<sacct::Record>| records.iter().map(key).collect::<BTreeSet<_>>();
        let before = keys(sacct::parse(recorded, RECORDED).0);
        let after = keys(sacct::parse(text.as_bytes(), &nonce).0);
        let line =
            String::from_utf8_lossy(recorded).lines().nth(chosen).unwrap_or_default().to_owned();
        let own = keys(sacct::parse(line.replace("|allocation", "|x").as_bytes(), RECORDED).0);
        let added: Vec<_> = after.difference(&before).filter(|key| !own.contains(*key)).collect();
        let lost: Vec<_> = before.difference(&after).filter(|key| !own.contains(*key)).collect();
        assert!(added.is_empty() && lost.is_empty(), "{added:?} {lost:?}\n{text}");
    });
}

#[test]
fn accountings_answers() {
    round("sacct", &accounts(), |input, random| {
        let (records, dropped) = sacct::parse(input, RECORDED);
        let text = String::from_utf8_lossy(input);
        assert_eq!(records.len() + dropped, text.lines().count());
        let mark = format!("|{RECORDED}|");
        let whole: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split(&mark).collect())
            .filter(|parts: &Vec<&str>| parts.len() == 18)
            .collect();
        for record in &records {
            assert!(
                whole.iter().any(|parts| parts[17] == record.name
                    && parts[15].trim() == record.user.as_deref().unwrap_or(parts[15].trim())),
                "{record:?}"
            );
        }
        assert_eq!(sacct::parse(input, &random.word(20)).0, []);
    });
}

#[test]
fn a_cut_answer_is_none_and_gives_no_false_row() {
    let corpus = polls();
    round("cut answers", &texts(&["x"]), |_, random| {
        let whole = &corpus[random.below(corpus.len())];
        let cut = &whole[..random.below(whole.len())];
        let output = Output { code: Some(0), stdout: cut.to_vec(), stderr: Vec::new(), cut: false };
        assert_eq!(good(Ok(output)).is_ok(), cut.last().is_none_or(|last| *last == b'\n'));
        let (all, some) = (squeue::parse(whole, RECORDED).rows, squeue::parse(cut, RECORDED).rows);
        for (row, of_all) in some.iter().zip(&all) {
            assert!(
                of_all
                    .name
                    .starts_with(row.name.trim_end_matches('\u{fffd}').trim_end_matches('|'))
                    || row.name.contains('|'),
                "{row:?}"
            );
            assert_eq!(
                squeue::Row { name: String::new(), ..row.clone() },
                squeue::Row { name: String::new(), ..of_all.clone() }
            );
        }
    });
}

#[test]
fn sbatchs_answers() {
    let corpus =
        [answers(|name| name.contains("sbatch")), texts(&["123\n", "123;main\n", "Welcome\n7\n"])]
            .concat();
    round("sbatch", &corpus, |input, random| {
        let code = *random.one_of(&[&None, &Some(0), &Some(1), &Some(255)]);
        let is_out = random.below(2) == 0;
        let (stdout, stderr) =
            if is_out { (input.to_vec(), Vec::new()) } else { (Vec::new(), input.to_vec()) };
        let output = Output { code, stdout, stderr, cut: random.below(8) == 0 };
        let (cut, answer) = (output.cut, judge("main", &Ok(output)));
        let text = String::from_utf8_lossy(input);
        match answer {
            Answer::Acknowledged { job, .. } => {
                let number = job.job.to_string();
                let says_so = |line: &&str| {
                    let id = line.trim().split(';').next().unwrap_or_default();
                    id.trim_start_matches('0') == number
                };
                assert!(code == Some(0) && !cut && job.job > 0);
                assert!(text.trim().lines().any(|line| says_so(&line)), "{job}");
            }
            Answer::Refused { message, .. } => {
                assert!(matches!(code, Some(1 | 255)) && !message.is_empty());
                assert!(!message.chars().any(|c| c.is_control() && c != '\n'));
            }
            Answer::Unreachable { .. } => assert!(matches!(code, Some(1 | 255))),
            Answer::Lost { .. } => {}
        }
    });
}

#[test]
fn a_clusters_configuration() {
    let corpus = answers(|name| name.contains("show-config") || name.ends_with("config"));
    round("scontrol show config", &corpus, |input, _| {
        let text = String::from_utf8_lossy(input);
        if let Some(config) = config::parse(&text) {
            assert!(config.cluster_name.is_none_or(|name| text.contains(&name)));
        }
    });
}

/// The recorded answers to the three questions, of one release after the other.
fn asked() -> Vec<[Vec<u8>; 3]> {
    let of = |name: &'static str| answers(move |found| found.ends_with(name));
    let (configs, partitions) = (of("show-config"), of("show-partition"));
    let nodes = texts(&[
        "main|2|8|8000|gpu:a100:4(S:0-1)\nmain|10+|64|256000|(null)\n",
        "CLUSTER: c\nmain|1|2+|4000+|gpu:2\n",
    ]);
    assert!(!partitions.is_empty() && !configs.is_empty());
    let cases = partitions.len().max(nodes.len());
    let at = |all: &[Vec<u8>], place: usize| all[place % all.len()].clone();
    (0..cases)
        .map(|place| [at(&configs, place), at(&partitions, place), at(&nodes, place)])
        .collect()
}

#[test]
fn a_site_that_was_found_is_sound_or_none() {
    let which = WhichSlurm {
        directory: "/usr/bin".into(),
        elsewhere: std::collections::BTreeMap::new(),
        conf: None,
        clusters: None,
    };
    let asker = Asker {
        user: "anna".into(),
        uid: 1000,
        group: "staff".into(),
        groups: vec!["staff".into()],
        home: "/home/anna".into(),
    };
    let asked = asked();
    let corpus: Vec<Vec<u8>> = asked.iter().flatten().cloned().collect();
    round("a found site", &corpus, |input, random| {
        let mut said = asked[random.below(asked.len())].clone();
        said[random.below(3)] = input.to_vec();
        let [config, partitions, nodes] =
            said.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let said = Said { config: &config, partitions: &partitions, nodes: &nodes };
        match site_text(&which, &said, &asker) {
            Ok(text) => {
                let (_, problems) =
                    crate::domain::document::parse(&text, crate::domain::problem::SourceId(0));
                assert_eq!(problems, [], "{text}");
            }
            Err(why) => assert!(!why.is_empty() && why.len() < 4_000, "{why}"),
        }
    });
}
