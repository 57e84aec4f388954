//! The spec as text: values through the TOML writer, everything else as comments of one line.

use toml::Value;

use crate::domain::batch_script::Fate;
use crate::domain::batch_script::body::Body;
use crate::domain::batch_script::compute::Asked;

/// Longer lines of the script are cut in comments.
const SHOWN_MAX: usize = 70;

pub(super) fn spec(
    source: &str,
    asked: &Asked,
    compute: &[(&'static str, Value)],
    body: &Body,
    fates: &[Fate],
) -> String {
    let mut text = format!("# From {}.\n", shown(source));
    let left: Vec<&Fate> = fates.iter().filter(|fate| fate.why.is_some()).collect();
    if !left.is_empty() {
        text.push_str("# Not taken over, and why:\n");
    }
    for fate in left {
        let why = fate.why.as_deref().unwrap_or_default();
        text.push_str(&format!(
            "#  line {}: {}\n#    {}\n",
            fate.line,
            shown(&fate.text),
            shown(why)
        ));
    }
    text.push('\n');
    if let Some(name) = &asked.name {
        key(&mut text, "name", &Value::from(name.as_str()));
        text.push('\n');
    }
    text.push_str("[code]\n");
    let (command, args) = program(body);
    match (&body.entry_point, args) {
        (Some(entry), Some(args)) => {
            key(&mut text, "entry_point", &Value::from(entry.as_str()));
            table(&mut text, "args", &args);
        }
        _ => key(&mut text, "command", &Value::from(command)),
    }
    let mut environment = Vec::new();
    if !body.modules.is_empty() {
        environment.push(("modules", Value::from(body.modules.clone())));
    }
    environment.extend(body.conda.iter().map(|conda| ("conda", Value::from(conda.as_str()))));
    environment.extend(body.venv.iter().map(|venv| ("venv", Value::from(venv.as_str()))));
    table(&mut text, "environment", &environment);
    let variables: Vec<(&str, Value)> = body
        .variables
        .iter()
        .map(|(name, value)| (name.as_str(), Value::from(value.as_str())))
        .collect();
    table(&mut text, "environment.variables", &variables);
    table(&mut text, "compute", compute);
    let mut distributed = vec![("launcher", Value::from(body.launcher))];
    let processes = match body.launcher {
        "srun" => Some(asked.processes()),
        _ => body.processes_per_node,
    };
    distributed.extend(processes.map(|n| ("processes_per_node", Value::from(i64::from(n)))));
    table(&mut text, "distributed", &distributed);
    text
}

type Pairs<'a> = Vec<(&'a str, Value)>;

/// The command, and where the program is an entry point whose arguments `[args]` can say, these.
fn program(body: &Body) -> (Vec<String>, Option<Pairs<'_>>) {
    let Some(entry) = &body.entry_point else { return (body.command.clone(), None) };
    let words =
        ["python".to_owned(), entry.clone()].into_iter().chain(body.command.iter().cloned());
    (words.collect(), args(&body.command))
}

fn args(words: &[String]) -> Option<Pairs<'_>> {
    let mut args: Vec<(&str, Value)> = Vec::new();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let name = word
            .strip_prefix("--")
            .filter(|name| !name.is_empty() && !name.contains(['=', '{']))?;
        let mut values = Vec::new();
        while let Some(value) = words.next_if(|next| !next.starts_with('-')) {
            values.push(Value::from(value.as_str()));
        }
        if args.iter().any(|(known, _)| *known == name) {
            return None;
        }
        args.push((
            name,
            match values.as_slice() {
                [] => Value::from(true),
                [one] => one.clone(),
                _ => Value::Array(values),
            },
        ));
    }
    Some(args)
}

fn table(text: &mut String, name: &str, keys: &[(&str, Value)]) {
    if keys.is_empty() {
        return;
    }
    text.push_str(&format!("\n[{name}]\n"));
    for (name, value) in keys {
        key(text, name, value);
    }
}

fn key(text: &mut String, name: &str, value: &Value) {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    // JSON's strings are TOML's basic strings.
    let name = if plain && !name.is_empty() {
        name.to_owned()
    } else {
        serde_json::Value::from(name).to_string()
    };
    text.push_str(&format!("{name} = {value}\n"));
}

/// One line without anything that a comment must not hold.
fn shown(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut cut: String = line.chars().take(SHOWN_MAX).collect();
    if cut.len() < line.len() {
        cut.push('…');
    }
    cut
}
