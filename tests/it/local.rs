//! Local jobs with real supervisors: whatever happens to script, supervisor or daemon, the truth is found again.

mod yard;

use nix::sys::signal::Signal;
use trainyard::domain::ids::Token;
use trainyard::domain::run::{Answer, JobEnd, Phase};
use trainyard::domain::run_files::RunFiles;
use trainyard::domain::units::Seconds;
use trainyard::local::{JobState, Record};
use trainyard::ports::Scheduler;

use crate::local::yard::{
    HOUR, PROGRAM, Yard, daemon, daemon_at, eventually, is_gone, pid_in, send,
};

#[test]
fn a_job_completes_in_its_own_environment() {
    let yard = Yard::new();
    let script = "pwd; echo told >&2; umask; env | cut -d= -f1 | sort | grep -v '^_$'; \
                  echo $TRAINYARD_JOB_ID $TRAINYARD_JOB_NAME; cat";
    let job = yard.submit(HOUR, script);
    yard.ends(&job, "COMPLETED", (JobEnd::Completed, Some(0), None));
    let seen = yard.look(&job).unwrap();
    assert_eq!((seen.granted.time_limit_seconds, seen.nodes.len()), (Some(3600), 1));
    assert!(seen.ended_at >= seen.started_at && seen.granted.cpus > Some(0));
    let log = job.log().replace(job.run_dir.to_str().unwrap(), "RUN_DIR");
    insta::assert_snapshot!(log, @"
    RUN_DIR
    told
    0077
    HOME
    LOGNAME
    PATH
    PWD
    SHELL
    SHLVL
    TRAINYARD_JOB_ID
    TRAINYARD_JOB_NAME
    USER
    7 7-x.1.tyhaaaaaaaaaaaaaaaaaaa
    ");
    yard.runtime.block_on(yard.scheduler.forget(&job.key));
    assert!(!job.spool.directory().exists());
    assert_eq!(yard.look(&job), None);
}

#[test]
fn a_point_of_a_sweep_is_started_where_its_sweep_is() {
    let yard = Yard::new();
    let (mut order, mut job) = yard.order(7, HOUR, "exit 3");
    fs_err::write(job.run_dir.join("job.2.sh"), "pwd; echo $TRAINYARD_JOB_NAME").unwrap();
    order.run_dir = RunFiles::point_dir(&job.run_dir, 5);
    (order.set, order.job_name.offset) = (2, Some(5));
    job.asked.token = job.asked.token.element(0);
    assert!(matches!(yard.answer(order), Answer::Acknowledged { .. }));
    yard.ends(&job, "COMPLETED", (JobEnd::Completed, Some(0), None));
    assert_eq!(yard.look(&job).unwrap().token, job.asked.token);
    let expected = format!("{}\n7-x@5.1.tyhaaaaaaaaaaaaaaaaaaa\n", job.run_dir.display());
    assert_eq!(job.log(), expected);
}

#[test]
fn a_scripts_exit_code_and_signal_are_kept() {
    for (script, code, signal) in [
        ("exit 3", Some(3), None),
        ("kill -9 $$", None, Some(9)),
        // A real-time signal, which has no name.
        ("kill -34 $$", None, None),
    ] {
        let yard = Yard::new();
        let job = yard.submit(None, script);
        yard.ends(&job, "FAILED", (JobEnd::Failed, code, signal));
    }
}

#[test]
fn a_script_that_cannot_be_started_fails_with_the_reason() {
    let yard = Yard::new();
    let (order, job) = yard.order(7, HOUR, "true");
    fs_err::remove_dir_all(job.run_dir.join("logs")).unwrap();
    assert!(matches!(yard.answer(order), Answer::Acknowledged { .. }));
    yard.ends(&job, "FAILED", (JobEnd::Failed, Some(127), None));
    let message = job.spool.record().unwrap().unwrap().message;
    assert!(message.contains("could not be started") && message.contains("logs/"), "{message}");
}

#[test]
fn a_script_that_is_gone_is_refused() {
    let yard = Yard::new();
    let (order, job) = yard.order(7, HOUR, "true");
    fs_err::remove_dir_all(&job.run_dir).unwrap();
    let Answer::Refused { message, for_now: false } = yard.answer(order) else {
        panic!("it should be refused")
    };
    assert!(message.contains("job.sh is gone"), "{message}");
}

#[test]
fn the_time_limit_ends_a_job() {
    let yard = Yard::new();
    let job = yard.submit(Some(Seconds(1)), "sleep 1000");
    yard.ends(&job, "TIMEOUT", (JobEnd::TimeLimit, None, Some(15)));
}

#[test]
fn with_grace_a_script_may_save_first() {
    let yard = Yard::new();
    let job = yard.submit(
        HOUR,
        "trap 'echo saved; exit 75' USR1; echo $$ > ready; while :; do sleep 0.01; done",
    );
    let record = yard.running(&job);
    pid_in(&job.file("ready"));
    // None of these ends a job: its terminal is gone, somebody is curious, a pipe broke.
    for signal in [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGPIPE] {
        send(record.process.pid, signal);
    }
    yard.cancel(&job, true);
    yard.ends(&job, "FAILED", (JobEnd::Failed, Some(75), None));
    assert_eq!(job.log(), "saved\n");
    yard.cancel(&job, true);
    yard.cancel(&job, false);
}

#[test]
fn a_script_that_was_warned_in_vain_is_told_to_end_and_then_killed() {
    let yard = Yard::new();
    let traps = "trap 'touch warned' USR1; trap 'touch told' TERM";
    let job = yard.submit(HOUR, &format!("{traps}; echo $$ > ready; while :; do sleep 0.01; done"));
    pid_in(&job.file("ready"));
    yard.cancel(&job, true);
    eventually("the warning", || job.file("warned").exists().then_some(()));
    assert!(!job.file("told").exists());
    yard.cancel(&job, false);
    eventually("the end", || job.file("told").exists().then_some(()));
    assert_eq!(yard.look(&job).unwrap().phase, Phase::Running, "it may take its time");
    yard.cancel(&job, false);
    yard.ends(&job, "CANCELLED", (JobEnd::Cancelled, None, Some(9)));
}

#[test]
fn a_script_is_warned_before_its_time_limit() {
    let yard = Yard::new();
    let script =
        "trap 'echo warned' USR1; trap 'echo over; exit 1' TERM\nwhile :; do sleep 0.01; done";
    let (mut order, job) = yard.order(7, Some(Seconds(3)), script);
    order.warn_before_end = Seconds(2);
    assert!(matches!(yard.answer(order), Answer::Acknowledged { .. }));
    yard.ends(&job, "TIMEOUT", (JobEnd::TimeLimit, Some(1), None));
    assert!(job.log().starts_with("warned\n"), "{}", job.log());
    assert!(job.log().ends_with("over\n"), "{}", job.log());
}

#[test]
fn without_grace_a_script_that_does_not_listen_is_killed() {
    let yard = Yard::new();
    let job = yard.submit(HOUR, "trap '' TERM; echo $$ > ready; while :; do sleep 0.01; done");
    pid_in(&job.file("ready"));
    yard.cancel(&job, false);
    // Asked again and again: the first time it may take its time.
    eventually("its death", || {
        yard.cancel(&job, false);
        (yard.look(&job).unwrap().phase != Phase::Running).then_some(())
    });
    yard.ends(&job, "CANCELLED", (JobEnd::Cancelled, None, Some(9)));
}

#[test]
fn a_stopped_job_is_cancelled_too() {
    let yard = Yard::new();
    let job = yard.submit(HOUR, "echo $$ > ready; kill -STOP $$");
    pid_in(&job.file("ready"));
    yard.cancel(&job, false);
    yard.ends(&job, "CANCELLED", (JobEnd::Cancelled, None, Some(15)));
}

#[test]
fn nothing_of_a_job_outlives_it() {
    let yard = Yard::new();
    let job = yard.submit(
        HOUR,
        "(setsid sh -c 'trap \"\" TERM HUP; (echo $$ > hidden; sleep 1000 & echo $! > deep; wait)' &)
         until [ -s hidden ] && [ -s deep ]; do sleep 0.01; done",
    );
    yard.ends(&job, "COMPLETED", (JobEnd::Completed, Some(0), None));
    for name in ["hidden", "deep"] {
        assert!(is_gone(pid_in(&job.file(name))), "{name}");
    }
}

#[test]
fn a_job_outlives_the_daemon_and_is_found_again() {
    let yard = Yard::new();
    let job = yard.submit(HOUR, "until [ -e go ]; do sleep 0.01; done; exit 4");
    let before = yard.running(&job);
    let Yard { dir, runtime, scheduler } = yard;
    drop((runtime, scheduler));
    let (runtime, scheduler) = daemon(dir.path(), PROGRAM);
    let yard = Yard { dir, runtime, scheduler };
    assert_eq!(yard.running(&job), before);
    fs_err::write(job.file("go"), "").unwrap();
    yard.ends(&job, "FAILED", (JobEnd::Failed, Some(4), None));
}

#[test]
fn a_job_without_its_supervisor_runs_until_its_script_is_over() {
    let yard = Yard::new();
    let job = yard.submit(HOUR, "echo $$ > ready; until [ -e go ]; do sleep 0.01; done");
    let script = pid_in(&job.file("ready"));
    let supervisor = yard.running(&job).process;
    send(supervisor.pid, Signal::SIGKILL);
    eventually("the supervisor's death", || (!supervisor.is_alive().unwrap()).then_some(()));
    // It trains: were it absent now, it would be submitted again beside itself.
    assert_eq!(yard.look(&job).unwrap().phase, Phase::Running);
    yard.runtime.block_on(yard.scheduler.forget(&job.key));
    assert!(job.spool.directory().exists());
    fs_err::write(job.file("go"), "").unwrap();
    eventually("absence", || yard.look(&job).is_none().then_some(()));
    assert!(is_gone(script));
}

#[test]
fn a_job_without_its_supervisor_can_be_cancelled() {
    for grace in [true, false] {
        let yard = Yard::new();
        let job = yard.submit(HOUR, "echo $$ > ready; sleep 1000 & sleep 1000");
        let script = pid_in(&job.file("ready"));
        let supervisor = yard.running(&job).process;
        send(supervisor.pid, Signal::SIGKILL);
        eventually("the supervisor's death", || (!supervisor.is_alive().unwrap()).then_some(()));
        yard.cancel(&job, grace);
        eventually("absence", || yard.look(&job).is_none().then_some(()));
        assert!(is_gone(script));
    }
}

#[test]
fn a_second_supervisor_does_nothing() {
    let yard = Yard::new();
    let job = yard.submit(HOUR, "echo start; until [ -e go ]; do sleep 0.01; done");
    let record = yard.running(&job);
    assert_eq!(yard.supervise(&job).code, Some(11));
    assert_eq!(yard.running(&job), record);
    fs_err::write(job.file("go"), "").unwrap();
    yard.ended(&job);
    assert_eq!(yard.supervise(&job).code, Some(11));
    assert_eq!(job.log(), "start\n");
}

#[test]
fn a_job_cancelled_before_it_started_never_does() {
    for grace in [true, false] {
        let yard = Yard::launching("/bin/true");
        let job = yard.submit(HOUR, "echo start");
        assert_eq!(yard.look(&job), None);
        yard.cancel(&job, grace);
        assert_eq!(yard.supervise(&job).code, Some(0));
        yard.ends(&job, "CANCELLED", (JobEnd::Cancelled, None, None));
        assert!(!job.file("logs/local-7.out").exists());
    }
}

#[test]
fn a_job_whose_supervisor_is_about_to_begin_is_not_absent() {
    let mut yard = Yard::launching("/bin/true");
    let mut job = yard.submit(HOUR, "true");
    assert!(yard.is_unsure(&job));
    // A supervisor that was never launched, and a clock that was set back.
    for (seconds, expected) in [(4, true), (5, false), (-1, false)] {
        (yard.runtime, yard.scheduler) = daemon_at(yard.dir.path(), PROGRAM, seconds);
        assert_eq!(yard.is_unsure(&job), expected, "after {seconds} s");
    }
    (yard.runtime, yard.scheduler) = daemon(yard.dir.path(), PROGRAM);
    job.asked.token = Token::from_bits(99);
    assert!(!yard.is_unsure(&job), "it is another submission's");
}

#[test]
fn a_supervisor_whose_spool_is_gone_does_not_stay() {
    let yard = Yard::new();
    let job = yard.submit(HOUR, "until [ -e go ]; do sleep 0.01; done");
    let supervisor = yard.running(&job).process;
    fs_err::remove_dir_all(job.spool.directory()).unwrap();
    fs_err::write(job.file("go"), "").unwrap();
    // It would try for ten minutes to write the end down.
    eventually("its end", || (!supervisor.is_alive().unwrap()).then_some(()));
}

#[test]
fn a_supervisor_without_an_order_says_so() {
    let yard = Yard::new();
    let (_, job) = yard.order(7, HOUR, "true");
    fs_err::create_dir_all(job.spool.directory()).unwrap();
    assert_eq!(yard.supervise(&job).code, Some(70));
    let trouble = fs_err::read_to_string(job.spool.trouble_file()).unwrap();
    assert_eq!(trouble, "the spool has no order");
}

#[test]
fn a_supervisor_that_cannot_be_launched_refuses_the_submission() {
    let yard = Yard::launching("/no/such/program");
    let (order, job) = yard.order(7, HOUR, "true");
    let Answer::Refused { message, for_now: false } = yard.answer(order) else {
        panic!("it should be refused")
    };
    assert!(message.starts_with("cannot launch the job's supervisor: cannot start /no/such/"));
    assert!(!job.spool.directory().exists());
}

#[test]
fn a_submission_is_handed_over_once() {
    let yard = Yard::launching("/bin/true");
    let (order, _) = yard.order(7, HOUR, "true");
    assert!(matches!(yard.answer(order.clone()), Answer::Acknowledged { .. }));
    assert!(matches!(yard.answer(order), Answer::Lost { .. }));
}

#[test]
fn a_number_that_another_database_used_is_not_mistaken() {
    let yard = Yard::new();
    let (mut order, mut job) = yard.order(7, HOUR, "until [ -e go ]; do sleep 0.01; done");
    let old = yard.answer(order.clone());
    yard.running(&job);
    order.job_name.token = Token::from_bits(99);
    job.asked.token = Token::from_bits(99);
    assert_eq!(yard.look(&job), None, "an earlier job of the number is another's");
    let refused = yard.answer(order.clone());
    assert!(
        matches!(&refused, Answer::Refused { message, .. } if message.contains("another database"))
    );
    fs_err::write(job.file("go"), "").unwrap();
    eventually("the old job's end", || {
        let record = job.spool.record().unwrap()?;
        (record.state == JobState::Completed).then_some(())
    });
    assert_eq!(yard.answer(order), old);
    yard.ends(&job, "COMPLETED", (JobEnd::Completed, Some(0), None));
}

#[test]
fn after_a_reboot_a_running_record_is_absent_and_elsewhere_it_is_unknown() {
    let yard = Yard::new();
    let job = yard.submit(HOUR, "true");
    yard.ended(&job);
    let mut record = job.spool.record().unwrap().unwrap();
    eventually("the supervisor's end", || (!record.process.is_alive().unwrap()).then_some(()));
    let mut rewritten = |change: &dyn Fn(&mut Record)| {
        change(&mut record);
        fs_err::write(job.spool.record_file(), serde_json::to_vec(&record).unwrap()).unwrap();
        yard.look(&job).map(|seen| (seen.phase, seen.word))
    };
    // As a supervisor leaves it that had no time to say more.
    assert_eq!(rewritten(&|record| record.state = JobState::Running), None);
    assert_eq!(rewritten(&|record| record.process.boot_id = "earlier".to_owned()), None);
    let elsewhere = rewritten(&|record| record.host = "another".to_owned());
    assert_eq!(elsewhere, Some((Phase::Unknown, "RUNNING".to_owned())));
}

#[test]
fn rubbish_is_shown_and_a_file_system_that_fails_is_silence() {
    let yard = Yard::new();
    let job = yard.submit(HOUR, "true");
    yard.ended(&job);
    fs_err::write(job.spool.record_file(), "{").unwrap();
    let seen = yard.look(&job).unwrap();
    assert_eq!((seen.phase, seen.word.as_str()), (Phase::Unknown, "UNREADABLE"));
    fs_err::remove_dir_all(job.spool.directory()).unwrap();
    assert_eq!(yard.look(&job), None);
    fs_err::write(job.spool.directory(), "").unwrap();
    let silence = yard.try_look(&job).unwrap_err();
    assert_eq!(silence.who, "local");
    assert!(silence.why.contains("job.json"), "{silence}");
}
