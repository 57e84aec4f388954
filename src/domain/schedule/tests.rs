//! Moments and what is due, in zones that change their clocks.

use std::collections::BTreeSet;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use proptest::prelude::*;

use super::*;
use crate::domain::problem::SourceId;

fn calendar(cron: &str, zone: &str) -> Calendar {
    Calendar::of(cron, zone).unwrap_or_else(|faults| panic!("{cron} in {zone}: {faults:?}"))
}

fn t(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// The next times in the words of their zone.
fn next(cron: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let calendar = calendar(cron, zone);
    let zone = TimeZone::get(zone).expect("a zone");
    let mut at = t(after);
    let mut all = Vec::new();
    for _ in 0..count {
        at = calendar.next(at).expect("it comes");
        all.push(at.to_zoned(zone.clone()).strftime("%m-%d %H:%M%z").to_string());
    }
    all
}

#[test]
fn expressions_mean_what_crontab_5_says() {
    let utc = |cron: &str| next(cron, "UTC", "2026-05-01T12:00:00Z", 3);
    assert_eq!(utc("0 2 * * *"), ["05-02 02:00+0000", "05-03 02:00+0000", "05-04 02:00+0000"]);
    assert_eq!(utc("*/20 12 * * *"), ["05-01 12:20+0000", "05-01 12:40+0000", "05-02 12:00+0000"]);
    assert_eq!(
        utc("0 9-10,12 * * MON-fri"),
        ["05-04 09:00+0000", "05-04 10:00+0000", "05-04 12:00+0000"]
    );
    // Either day, where both are restricted.
    assert_eq!(utc("0 0 13 * 5"), ["05-08 00:00+0000", "05-13 00:00+0000", "05-15 00:00+0000"]);
    assert_eq!(utc("0 0 * jun 7"), ["06-07 00:00+0000", "06-14 00:00+0000", "06-21 00:00+0000"]);
    assert_eq!(utc("@weekly"), ["05-03 00:00+0000", "05-10 00:00+0000", "05-17 00:00+0000"]);
    assert_eq!(utc("@hourly"), utc("0 * * * *"));
    assert_eq!(next("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", 1), ["02-29 00:00+0000"]);
    // A second after the minute has begun, it is over.
    assert_eq!(next("0 2 * * *", "UTC", "2026-05-01T02:00:00Z", 1), ["05-02 02:00+0000"]);
    assert_eq!(next("0 2 * * *", "UTC", "2026-05-01T01:59:59Z", 1), ["05-01 02:00+0000"]);
}

#[test]
fn a_local_time_that_does_not_exist_comes_once_when_the_gap_is_over() {
    let berlin = |cron: &str| next(cron, "Europe/Berlin", "2026-03-28T12:00:00Z", 3);
    assert_eq!(berlin("30 2 * * *"), ["03-29 03:00+0200", "03-30 02:30+0200", "03-31 02:30+0200"]);
    // Two of them, and one at the moment itself, are one.
    assert_eq!(
        berlin("0,30 2,3 * * *"),
        ["03-29 03:00+0200", "03-29 03:30+0200", "03-30 02:00+0200"]
    );
    // What recurs is not made up for.
    assert_eq!(
        next("30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 3),
        ["03-29 01:30+0100", "03-29 03:30+0200", "03-29 04:30+0200"]
    );
    // A whole day that Samoa left out.
    assert_eq!(
        next("0 8 30 12 *", "Pacific/Apia", "2011-12-01T00:00:00Z", 1),
        ["12-31 00:00+1400"]
    );
}

#[test]
fn a_local_time_that_exists_twice_comes_once_unless_it_recurs() {
    let berlin = |cron: &str, after: &str| next(cron, "Europe/Berlin", after, 3);
    let noon = "2026-10-24T12:00:00Z";
    assert_eq!(
        berlin("30 2 * * *", noon),
        ["10-25 02:30+0200", "10-26 02:30+0100", "10-27 02:30+0100"]
    );
    // Asked in the hour that comes again.
    assert_eq!(berlin("30 2 * * *", "2026-10-25T01:10:00Z")[0], "10-26 02:30+0100");
    assert_eq!(
        berlin("*/30 * * * *", "2026-10-25T00:15:00Z"),
        ["10-25 02:30+0200", "10-25 02:00+0100", "10-25 02:30+0100"]
    );
}

const ZONES: &[&str] = &[
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    // Half an hour.
    "Australia/Lord_Howe",
    // At midnight.
    "America/Santiago",
    // In the other direction, and by the moon.
    "Africa/Casablanca",
    "Asia/Kathmandu",
];

/// A cron that looks at the clock on the wall once a minute, as Debian's does.
fn watched(
    zone: &TimeZone,
    matches: impl Fn(DateTime) -> bool,
    recurs: bool,
    (from, until): (Timestamp, Timestamp),
) -> BTreeSet<Timestamp> {
    let minute = SignedDuration::from_mins(1);
    let mut all = BTreeSet::new();
    let mut seen = zone.to_datetime(from);
    let mut at = from + minute;
    while at <= until {
        let wall = zone.to_datetime(at);
        let fires = if recurs {
            matches(wall)
        } else {
            // All that was not on the wall yet: nothing in an hour that comes again, a whole hour after one that was left out.
            let mut fires = false;
            while seen < wall {
                seen += minute;
                fires |= matches(seen);
            }
            fires
        };
        if fires {
            all.insert(at);
        }
        at += minute;
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_moment_is_one_that_a_clock_on_the_wall_shows(
        zone in prop::sample::select(ZONES),
        minutes in prop::collection::btree_set(0_i8..60, 1..4),
        hours in prop::option::of(prop::collection::btree_set(0_i8..24, 1..6)),
        day in 0_i64..3_650,
    ) {
        let list = |set: &BTreeSet<i8>| {
            set.iter().map(i8::to_string).collect::<Vec<_>>().join(",")
        };
        let hour = hours.as_ref().map_or("*".to_owned(), list);
        let calendar = calendar(&format!("{} {hour} * * *", list(&minutes)), zone);
        let zone = TimeZone::get(zone).expect("a zone");
        // Three days around a change, where there are such.
        let some = t("2020-01-01T00:00:00Z") + SignedDuration::from_hours(24 * day);
        let change = zone.following(some).next().map_or(some, |change| change.timestamp());
        // The tables of a zone may end at a second of 2038.
        let change = Timestamp::from_second(change.as_second() / 60 * 60).expect("a time");
        let (from, until) = (change - SignedDuration::from_hours(30), change + SignedDuration::from_hours(30));
        let matches = |wall: DateTime| {
            minutes.contains(&wall.minute()) && hours.as_ref().is_none_or(|hours| hours.contains(&wall.hour()))
        };
        let expected = watched(&zone, matches, hours.is_none(), (from, until));
        let first = calendar.next(from);
        let told: BTreeSet<Timestamp> = std::iter::successors(first, |last| calendar.next(*last))
            .take_while(|at| *at <= until)
            .collect();
        prop_assert_eq!(told, expected);
    }

    #[test]
    fn no_text_is_too_much(
        cron in "([0-9a-zA-Z*/,#LW@?é-]{0,6} ){0,6}|[0-9*]{1,2}(/[0-9]{1,2})?( [0-9*/,-]{1,5}){4}|\\PC{0,40}",
        zone in "[A-Za-z]{0,8}/?[A-Za-z./]{0,12}",
    ) {
        let at = t("2026-05-01T12:00:00Z");
        for zone in [zone.as_str(), "Europe/Berlin"] {
            let moment = Calendar::of(&cron, zone).ok().and_then(|calendar| calendar.next(at));
            prop_assert!(moment.is_none_or(|moment| moment > at));
        }
    }

    #[test]
    fn whenever_it_is_asked_the_next_moment_is_the_same(
        zone in prop::sample::select(ZONES),
        cron in prop::sample::select(&["30 2 * * *", "*/7 * * * *", "0 0 1 * *", "15 1-3 * * sun"][..]),
        start in 1_600_000_000_i64..2_000_000_000,
        back in 0_i64..90_000,
    ) {
        let calendar = calendar(cron, zone);
        let after = Timestamp::from_second(start).expect("a time");
        let next = calendar.next(after).expect("it comes");
        prop_assert!(next > after);
        let earlier = after - SignedDuration::from_secs(back);
        let mut all = std::iter::successors(calendar.next(earlier), |last| calendar.next(*last));
        let reached = all.find(|at| *at > after);
        prop_assert_eq!(reached, Some(next));
    }

    /// However a day is cut into looks, no time is taken up twice, and none is forgotten: it has a run or counts as missed.
    #[test]
    fn each_time_is_taken_up_once_or_missed(
        zone in prop::sample::select(ZONES),
        cron in prop::sample::select(&["30 2 * * *", "*/17 * * * *", "0 */3 * * *"][..]),
        catch_up in any::<bool>(),
        looks in prop::collection::vec(1_i64..40_000, 1..20),
    ) {
        let calendar = calendar(cron, zone);
        let start = t("2026-10-24T00:00:00Z");
        let (mut now, mut next_at) = (start, calendar.next(start).expect("it comes"));
        let mut fired = Vec::new();
        let mut missed = 0;
        for seconds in looks {
            now += SignedDuration::from_secs(seconds);
            if next_at > now {
                continue;
            }
            let due = due(&calendar, catch_up, (next_at, now));
            missed += due.missed.map_or(0, |missed| missed.count);
            if let Some(at) = due.fires {
                prop_assert!(at <= now && fired.last().is_none_or(|last| *last < at));
                prop_assert!(catch_up || !is_late(at, now));
                fired.push(at);
            }
            prop_assert!(!catch_up || due.fires.is_some(), "one run makes up for what was missed");
            next_at = due.next.expect("it comes");
            prop_assert!(next_at > now);
        }
        let all = std::iter::successors(calendar.next(start), |last| calendar.next(*last));
        let over = all.take_while(|at| *at <= now).count();
        prop_assert_eq!(fired.len() + missed, over);
    }
}

#[test]
fn what_was_missed_is_told_and_made_up_for_only_when_asked() {
    let daily = calendar("0 2 * * *", "UTC");
    let (first, back) = (t("2026-05-01T02:00:00Z"), t("2026-05-03T09:00:00Z"));
    let lost = due(&daily, false, (first, back));
    assert_eq!(lost.fires, None);
    let missed = lost.missed.expect("some");
    assert_eq!((missed.count, missed.first), (3, first));
    assert_eq!(missed.to_string(), "3 times, the last 2026-05-03T02:00:00Z");
    assert_eq!(lost.next, Some(t("2026-05-04T02:00:00Z")));
    let made_up = due(&daily, true, (first, back));
    assert_eq!(made_up.fires, Some(t("2026-05-03T02:00:00Z")));
    assert_eq!(made_up.missed.expect("some").count, 2);
    // A little late is in time.
    let late = due(&daily, false, (first, first + SignedDuration::from_mins(15)));
    assert_eq!((late.fires, late.missed), (Some(first), None));
    let later = due(&daily, false, (first, first + SignedDuration::from_secs(15 * 60 + 1)));
    assert_eq!(later.fires, None);
}

#[test]
fn a_year_of_minutes_is_not_counted_one_by_one() {
    let (first, now) = (t("2025-05-01T00:00:00Z"), t("2026-05-01T00:00:30Z"));
    let due = due(&calendar("* * * * *", "UTC"), false, (first, now));
    assert_eq!(due.fires, Some(t("2026-05-01T00:00:00Z")));
    let missed = due.missed.expect("some");
    assert!(missed.to_string().starts_with("1000 times or more, the last 2026-04-30T23:59:00Z"));
    assert_eq!(missed.first, first);
    assert_eq!(due.next, Some(t("2026-05-01T00:01:00Z")));
}

#[test]
fn only_a_large_step_back_means_that_the_clock_was_wrong() {
    let now = t("2026-05-01T12:00:00Z");
    assert!(!was_set_back(now + SignedDuration::from_hours(3), now));
    assert!(was_set_back(now + SignedDuration::from_secs(3 * 3600 + 1), now));
    assert!(!was_set_back(now - SignedDuration::from_hours(24), now));
}

fn plan(cron: &str, zone: Option<&str>) -> Result<Plan, Vec<(usize, String, Option<String>)>> {
    let place = |start| Place { source: SourceId(0), start, end: start + 1 };
    let asked = spec::Schedule {
        cron: Some(At::new(cron.to_owned(), place(1))),
        timezone: zone.map(|zone| At::new(zone.to_owned(), place(2))),
        catch_up: None,
        if_active: None,
    };
    Plan::read(&At::new(asked, place(0)), "Europe/Berlin").map_err(|problems| {
        let told = |problem: Problem| {
            (problem.place.expect("a place").start, problem.message, problem.help)
        };
        problems.into_iter().map(told).collect()
    })
}

#[test]
fn what_cannot_be_meant_is_told_at_its_place() {
    #[track_caller]
    fn check(cron: &str, message: &str, help: Option<&str>) {
        let told = plan(cron, None).expect_err("is refused");
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((told[0].0, told[0].1.as_str()), (1, message));
        if let Some(help) = help {
            assert_eq!(told[0].2.as_deref(), Some(help));
        }
    }
    check(
        "0 25 * * *",
        "`schedule.cron`: `25` is no hour: value must be in range 0..=23; found 25",
        None,
    );
    check(
        "0 2 * * mox",
        "`schedule.cron`: `mox` is no day of the week: malformed expression",
        Some("as in crontab(5): `0 2 * * *`, `*/15 9-17 * * mon-fri`, `@daily`"),
    );
    check("0 0 2 * * *", "`schedule.cron`: `0 0 2 * * *` has 6 fields, not 5", None);
    check("@dayly", "`schedule.cron`: there is no `@dayly`", Some("did you mean `@daily`?"));
    check(
        "0 0 31 2 *",
        "`schedule.cron`: there is no day for `0 0 31 2 *` within four years",
        None,
    );
    check("", "`schedule.cron`: `` has 0 fields, not 5", None);
    check(&"0,".repeat(400), "`schedule.cron`: it has 800 bytes, more than 512", None);
    let without = spec::Schedule { cron: None, ..spec::Schedule::default() };
    let place = Place { source: SourceId(0), start: 7, end: 8 };
    let problems = Plan::read(&At::new(without, place), "UTC").expect_err("is refused");
    assert_eq!((problems.len(), problems[0].place), (1, Some(place)));
    let told = plan("x", Some("Europe/Berln")).expect_err("is refused");
    let places: Vec<usize> = told.iter().map(|(place, ..)| *place).collect();
    assert_eq!(places, [1, 2]);
    assert_eq!(told[1].1, "`schedule.timezone`: there is no time zone `Europe/Berln`");
    assert_eq!(told[1].2.as_deref(), Some("did you mean `Europe/Berlin`?"));
}

#[test]
fn a_plan_says_what_was_left_out() {
    let plan = plan("@daily", None).expect("is fine");
    assert_eq!((plan.timezone.as_str(), plan.catch_up), ("Europe/Berlin", false));
    assert_eq!(plan.if_active, IfActive::Skip);
    let start = t("2026-05-01T12:00:00Z");
    let next = plan.next_after(start);
    assert_eq!(next.len(), NEXT_TOLD);
    assert_eq!(next[0], t("2026-05-01T22:00:00Z"));
    assert_eq!(next[4], start + 106.hours());
    let newer = Plan { cron: "@weekly".into(), catch_up: true, ..plan.clone() };
    assert_eq!(plan.changes(&newer), ["cron: @daily → @weekly", "catch_up: false → true"]);
}
