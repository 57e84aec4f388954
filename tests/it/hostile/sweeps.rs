//! Hostile text as the values of a sweep's points: it comes to what it would come to in the spec itself.

use std::path::Path;

use jiff::Timestamp;
use trainyard::domain::problem::Problem;
use trainyard::domain::request::SpecRequest;
use trainyard::domain::resolve::{Context, Outcome};
use trainyard::domain::site::Site;
use trainyard::domain::sweep::Family;

use super::payloads;
use super::world::asker;

const HEAD: &str = "name = 'run'\n[code]\ncommand = ['dumper']\n";

fn request(text: &str, points: Option<&str>) -> SpecRequest {
    SpecRequest {
        file: "run.toml".into(),
        text: format!("{HEAD}{text}"),
        base: Path::new("/nowhere").into(),
        stem: "run".into(),
        changes: Vec::new(),
        points: points.map(|text| Ok(text.to_owned())),
        point: None,
    }
}

/// What the only point of a sweep comes to, or the problems of the whole.
fn of_point(request: &SpecRequest) -> Outcome {
    let (site, asker) = (Site::default(), asker());
    let family = Family::read(request).unwrap();
    let context: Context<'_> = request.context(&site, &asker);
    let checked = family.check(context, Timestamp::UNIX_EPOCH);
    let Some(point) = family.points.points.first() else {
        let of_spec = request.check(&site, &asker).outcome;
        return Outcome { resolved: None, problems: checked.problems, ..of_spec };
    };
    let outcome = family.resolve(point, context);
    assert_eq!(messages(&checked.problems), messages(&outcome.problems), "all points and one");
    outcome
}

fn messages(problems: &[Problem]) -> Vec<&str> {
    problems.iter().map(|problem| problem.message.as_str()).collect()
}

#[test]
fn a_value_of_a_point_is_as_safe_as_one_of_the_spec() {
    for text in payloads::all() {
        let value = toml::Value::String(text.clone());
        for key in ["args.x", "environment.variables.X", "compute.account", "metrics.file"] {
            let (table, name) = key.rsplit_once('.').unwrap();
            let spec = request(&format!("[{table}]\n{name} = {value}\n"), None);
            let plain = spec.check(&Site::default(), &asker()).outcome;
            let quoted = toml::Value::String(key.to_owned());
            let swept =
                of_point(&request(&format!("[sweep.parameters]\n{quoted} = [{value}]\n"), None));
            assert_eq!(messages(&plain.problems), messages(&swept.problems), "{key}: {text:?}");
            assert_eq!(plain.resolved, swept.resolved, "{key}: {text:?}");
            let line = serde_json::json!({ key: text }).to_string();
            let listed = "[sweep]\nmethod = 'list'\nfile = 'points.jsonl'\n";
            let of_file = of_point(&request(listed, Some(&line)));
            assert_eq!(messages(&plain.problems), messages(&of_file.problems), "{key}: {text:?}");
            assert_eq!(plain.resolved, of_file.resolved, "{key}: {text:?}");
        }
    }
}

#[test]
fn hostile_keys_and_files_are_refused_and_harm_nothing() {
    for text in payloads::all() {
        let quoted = toml::Value::String(text.clone());
        let swept = of_point(&request(&format!("[sweep.parameters]\n{quoted} = [1]\n"), None));
        assert!(swept.resolved.is_none(), "{text:?}");
        assert!(swept.problems.iter().all(|problem| problem.message.len() < 3_000), "{text:?}");
        for name in ["p.csv", "p.jsonl"] {
            let listed = format!("[sweep]\nmethod = 'list'\nfile = '{name}'\n");
            let is_point = of_point(&request(&listed, Some(&text))).resolved.is_some();
            // An object without keys is the spec as it is.
            assert_eq!(is_point, name == "p.jsonl" && text == "{}", "{name}: {text:?}");
        }
    }
}
