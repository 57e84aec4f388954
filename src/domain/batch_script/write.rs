//! The spec as text: values through the TOML writer, everything else as comments of one line.

use toml::Value;

use crate::domain::batch_script::asked::Asked;
use crate::domain::batch_script::body::Body;
use crate::domain::batch_script::{Became, Fate};
use crate::domain::text::is_dangerous;

/// Longer lines of the script are cut in comments.
const SHOWN_MAX: usize = 65;

pub(super) fn spec(
    source: &str,
    asked: &Asked,
    compute: &[(&'static str, Value)],
    body: &Body,
    fates: &[Fate],
) -> String {
    let mut text = format!("# From {}.\n", shown(source));
    let told = [
        (Became::Taken, "Taken over, but look:"),
        (Became::Kept, "Kept as a command, and why:"),
        (Became::Left, "Not taken over, and why:"),
    ];
    for (became, title) in told {
        let told = fates.iter().filter(|fate| fate.became == became);
        let told: Vec<(&Fate, &String)> =
            told.filter_map(|fate| Some((fate, fate.why.as_ref()?))).collect();
        if !told.is_empty() {
            text.push_str(&format!("#\n# {title}\n"));
        }
        for (fate, why) in told {
            text.push_str(&format!("#  line {}: {}\n", fate.line, shown(&fate.text)));
            text.push_str(&format!("#    {}\n", plain(why)));
        }
    }
    text.push('\n');
    if let Some(name) = &asked.name {
        key(&mut text, "name", &Value::from(name.as_str()));
        text.push('\n');
    }
    text.push_str("[code]\n");
    if let Some(path) = &body.path {
        key(&mut text, "path", &Value::from(path.as_str()));
    }
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
    let container = body.container.iter().map(|image| ("container", Value::from(image.as_str())));
    environment.extend(container);
    table(&mut text, "environment", &environment);
    let variables: Vec<(&str, Value)> = body
        .variables
        .iter()
        .map(|(name, value)| (name.as_str(), Value::from(value.as_str())))
        .collect();
    table(&mut text, "environment.variables", &variables);
    table(&mut text, "compute", compute);
    let mut distributed = vec![("launcher", Value::from(body.launcher))];
    distributed
        .extend(body.processes_per_node.map(|n| ("processes_per_node", Value::from(i64::from(n)))));
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
    let name = if plain && !name.is_empty() { name.to_owned() } else { quoted(name) };
    text.push_str(&format!("{name} = {}\n", written(value)));
}

/// A value as TOML. What a reader could not see, or would see in another order, is written as escapes.
fn written(value: &Value) -> String {
    match value {
        Value::String(text) if text.chars().any(|c| is_dangerous(c) && !"\n\t".contains(c)) => {
            quoted(text)
        }
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(written).collect();
            format!("[{}]", values.join(", "))
        }
        Value::String(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_)
        | Value::Table(_) => value.to_string(),
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            c if is_dangerous(c) => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// The first line of a stretch of the script, for a comment.
fn shown(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    let mut cut: String = plain(first).chars().take(SHOWN_MAX).collect();
    if cut.chars().count() < text.chars().count() {
        cut.push('…');
    }
    cut
}

/// One line without anything that a comment must not hold.
fn plain(text: &str) -> String {
    text.chars().map(|c| if is_dangerous(c) { ' ' } else { c }).collect()
}
