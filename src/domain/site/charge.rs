//! What a site says about charges: rates, since when they count, and what they are multiplied with.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::domain::charge::{DatedRate, Formula, Size, Terms};
use crate::domain::document::Node;
use crate::domain::keys::{FromNode, keys, wrong_kind};
use crate::domain::problem::{At, Problem};
use crate::domain::site::{Class, Site};
use crate::domain::spec::Interval;
use crate::domain::units::Seconds;

keys! {
    /// What is charged, beside the rate.
    pub struct Charge {
        /// What is counted and multiplied with the rate. Default: `node_hours`.
        by: At<Formula>,
        /// What an attempt that started costs at least, in charge units.
        minimum: At<f64>,
        /// Time is charged in whole multiples of this, up; at most a day. Default: to the second.
        round_up_to: Interval,
        /// Whether the time counts in which Slurm had suspended the job. Default: false.
        suspended: At<bool>,
    }
    later {}
}

/// The rate of a class: a number, or numbers and since when each counts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rates {
    /// What counts before any date.
    pub first: Option<f64>,
    /// Oldest first.
    pub dated: Vec<DatedRate>,
}

keys! {
    /// A rate, and since when it counts.
    pub struct Dated {
        from: At<Since>,
        rate: At<f64>,
    }
    later {}
}

/// A moment: a date, which begins at midnight UTC, or a time with its offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since(Timestamp);

/// No rate and no minimum is larger: with all that a run may use of it, sums stay exact to a thousandth.
const RATE_MAX: f64 = 1e9;

const ROUND_UP_TO_MAX: Seconds = Seconds(24 * 60 * 60);

/// Changes of one rate; more is a mistake, not a wish.
const DATES_MAX: usize = 1_000;

impl Rates {
    /// The rate at a moment.
    pub fn at(&self, at: Timestamp) -> Option<f64> {
        let begun = self.dated.iter().rev().find(|dated| dated.from <= at);
        begun.map(|dated| dated.rate).or(self.first)
    }
}

impl FromNode for Rates {
    fn from_node(node: &At<Node>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        let Node::List(items) = &node.value else {
            let rate = At::from_node(node, path, problems)?;
            return in_bounds(&rate, path, problems)
                .map(|rate| Self { first: Some(rate), dated: Vec::new() });
        };
        let found = problems.len();
        if items.is_empty() || items.len() > DATES_MAX {
            let message = format!("`{path}` has {} rates, outside 1 … {DATES_MAX}", items.len());
            problems.push(Problem::at(node.place, message));
        }
        let mut rates = Self::default();
        for (index, item) in items.iter().enumerate() {
            rates.push(index, item, &format!("{path}[{index}]"), problems);
        }
        (problems.len() == found).then_some(rates)
    }
}

impl Rates {
    fn push(&mut self, index: usize, item: &At<Node>, path: &str, problems: &mut Vec<Problem>) {
        let found = problems.len();
        let Some(dated) = Dated::from_node(item, path, problems) else { return };
        let rate = dated.rate.and_then(|rate| in_bounds(&rate, &format!("{path}.rate"), problems));
        let example = "write { from = \"2026-01-01\", rate = 1.2 }";
        let problem = match (rate, &dated.from) {
            _ if problems.len() > found => return,
            (None, _) => Problem::at(item.place, format!("`{path}` has no `rate`")).help(example),
            (Some(_), None) if index > 0 => {
                Problem::at(item.place, format!("`{path}` does not say `from` when it counts"))
                    .help(example)
            }
            (Some(_), Some(from))
                if self.dated.last().is_some_and(|last| last.from >= from.value.0) =>
            {
                let message = format!("`{path}.from` is not after the one before it");
                Problem::at(from.place, message).help("the oldest comes first")
            }
            (Some(rate), Some(from)) => {
                self.dated.push(DatedRate { from: from.value.0, rate });
                return;
            }
            (Some(rate), None) => {
                self.first = Some(rate);
                return;
            }
        };
        problems.push(problem);
    }
}

impl FromNode for Since {
    fn from_node(node: &At<Node>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        let (Node::Text(text) | Node::Datetime(text)) = &node.value else {
            return wrong_kind(node, path, "a date such as \"2026-01-01\"", problems);
        };
        let midnight =
            |date: Date| date.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
        let since = match text.parse::<Timestamp>() {
            Ok(since) => Some(since),
            Err(_) if text.len() == "2026-01-01".len() => text.parse().ok().and_then(midnight),
            Err(_) => None,
        };
        if since.is_none() {
            let message = format!("`{path}`: `{text}` is no date");
            let help = "write \"2026-01-01\", which begins at midnight UTC, or \"2026-01-01T00:00:00+01:00\"";
            problems.push(Problem::at(node.place, message).help(help));
        }
        since.map(Self)
    }
}

fn in_bounds(number: &At<f64>, path: &str, problems: &mut Vec<Problem>) -> Option<f64> {
    if number.value > RATE_MAX {
        let message = format!("`{path}` is more than {RATE_MAX}");
        problems.push(Problem::at(number.place, message));
    }
    (number.value <= RATE_MAX).then_some(number.value)
}

impl Charge {
    pub(super) fn check(&self, problems: &mut Vec<Problem>) {
        if let Some(minimum) = &self.minimum {
            in_bounds(minimum, "minimum", problems);
        }
        if let Some(unit) = &self.round_up_to
            && unit.value > ROUND_UP_TO_MAX
        {
            let message = format!("`round_up_to` is at most {ROUND_UP_TO_MAX}");
            problems.push(Problem::at(unit.place, message));
        }
    }
}

impl Site {
    /// What a start may cost is known before it only where what is counted is known: of a project with a budget that much is
    /// set aside, and what costs more takes the budget over.
    pub(super) fn check_bounds(&self, problems: &mut Vec<Problem>) {
        const WHOLE_NODES: &str =
            "write `by = \"node_hours\"`, and as `rate` what a whole node costs in an hour";
        let Some(budget) = self.budgets().next() else { return };
        let classes = self.class.iter().flat_map(|classes| &classes.0);
        for (name, class) in classes.filter(|(_, class)| class.rate.is_some()) {
            let terms = self.terms(class);
            let (why, help) = match terms.by {
                Formula::Billing => {
                    ("Slurm tells its billing only when it has started", WHOLE_NODES)
                }
                Formula::CoreHours if terms.exclusive => {
                    ("it gets all CPUs of its nodes", WHOLE_NODES)
                }
                Formula::CoreHours if terms.node.cpus.is_none() => {
                    ("how many it gets is not known", "add `cpus_per_node` to the class")
                }
                Formula::CoreHours | Formula::NodeHours | Formula::GpuHours => continue,
            };
            let by = |charge: &Option<Charge>| charge.as_ref().and_then(|charge| charge.by.clone());
            let of_site = || self.site.as_ref().and_then(|site| by(&site.charge));
            let Some(by) = by(&class.charge).or_else(of_site) else { continue };
            let message = format!(
                "a budget needs a bound on what a start may cost, and project `{}` has a budget: a start of \
                 class `{}` is charged by `{}`, and {why}",
                budget.project, name.value, by.value
            );
            problems.push(Problem::at(by.place, message).help(help));
        }
    }

    /// What a class costs: what it says itself, else what the site says.
    pub(in crate::domain) fn terms(&self, class: &Class) -> Terms {
        let own = class.charge.clone().unwrap_or_default();
        let site = self.site.as_ref().and_then(|site| site.charge.clone()).unwrap_or_default();
        let flag = |said: &Option<At<bool>>| said.as_ref().is_some_and(|said| said.value);
        Terms {
            by: own.by.or(site.by).map_or_else(Formula::default, |by| by.value),
            rates: class.rate.as_ref().map(|rates| rates.value.dated.clone()).unwrap_or_default(),
            minimum: own.minimum.or(site.minimum).map_or(0.0, |minimum| minimum.value),
            round_up_to: own.round_up_to.or(site.round_up_to).map(|unit| unit.value),
            suspended: flag(&own.suspended.or(site.suspended)),
            exclusive: flag(&class.exclusive),
            node: Size {
                cpus: class.cpus_per_node.as_ref().map(|cpus| cpus.value.get().into()),
                memory: class.memory_per_node.as_ref().map(|memory| memory.value.0),
                gpus: class.gpus_per_node.as_ref().map(|gpus| gpus.value.into()),
            },
        }
    }
}

impl JsonSchema for Rates {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Rates".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "a rate, or rates and since when each counts: [{ rate = 1.0 }, { from = \"2026-01-01\", rate = 1.2 }]",
            "anyOf": [
                { "type": "number", "minimum": 0 },
                {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "properties": { "from": { "type": "string" }, "rate": { "type": "number", "minimum": 0 } },
                        "required": ["rate"],
                        "additionalProperties": false,
                    },
                },
            ],
        })
    }
}

impl JsonSchema for Since {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Since".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "a date, or a time with its offset" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::document::parse;
    use crate::domain::problem::SourceId;
    use crate::domain::site::{Layer, LayerKind, effective};

    fn read(text: &str) -> (Site, Vec<String>) {
        let (table, mut told) = parse(text, SourceId(0));
        let (site, _, more) =
            effective(vec![Layer { kind: LayerKind::User, source: SourceId(0), table }]);
        told.extend(more);
        (site, told.into_iter().map(|problem| problem.message).collect())
    }

    fn class(keys: &str) -> String {
        format!("[cluster.c]\n[class.a]\n{keys}\n")
    }

    #[test]
    fn a_rate_counts_from_its_date() {
        let rates = "rate = [{ rate = 1.0 }, { from = '2026-01-01', rate = 1.2 }, \
                     { from = 2026-07-01T00:00:00+02:00, rate = 0 }]";
        let (site, told) = read(&class(rates));
        assert_eq!(told, Vec::<String>::new());
        let rates = &site.class("a").unwrap().rate.as_ref().unwrap().value;
        for (at, expected) in [
            ("2025-12-31T23:59:59Z", 1.0),
            ("2026-01-01T00:00:00Z", 1.2),
            ("2026-06-30T21:59:59Z", 1.2),
            ("2026-06-30T22:00:00Z", 0.0),
        ] {
            assert_eq!(rates.at(at.parse().unwrap()), Some(expected), "{at}");
        }
        let (site, _) = read(&class("rate = [{ from = '2026-01-01', rate = 1.2 }]"));
        let rates = &site.class("a").unwrap().rate.as_ref().unwrap().value;
        assert_eq!(rates.at("2025-12-31T23:59:59Z".parse().unwrap()), None);
    }

    #[test]
    fn a_class_says_what_the_site_says_otherwise() {
        let (site, told) = read(
            "[site.charge]\nby = 'gpu_hours'\nminimum = 0.5\n[cluster.c]\n[class.a]\nrate = 2\n\
             [class.a.charge]\nby = 'billing'\nround_up_to = '1m'\nsuspended = true\n[class.b]\n",
        );
        assert_eq!(told, Vec::<String>::new());
        let terms = |name| site.terms(site.class(name).unwrap());
        let a = terms("a");
        assert_eq!((a.by, a.suspended), (Formula::Billing, true));
        assert_eq!((a.round_up_to, a.minimum), (Some(Seconds(60)), 0.5));
        assert_eq!((terms("b").by, terms("b").suspended), (Formula::GpuHours, false));
    }

    #[test]
    fn a_budget_needs_a_bound_on_what_a_start_may_cost() {
        #[track_caller]
        fn check(text: &str, expected: Option<(usize, &str)>) {
            let (table, told) = parse(text, SourceId(0));
            assert_eq!(told, []);
            let (_, _, told) =
                effective(vec![Layer { kind: LayerKind::User, source: SourceId(0), table }]);
            let Some((line, words)) = expected else {
                assert_eq!(told, [], "{text}");
                return;
            };
            let [told] = told.as_slice() else { panic!("{text}: {told:?}") };
            let place = told.place.unwrap();
            assert_eq!(text[..place.start].lines().count(), line, "{text}");
            assert!(text[..place.start].ends_with("charge.by = "), "{text}");
            assert!(told.message.starts_with("a budget needs a bound on what a start may cost"));
            assert!(told.message.contains(words), "{}", told.message);
            assert!(told.help.is_some(), "{told:?}");
        }
        let budget = "[project.nlp]\nbudget = 1\n[cluster.c]\n[class.a]\n";
        let with = |keys: &str| format!("{budget}{keys}\n");
        let billing = with("rate = 1\ncharge.by = 'billing'");
        check(&billing, Some((6, "class `a` is charged by `billing`")));
        check(&billing.replace("budget = 1\n", ""), None);
        check(&billing.replace("rate = 1\n", ""), None);
        let cores = with("rate = 1\ncharge.by = 'core_hours'");
        check(&cores, Some((6, "how many it gets is not known")));
        check(&format!("{cores}cpus_per_node = 8\n"), None);
        let exclusive = format!("{cores}cpus_per_node = 8\nexclusive = true\n");
        check(&exclusive, Some((6, "it gets all CPUs of its nodes")));
        check(&with("rate = 1\nexclusive = true"), None);
        check(&with("rate = 1\ncharge.by = 'gpu_hours'"), None);
        // The site's own word, for a class that says nothing else.
        let site = with("rate = 1\n[site]\ncharge.by = 'billing'");
        check(&site, Some((7, "class `a` is charged by `billing`")));
        check(&site.replace("rate = 1\n", "rate = 1\ncharge.by = 'node_hours'\n"), None);
    }

    #[test]
    fn what_is_no_price_is_told() {
        for (keys, expected) in [
            ("rate = -1", "`class.a.rate` must be a finite number, 0 or more"),
            ("rate = nan", "`class.a.rate` must be a finite number, 0 or more"),
            ("rate = inf", "`class.a.rate` must be a finite number, 0 or more"),
            ("rate = 1e300", "`class.a.rate` is more than 1000000000"),
            ("rate = 'one'", "`class.a.rate` must be a number, not a string"),
            ("rate = []", "`class.a.rate` has 0 rates, outside 1 … 1000"),
            ("rate = [1]", "`class.a.rate[0]` must be a table, not an integer"),
            ("rate = [{ rate = -1 }]", "`class.a.rate[0].rate` must be a finite number, 0 or more"),
            ("rate = [{ from = '2026-01-01' }]", "`class.a.rate[0]` has no `rate`"),
            (
                "rate = [{ rate = 1 }, { rate = 2 }]",
                "`class.a.rate[1]` does not say `from` when it counts",
            ),
            (
                "rate = [{ from = '2026-13-01', rate = 1 }]",
                "`class.a.rate[0].from`: `2026-13-01` is no date",
            ),
            ("rate = [{ from = 'soon', rate = 1 }]", "`class.a.rate[0].from`: `soon` is no date"),
            (
                "rate = [{ from = '2026-02-01', rate = 1 }, { from = '2026-01-01', rate = 2 }]",
                "`class.a.rate[1].from` is not after the one before it",
            ),
            ("charge.by = 'gpu_hour'", "`class.a.charge.by` cannot be `gpu_hour`"),
            ("charge.minimum = -1", "`class.a.charge.minimum` must be a finite number, 0 or more"),
            ("charge.minimum = 1e10", "`minimum` is more than 1000000000"),
            ("charge.round_up_to = '25h'", "`round_up_to` is at most 1d"),
            ("charge.round_to = '1h'", "unknown key `class.a.charge.round_to`"),
        ] {
            assert_eq!(read(&class(keys)).1, [expected], "{keys}");
        }
    }
}
