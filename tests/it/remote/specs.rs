//! What a spec would cost on another machine, and when it is submitted there.

use serde_json::json;

use crate::env::Said;
use crate::remote::said;
use crate::remote::sshd::Ssh;

#[test]
fn a_spec_of_this_machine_is_estimated_on_another_one() {
    let ssh = Ssh::new();
    let code = ssh.there.home().display().to_string();
    let text = format!(
        "[code]\npath = '{code}'\ncommand = ['true']\n[sweep.parameters]\n'args.n' = [1, 2]\n"
    );
    let (here, there) = (ssh.here.write("many.toml", &text), ssh.there.write("many.toml", &text));
    let estimate = format!("estimate {} --json", here.display());
    let estimated = said(&ssh, &estimate).success().json();
    assert_eq!((&estimated["name"], &estimated["points"]), (&json!("many"), &json!(2)));
    let by_itself = ssh.there.line(&format!("estimate {} --json", there.display()));
    assert_eq!(estimated, by_itself.success().json());
    let wrong = said(&ssh, &format!("{estimate} --class nowhere")).ended(3);
    assert!(wrong.stderr.contains("--class nowhere"), "{wrong}");
    assert!(wrong.stderr.contains("(as seen on login)"), "{wrong}");
    assert!(!wrong.stderr.contains("submitted"), "there was nothing to submit: {wrong}");
    let wrong = said(&ssh, &format!("submit {} --class nowhere", here.display())).ended(3);
    assert!(wrong.stderr.contains("; nothing was submitted (as seen on login)"), "{wrong}");
    assert!(!ssh.here.state_dir().exists(), "this machine has no part in it");
}

#[test]
fn a_schedule_is_added_on_another_machine_whose_file_it_reads() {
    let ssh = Ssh::new();
    let spec = ssh.there.bash_spec("nightly", "echo trained\n");
    let text = std::fs::read_to_string(&spec).unwrap();
    let write = |more: &str| std::fs::write(&spec, format!("{text}{more}")).unwrap();
    let schedule = "[schedule]\ncron = '0 2 * * *'\ntimezone = 'Europe/Berlin'\n";
    let add = format!("schedule add {}", spec.display());
    let none = said(&ssh, &add).ended(3);
    assert!(none.stderr.contains("nightly.toml has no [schedule] (as seen on login)"), "{none}");
    write(schedule);
    let added = said(&ssh, &add).success();
    assert_eq!(added.stdout.matches(" 02:00 CE").count(), 5, "{added}");
    let is_read =
        format!("the spec is read on login, at each time again: {} there", spec.display());
    assert!(added.stderr.contains(&is_read), "{added}");
    assert!(added.stderr.contains("schedule `nightly` added: 0 2 * * *, Europe/Berlin"), "{added}");
    assert!(added.stderr.contains("into your crontab on login"), "{added}");
    let again = said(&ssh, &format!("{add} --set schedule.catch_up=true")).success();
    assert!(again.stderr.contains("changed: catch_up: false → true"), "{again}");
    let listed = said(&ssh, "schedule list nightly --json").success().json();
    // It is the one that is added there.
    assert_eq!(listed, ssh.there.line("schedule list nightly --json").success().json());
    let by_itself = ssh.there.line("schedule add nightly.toml --set schedule.catch_up=true");
    assert!(by_itself.success().stderr.contains("`nightly` is as it was"), "{listed:#}");
    let run = said(&ssh, "schedule run-now nightly").success().stdout;
    assert_eq!(run, "1\n");
    drop(said(&ssh, "wait nightly").success());
    // What would submit nothing at its times is told now.
    write("[sweep.parameters]\n'args.n' = [1, 2]\n[schedule]\ncron = '0 2 30 2 *'\n");
    let never = said(&ssh, &add).ended(3);
    assert!(never.stderr.contains("(as seen on login)"), "{never}");
    std::fs::remove_dir_all(ssh.there.home().join("nightly-code")).unwrap();
    write(schedule);
    let lost = said(&ssh, &add).ended(3);
    assert!(lost.stderr.contains("there is no directory"), "{lost}");
    assert!(!lost.stderr.contains("submitted"), "there was nothing to submit: {lost}");
    let missing = said(&ssh, "schedule add missing.toml").ended(3);
    let file = ssh.here.home().join("missing.toml");
    assert!(missing.stderr.contains(&format!("cannot read {}: ", file.display())), "{missing}");
    assert!(missing.stderr.contains("hint: the spec of a schedule is read there"), "{missing}");
    assert!(!ssh.here.state_dir().exists(), "this machine has no part in it");
}

#[test]
fn a_schedule_of_what_the_other_machine_cannot_read_or_does_not_know_is_told_as_such() {
    let ssh = Ssh::new();
    let spec = ssh.there.bash_spec("nightly", "echo trained\n");
    let text = std::fs::read_to_string(&spec).unwrap();
    std::fs::write(&spec, format!("{text}[schedule]\ncron = '0 2 * * *'\n")).unwrap();
    // Only this machine knows that time zone.
    let zone = std::fs::read("/usr/share/zoneinfo/Europe/Berlin").unwrap();
    std::fs::create_dir_all(ssh.here.home().join("zoneinfo/Mars")).unwrap();
    std::fs::write(ssh.here.home().join("zoneinfo/Mars/Phobos"), zone).unwrap();
    let mut add = ssh.command(&format!("schedule add {}", spec.display()));
    let unknown =
        Said::of(add.env("TZ", "Mars/Phobos").env("TZDIR", ssh.here.home().join("zoneinfo")))
            .ended(3);
    assert!(unknown.stderr.contains("there is no time zone `Mars/Phobos`"), "{unknown}");
    assert!(unknown.stderr.contains("(as seen on login)"), "{unknown}");
    // Nobody writes into it: whoever opened it would wait for good.
    std::fs::remove_file(&spec).unwrap();
    assert!(ssh.there.bash("mkfifo nightly.toml").status().unwrap().success());
    let pipe = said(&ssh, &format!("schedule add {}", spec.display())).ended(3);
    let told = format!("cannot read {}: it is no regular file", spec.display());
    assert!(pipe.stderr.contains(&told), "{pipe}");
}
