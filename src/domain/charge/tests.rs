//! What attempts of a class of two nodes come to, by hand.

use super::*;
use crate::domain::ids::SubmissionId;
use crate::domain::resolved::Target;
use crate::domain::run::{AttemptState, Granted};

fn t(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_239_000 + second).unwrap()
}

/// Two nodes of a class with 32 CPUs, 512 000 MiB and 4 GPUs.
fn compute() -> Compute {
    Compute {
        target: Target::Slurm { cluster: "main".into() },
        class: "a100-4x".into(),
        nodes: 2,
        gpus_per_node: 4,
        time_limit: None,
        options: Vec::new(),
        rate: Some(3.0),
        terms: Terms {
            node: Size { cpus: Some(32), memory: Some(512_000), gpus: Some(4) },
            ..Terms::default()
        },
        local_scratch: None,
    }
}

/// An attempt that ran for an hour on all of what it asked for.
fn attempt() -> Attempt {
    Attempt {
        n: 1,
        submission: SubmissionId(1),
        restart: 0,
        job: "main:7".parse().unwrap(),
        state: AttemptState::Completed,
        slurm_state: None,
        reason: None,
        exit_code: None,
        signal: None,
        nodes: vec!["n1".into(), "n2".into()],
        granted: granted(64, 1_024_000, 8),
        elapsed_seconds: Some(3600),
        hardware: None,
        notices: String::new(),
        submitted_at: t(0),
        eligible_at: None,
        started_at: Some(t(10)),
        ended_at: Some(t(3610)),
        absent_since: None,
        script_end: None,
        self_reported: false,
        warned_at: None,
        failed_nodes: Vec::new(),
        data_drift: None,
        saved_at: None,
        began: None,
        shown: None,
    }
}

fn granted(cpus: u64, memory: u64, gpus: u64) -> Granted {
    let (cpus, memory, gpus) = (Some(cpus), Some(memory), Some(gpus));
    Granted { cpus, memory, gpus, nodes: Some(2), billing: Some(100), ..Granted::default() }
}

#[track_caller]
fn check(attempt: &Attempt, compute: &Compute, (node_hours, charge): (f64, f64)) {
    let used = in_compute(attempt, compute, t(9999));
    assert!((used.node_hours - node_hours).abs() < 1e-9, "{used:?}");
    assert!((used.charge.unwrap() - charge).abs() < 1e-9, "{used:?}");
}

#[test]
fn whole_nodes_cost_their_time_and_shared_ones_their_largest_part() {
    let whole = attempt();
    check(&whole, &compute(), (2.0, 6.0));
    let shared = |cpus, memory, gpus| Attempt { granted: granted(cpus, memory, gpus), ..attempt() };
    check(&shared(16, 10_240, 2), &compute(), (0.5, 1.5));
    check(&shared(1, 10_240, 6), &compute(), (1.5, 4.5));
    check(&shared(1, 512_000, 0), &compute(), (1.0, 3.0));
    // More than the class has on a node is a whole node still.
    check(&shared(900, 0, 0), &compute(), (2.0, 6.0));
    let exclusive = Terms { exclusive: true, ..compute().terms };
    let exclusive = Compute { terms: exclusive, ..compute() };
    check(&shared(16, 10_240, 2), &exclusive, (2.0, 6.0));
    // Nothing is known of the nodes, or of what was given: they count whole.
    let unknown = Compute { terms: Terms::default(), ..compute() };
    check(&shared(16, 10_240, 2), &unknown, (2.0, 6.0));
    check(&Attempt { granted: Granted::default(), ..attempt() }, &compute(), (2.0, 6.0));
}

#[test]
fn nodes_count_as_they_were_granted() {
    let three = Granted { nodes: Some(3), ..granted(96, 1_536_000, 12) };
    check(&Attempt { granted: three, ..attempt() }, &compute(), (3.0, 9.0));
    // Where nobody says how many they were, the script has named one of them only.
    let one = Attempt { granted: Granted::default(), nodes: vec!["n1".into()], ..attempt() };
    check(&one, &compute(), (2.0, 6.0));
}

#[test]
fn time_is_accountings_and_before_that_the_clocks() {
    let live = Attempt { ended_at: None, elapsed_seconds: None, ..attempt() };
    let used = |attempt: &Attempt, now| in_compute(attempt, &compute(), now);
    assert!((used(&live, t(1810)).elapsed_seconds - 1800.0).abs() < 1e-9);
    assert!((used(&live, t(1810)).gpu_hours - 4.0).abs() < 1e-9);
    // The clock was set back.
    assert_eq!(used(&live, t(0)).charge, Some(0.0));
    let queued = Attempt { started_at: None, ..live };
    assert_eq!(used(&queued, t(1810)), Used { charge: Some(0.0), ..Used::default() });
    let suspended = Attempt { elapsed_seconds: Some(3000), ..attempt() };
    assert!((used(&suspended, t(9999)).suspended_seconds - 600.0).abs() < 1e-9);
    check(&suspended, &compute(), (3000.0 * 2.0 / 3600.0, 5.0));
}

#[test]
fn a_class_without_a_rate_costs_nothing_that_is_known() {
    let free = Compute { rate: None, ..compute() };
    assert_eq!(in_compute(&attempt(), &free, t(9999)).charge, None);
    assert_eq!(of_compute(&free, 3600, t(0)), None);
    assert_eq!(of_compute(&compute(), 3600, t(0)), Some(6.0));
}

fn priced(terms: Terms) -> Compute {
    Compute { terms: Terms { node: compute().terms.node, ..terms }, ..compute() }
}

#[test]
fn a_site_counts_what_it_likes() {
    let by = |by| priced(Terms { by, ..Terms::default() });
    let some = Attempt { granted: granted(16, 10_240, 2), ..attempt() };
    check(&some, &by(Formula::GpuHours), (0.5, 6.0));
    check(&some, &by(Formula::CoreHours), (0.5, 48.0));
    check(&some, &by(Formula::Billing), (0.5, 300.0));
    // Before Slurm has told: what was asked for, and of its billing what Slurm counts without weights.
    let unknown = Attempt { granted: Granted::default(), ..attempt() };
    check(&unknown, &by(Formula::GpuHours), (2.0, 24.0));
    check(&unknown, &by(Formula::Billing), (2.0, 192.0));
    assert_eq!(of_compute(&by(Formula::GpuHours), 1800, t(0)), Some(12.0));
}

#[test]
fn time_is_rounded_up_and_a_start_costs_its_minimum() {
    let ran = |elapsed: u64| Attempt { elapsed_seconds: Some(elapsed), ..attempt() };
    let rounded = priced(Terms { round_up_to: Some(Seconds(600)), ..Terms::default() });
    check(&ran(600), &rounded, (1.0 / 3.0, 1.0));
    check(&ran(601), &rounded, (1202.0 / 3600.0, 2.0));
    check(&ran(0), &rounded, (0.0, 0.0));
    let least = priced(Terms { minimum: 0.25, ..Terms::default() });
    check(&ran(1), &least, (2.0 / 3600.0, 0.25));
    check(&ran(3600), &least, (2.0, 6.0));
    assert_eq!(of_compute(&least, 0, t(0)), Some(0.25));
    let queued = Attempt { started_at: None, ..attempt() };
    assert_eq!(in_compute(&queued, &least, t(9)).charge, Some(0.0), "it has not started");
    let suspended = priced(Terms { suspended: true, ..Terms::default() });
    check(&ran(3000), &suspended, (3000.0 * 2.0 / 3600.0, 6.0));
}

#[test]
fn the_rate_is_that_of_the_start() {
    let rates = vec![DatedRate { from: t(10), rate: 5.0 }, DatedRate { from: t(20), rate: 7.0 }];
    let dated = priced(Terms { rates, ..Terms::default() });
    let started = |second| Attempt { started_at: Some(t(second)), ..attempt() };
    check(&started(9), &dated, (2.0, 6.0));
    check(&started(10), &dated, (2.0, 10.0));
    check(&started(20), &dated, (2.0, 14.0));
    let later = Compute { rate: None, ..dated };
    assert_eq!(in_compute(&started(9), &later, t(9999)).charge, None);
}

#[test]
fn what_runs_has_an_outlook() {
    let mut running = Attempt { ended_at: None, elapsed_seconds: None, ..attempt() };
    let outlook = |attempt: &Attempt, now| outlook_in(attempt, &compute(), now);
    assert_eq!(outlook(&running, t(100)), Some(Outlook { per_hour: 6.0, at_limit: None }));
    running.granted.time_limit_seconds = Some(7200);
    assert_eq!(outlook(&running, t(100)), Some(Outlook { per_hour: 6.0, at_limit: Some(12.0) }));
    let over = outlook(&running, t(10 + 10_800)).unwrap();
    assert_eq!(over.at_limit, Some(18.0), "it is past its limit");
    assert_eq!(outlook(&attempt(), t(100)), None);
    let free = Compute { rate: None, ..compute() };
    assert_eq!(outlook_in(&running, &free, t(100)), None);
}
