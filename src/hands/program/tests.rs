//! Programs that are run to their end, held back, or left to run.

use std::path::{Path, PathBuf};
use std::time::Instant;

use tokio::task::JoinHandle;

use super::*;
use crate::files::process::ProcessId;

fn shell(script: &str) -> Program {
    Program {
        path: PathBuf::from("/bin/sh"),
        args: vec!["-c".to_owned(), script.to_owned()],
        environment: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
        directory: PathBuf::from("/"),
        stdin: None,
        deadline: Duration::from_mins(1),
        answer_bytes_max: 1000,
    }
}

async fn appears(path: &Path) -> u32 {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        if let Ok(text) = fs_err::read_to_string(path)
            && let Ok(pid) = text.trim().parse()
        {
            return pid;
        }
        assert!(Instant::now() < until, "{} never came", path.display());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn is_soon_gone(pid: u32) {
    let until = Instant::now() + Duration::from_secs(20);
    while ProcessId::of(pid).unwrap().is_some() {
        assert!(Instant::now() < until, "{pid} lives on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_program_hears_its_file_and_only_its_environment() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("in");
    fs_err::write(&input, "asked").unwrap();
    let program = Program { stdin: Some(input), ..shell("cat; env | grep -c . >&2; exit 3") };
    let output = run(program).await.unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.code, output.stdout), (Some(3), b"asked".to_vec()));
    // PATH, and PWD and perhaps _ that the shell itself adds.
    assert!(stderr.trim().parse::<u32>().unwrap() <= 4, "{stderr}");
    assert!(!output.cut);
    assert_eq!(run(shell("kill -9 $$")).await.unwrap().code, None);
}

#[tokio::test]
async fn what_is_over_the_cap_is_dropped_and_the_program_still_ends() {
    let script = "head -c 1000000 /dev/zero; echo end >&2";
    let output = run(shell(script)).await.unwrap();
    assert_eq!((output.code, output.stdout.len(), output.cut), (Some(0), 1000, true));
    assert_eq!(output.stderr, b"end\n");
    let output = run(shell("echo 7; head -c 5000000 /dev/zero >&2")).await.unwrap();
    assert_eq!((output.stdout, output.cut), (b"7\n".to_vec(), true));
    assert_eq!(output.stderr.len() as u64, WORDS_BYTES_MAX);
}

#[tokio::test]
async fn a_deadline_kills_the_children_too() {
    let dir = tempfile::tempdir().unwrap();
    let pid_file = dir.path().join("pid");
    let script = format!("sleep 1000 & echo $! > {}; wait", pid_file.display());
    let program = Program { deadline: Duration::from_millis(500), ..shell(&script) };
    let error = run(program).await.unwrap_err();
    assert!(matches!(error, ProgramError::Deadline { .. }), "{error}");
    is_soon_gone(appears(&pid_file).await).await;
}

#[tokio::test]
async fn giving_up_the_wait_kills_the_children_too() {
    let dir = tempfile::tempdir().unwrap();
    let pid_file = dir.path().join("pid");
    let waiting =
        tokio::spawn(run(shell(&format!("sleep 1000 & echo $! > {}; wait", pid_file.display()))));
    let child = appears(&pid_file).await;
    waiting.abort();
    is_soon_gone(child).await;
}

/// One that is started, and what has it read.
fn held(
    script: &str,
    input: &Path,
) -> (JoinHandle<Result<Output, ProgramError>>, oneshot::Sender<()>) {
    let program = Program { stdin: Some(input.to_owned()), ..shell(script) };
    let (read, told) = oneshot::channel();
    (tokio::spawn(run_held(program, input.to_owned(), told)), read)
}

#[tokio::test]
async fn a_held_program_has_started_and_reads_what_is_there_when_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let (input, begun) = (dir.path().join("in"), dir.path().join("begun"));
    let begins = format!("echo $$ > {}; cat | cksum", begun.display());
    let sums = |bytes: &[u8]| fs_err::write(&input, bytes).map(|()| bytes.len()).unwrap();
    // A page, what every pipe takes, what one takes that is made larger, and what none takes.
    for bytes in [5, 60_000, 300_000, 20_000_000] {
        let (ended, read) = held(&begins, &input);
        appears(&begun).await;
        let length = sums(&vec![b'x'; bytes]);
        read.send(()).unwrap();
        let output = ended.await.unwrap().unwrap();
        let summed = String::from_utf8(output.stdout).unwrap();
        let expected = format!(" {length}\n");
        assert_eq!((output.code, summed.ends_with(&expected)), (Some(0), true), "{summed}");
        fs_err::remove_file(&begun).unwrap();
    }
}

#[tokio::test]
async fn a_held_program_that_is_not_needed_is_killed_before_its_input_ends() {
    let dir = tempfile::tempdir().unwrap();
    let (input, begun) = (dir.path().join("in"), dir.path().join("begun"));
    let has_read = dir.path().join("has_read");
    fs_err::write(&input, "asked").unwrap();
    let script = format!("echo $$ > {}; cat; > {}", begun.display(), has_read.display());
    for aborts in [false, true] {
        let (ended, read) = held(&script, &input);
        let pid = appears(&begun).await;
        if aborts {
            ended.abort();
            ended.await.unwrap_err();
        } else {
            drop(read);
            ended.await.unwrap().unwrap_err();
        }
        is_soon_gone(pid).await;
        assert!(!has_read.exists());
        fs_err::remove_file(&begun).unwrap();
    }
}

#[tokio::test]
async fn a_held_program_that_does_not_wait_is_heard_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (input, begun) = (dir.path().join("in"), dir.path().join("begun"));
    fs_err::write(&input, "x".repeat(100_000)).unwrap();
    let (ended, read) =
        held(&format!("echo $$ > {}; echo no >&2; exit 7", begun.display()), &input);
    let pid = appears(&begun).await;
    let zombie = || fs_err::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") Z ");
    let until = Instant::now() + Duration::from_secs(20);
    while !zombie() {
        assert!(Instant::now() < until, "{pid} does not end");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    read.send(()).unwrap();
    let output = ended.await.unwrap().unwrap();
    assert_eq!((output.code, output.stderr), (Some(7), b"no\n".to_vec()));
    let (ended, read) = held("cat", &dir.path().join("missing"));
    read.send(()).unwrap();
    let error = ended.await.unwrap().unwrap_err();
    assert!(matches!(error, ProgramError::Stdin { .. }) && !error.may_pass(), "{error}");
}

#[tokio::test]
async fn a_missing_program_or_input_is_named() {
    let missing = Program { path: PathBuf::from("/no/such/program"), ..shell("") };
    let error = run(missing.clone()).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot start /no/such/program");
    let error = launch(&Handle::current(), &missing).unwrap_err();
    assert_eq!(error.to_string(), "cannot start /no/such/program");
    let input = Program { stdin: Some(PathBuf::from("/no/such/file")), ..shell("") };
    let error = run(input).await.unwrap_err();
    assert!(matches!(error, ProgramError::Stdin { .. }) && !error.may_pass(), "{error}");
}

#[tokio::test]
async fn a_launched_program_runs_on_and_leaves_no_zombie() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program { directory: dir.path().to_owned(), ..shell("pwd > .p; mv .p out") };
    let pid = launch(&Handle::current(), &program).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while !dir.path().join("out").exists() || Path::new(&format!("/proc/{pid}")).exists() {
        assert!(Instant::now() < until, "it did not end, or stayed as a zombie");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
