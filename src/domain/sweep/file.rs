//! Points that are listed: in the spec, in a CSV file, or as JSON lines.
//!
//! CSV begins with the parameters' keys; a cell is TOML, or text where that fails, as `--set` has it, and an empty cell is
//! no value. Each of the JSON lines is an object; `null` is no value.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use crate::domain::document::{Node, parse_value};
use crate::domain::keys::join;
use crate::domain::problem::{At, PROBLEMS_MAX, Place, Problem};
use crate::domain::spec::TABLES;
use crate::domain::sweep::{POINTS_MAX, Point, Points};

/// Points as they are read, one by one; parameters are in the order in which they are first seen.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) points: Points,
    known: HashMap<String, usize>,
}

impl Rows {
    fn key(&mut self, key: At<String>) -> usize {
        let Rows { points: Points { keys, .. }, known } = self;
        *known.entry(key.value.clone()).or_insert_with(|| {
            keys.push(key);
            keys.len() - 1
        })
    }

    /// Whether more would be too many, so that nobody needs to read on.
    fn is_full(&self) -> bool {
        self.points.points.len() > POINTS_MAX
    }

    pub(super) fn push(
        &mut self,
        values: impl Iterator<Item = (At<String>, At<Node>)>,
        problems: &mut Vec<Problem>,
    ) {
        let mut row: Vec<(usize, Arc<At<Node>>)> = Vec::new();
        for (key, value) in values {
            let (place, name) = (key.place, key.value.clone());
            let key = self.key(key);
            if row.iter().any(|(known, _)| *known == key) {
                problems.push(Problem::at(place, format!("`{name}` is given twice at one point")));
            }
            row.push((key, Arc::new(value)));
        }
        row.sort_by_key(|(key, _)| *key);
        self.points.points.push(Point(row));
    }
}

/// Reads a file of points; its name says which kind it is.
pub(super) fn read(named: &At<String>, text: &At<&str>, problems: &mut Vec<Problem>) -> Points {
    let has_ending = |ending: &str| {
        let name = named.value.as_bytes();
        name.len()
            .checked_sub(ending.len())
            .is_some_and(|at| name[at..].eq_ignore_ascii_case(ending.as_bytes()))
    };
    if has_ending(".csv") {
        csv(text, problems)
    } else if has_ending(".jsonl") || has_ending(".ndjson") {
        json_lines(text, problems)
    } else {
        let message = format!("`{}` is no file of points", named.value);
        let help = "its name ends in `.csv` or `.jsonl`";
        problems.push(Problem::at(named.place, message).help(help));
        Points::default()
    }
}

fn csv(text: &At<&str>, problems: &mut Vec<Problem>) -> Points {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .flexible(true)
        .has_headers(false)
        .from_reader(text.value.as_bytes());
    let mut rows = Rows::default();
    let mut header: Option<Vec<At<String>>> = None;
    for record in reader.records() {
        if rows.is_full() {
            break;
        }
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                problems.push(Problem::at(text.place, error.to_string()));
                break;
            }
        };
        let start = record.position().map_or(0, csv::Position::byte);
        let place = line(text, usize::try_from(start).unwrap_or(usize::MAX));
        let Some(header) = &header else {
            let before = problems.len();
            header = Some(headings(&record, place, problems));
            if problems.len() > before {
                break;
            }
            continue;
        };
        if record.len() != header.len() {
            let (found, expected) = (record.len(), header.len());
            let message = format!("{found} values, and the first line names {expected} parameters");
            problems.push(Problem::at(place, message));
            if problems.len() > PROBLEMS_MAX {
                break;
            }
            continue;
        }
        let cells = header.iter().zip(&record).filter(|(_, cell)| !cell.is_empty());
        rows.push(cells.map(|(key, cell)| (key.clone(), cell_value(cell, place))), problems);
    }
    rows.points
}

fn headings(
    record: &csv::StringRecord,
    place: Place,
    problems: &mut Vec<Problem>,
) -> Vec<At<String>> {
    let mut keys: Vec<At<String>> = Vec::new();
    for key in record {
        // Spreadsheets begin their files with a mark.
        let key = key.trim_start_matches('\u{feff}');
        if key.is_empty() {
            problems.push(Problem::at(place, "a column has no name of a parameter"));
        } else if keys.iter().any(|known| known.value == key) {
            problems.push(Problem::at(place, format!("two columns are called `{key}`")));
        }
        keys.push(At::new(key.to_owned(), place));
    }
    keys
}

/// What a cell means: as [`parse_value`], which need not be asked about plain words and numbers.
fn cell_value(cell: &str, place: Place) -> At<Node> {
    let is_number = cell.parse::<i64>().ok().filter(|number| number.to_string() == cell);
    let is_word = cell.starts_with(|c: char| c.is_ascii_alphabetic())
        && !["true", "false", "inf", "nan"].contains(&cell);
    match is_number {
        Some(number) => At::new(Node::Integer(number), place),
        None if is_word => At::new(Node::Text(cell.to_owned()), place),
        None => parse_value(cell, place),
    }
}

/// The line that a byte of the text is in, without its end.
fn line(text: &At<&str>, start: usize) -> Place {
    let rest = text.value.get(start..).unwrap_or_default();
    let start = start + (rest.len() - rest.trim_start_matches(['\n', '\r']).len());
    let rest = text.value.get(start..).unwrap_or_default();
    let length = rest.find(['\n', '\r']).unwrap_or(rest.len());
    Place { source: text.place.source, start, end: start + length }
}

/// The places of its lines.
pub(super) fn lines(text: &At<&str>) -> Vec<Place> {
    let source = text.place.source;
    let mut next = 0;
    let place = |said: &str| {
        let start = next;
        next += said.len();
        Place { source, start, end: start + said.trim_end().len() }
    };
    text.value.split_inclusive('\n').map(place).collect()
}

/// Reads an object from each line that is not empty.
pub(super) fn json_lines(text: &At<&str>, problems: &mut Vec<Problem>) -> Points {
    let mut rows = Rows::default();
    let mut start = 0;
    for said in text.value.split_inclusive('\n') {
        let place = line(text, start);
        start += said.len();
        if said.trim().is_empty() {
            continue;
        }
        match serde_json::from_str::<Json>(said) {
            Ok(Json::Object(mut entries)) => {
                keep_numbers(&mut entries, said);
                let mut values = Vec::new();
                flatten(entries, "", place, &mut values, problems);
                rows.push(values.into_iter(), problems);
            }
            Ok(_) => {
                let message = "each line must be an object, as in {\"args.lr\": 0.1}";
                problems.push(Problem::at(place, message));
            }
            Err(error) => {
                let told = error.to_string();
                // Of the line, which is the parser's whole text.
                let why = told.split(" at line ").next().unwrap_or(&told);
                problems.push(Problem::at(place, format!("this line is no JSON: {why}")));
            }
        }
        if problems.len() > PROBLEMS_MAX || rows.is_full() {
            break;
        }
    }
    rows.points
}

fn flatten(
    entries: Vec<(String, Json)>,
    path: &str,
    place: Place,
    values: &mut Vec<(At<String>, At<Node>)>,
    problems: &mut Vec<Problem>,
) {
    for (key, value) in entries {
        let key = join(path, &key);
        match value {
            Json::Null => continue,
            Json::Object(inner) if TABLES.contains(&key.as_str()) => {
                flatten(inner, &key, place, values, problems);
                continue;
            }
            Json::Boolean(_)
            | Json::Integer(_)
            | Json::Float(_)
            | Json::Text(_)
            | Json::List(_)
            | Json::Object(_) => {}
        }
        if let Some(node) = value.node(place) {
            values.push((At::new(key, place), At::new(node, place)));
        } else {
            let message = format!("`{key}` is no value that a spec could have");
            problems.push(Problem::at(place, message));
        }
    }
}

/// Gives floats the text that the line has for them, which the parser does not tell.
fn keep_numbers(entries: &mut [(String, Json)], line: &str) {
    let mut written = numbers(line);
    for (_, value) in entries {
        value.keep(&mut written);
    }
}

/// The numbers of valid JSON, in their order.
fn numbers(json: &str) -> impl Iterator<Item = &str> {
    let mut rest = json;
    std::iter::from_fn(move || {
        loop {
            rest = &rest[rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit())?..];
            let Some(text) = rest.strip_prefix('"') else { break };
            let mut is_escaped = false;
            let ends = |c: char| {
                let is_end = c == '"' && !is_escaped;
                is_escaped = c == '\\' && !is_escaped;
                is_end
            };
            rest = &text[text.find(ends)? + 1..];
        }
        let is_other = |c: char| !(c.is_ascii_digit() || "+-.eE".contains(c));
        let (number, behind) = rest.split_at(rest.find(is_other).unwrap_or(rest.len()));
        rest = behind;
        Some(number)
    })
}

/// JSON that keeps the order of keys, and keys that stand twice.
#[derive(Debug)]
enum Json {
    Null,
    Boolean(bool),
    Integer(i64),
    /// As it is written.
    Float(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    fn keep<'a>(&mut self, written: &mut impl Iterator<Item = &'a str>) {
        match self {
            Self::Integer(_) => drop(written.next()),
            Self::Float(number) => {
                if let Some(text) = written.next() {
                    text.clone_into(number);
                }
            }
            Self::List(items) => items.iter_mut().for_each(|item| item.keep(written)),
            Self::Object(entries) => entries.iter_mut().for_each(|(_, value)| value.keep(written)),
            Self::Null | Self::Boolean(_) | Self::Text(_) => {}
        }
    }

    fn node(self, place: Place) -> Option<Node> {
        Some(match self {
            Self::Boolean(flag) => Node::Boolean(flag),
            Self::Integer(number) => Node::Integer(number),
            Self::Float(number) => Node::Float(number),
            Self::Text(text) => Node::Text(text),
            Self::List(items) => {
                let items = items.into_iter().map(|item| Some(At::new(item.node(place)?, place)));
                Node::List(items.collect::<Option<_>>()?)
            }
            Self::Null | Self::Object(_) => return None,
        })
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Json, E> {
        Ok(Json::Boolean(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Integer(number))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Json, E> {
        i64::try_from(number)
            .map(Json::Integer)
            .map_err(|_| E::custom("this integer does not fit into 64 bits"))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(Json::Float(format!("{number:?}")))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut object = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            object.push(entry);
        }
        Ok(Json::Object(object))
    }
}
