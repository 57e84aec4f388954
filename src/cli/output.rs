//! stdout: data for people as tables, for programs as one JSON document.

use std::io::{ErrorKind, Write};

use anstream::{AutoStream, ColorChoice};
use comfy_table::{ColumnConstraint, ContentArrangement, Table};
use serde::Serialize;

use crate::cli::error::{CliError, Exit};

/// Columns of a terminal that is none: pipes and files get what reads well at 80.
const WIDTH_DEFAULT: u16 = 80;

pub(super) struct Output {
    choice: ColorChoice,
}

impl Output {
    pub(super) fn new(choice: ColorChoice) -> Self {
        Self { choice }
    }

    /// Writes text as it is. A reader that went away is no error.
    pub(super) fn text(&self, text: &str) -> Result<(), CliError> {
        self.bytes(text.as_bytes())
    }

    pub(super) fn line(&self, line: &str) -> Result<(), CliError> {
        self.text(&format!("{line}\n"))
    }

    pub(super) fn bytes(&self, bytes: &[u8]) -> Result<(), CliError> {
        let mut stdout = AutoStream::new(std::io::stdout(), self.choice).lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(unwritten(&error)),
            Err(_) | Ok(()) => Ok(()),
        }
    }

    /// Bytes to a file or pipe, untouched.
    pub(super) fn raw(bytes: &[u8]) -> Result<bool, CliError> {
        let mut stdout = std::io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(unwritten(&error)),
            Ok(()) => Ok(true),
        }
    }

    pub(super) fn json(&self, value: &impl Serialize) -> Result<(), CliError> {
        let text =
            serde_json::to_string_pretty(value).map_err(|error| CliError::internal(&error))?;
        self.line(&text)
    }

    /// A table as wide as the terminal.
    pub(super) fn table(
        &self,
        header: &[Column<'_>],
        rows: Vec<Vec<String>>,
    ) -> Result<(), CliError> {
        self.text(&table(header, rows, width()))
    }

    /// The same, with what does not fit on lines of its own: nothing is cut.
    pub(super) fn wrapped(
        &self,
        header: &[Column<'_>],
        rows: Vec<Vec<String>>,
    ) -> Result<(), CliError> {
        self.text(&laid_out(header, rows, width(), None))
    }
}

fn unwritten(error: &std::io::Error) -> CliError {
    CliError::new(Exit::Internal, format!("cannot write the answer: {error}"))
        .hint("what was asked is done all the same: only telling it failed")
}

/// A column of a table, by its heading.
#[derive(Debug, Clone, Copy)]
pub(super) enum Column<'a> {
    /// Always shown whole.
    Whole(&'a str),
    /// Cut where the table would be wider than the terminal; what is cut ends in `…`.
    Elastic(&'a str),
}

/// A table without borders, one line per row.
pub(super) fn table(header: &[Column<'_>], rows: Vec<Vec<String>>, width: u16) -> String {
    laid_out(header, rows, width, Some(1))
}

/// The same; without `lines_max` nothing is cut.
pub(super) fn laid_out(
    header: &[Column<'_>],
    rows: Vec<Vec<String>>,
    width: u16,
    lines_max: Option<usize>,
) -> String {
    let mut table = Table::new();
    table
        .load_style(comfy_table::presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(width);
    table.set_header(header.iter().map(|column| match column {
        Column::Whole(heading) | Column::Elastic(heading) => *heading,
    }));
    for row in rows {
        let mut row = comfy_table::Row::from(row);
        if let Some(lines) = lines_max {
            row.max_height(lines);
        }
        table.add_row(row);
    }
    let last = header.len().saturating_sub(1);
    for (index, (column, kind)) in table.column_iter_mut().zip(header).enumerate() {
        column.set_padding((0, if index == last { 0 } else { 2 }));
        if matches!(kind, Column::Whole(_)) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table.to_string().lines().fold(String::new(), |text, line| text + line.trim_end() + "\n")
}

/// The width of the terminal, else the default.
pub(super) fn width() -> u16 {
    terminal_size::terminal_size().map_or(WIDTH_DEFAULT, |(width, _)| width.0)
}
