//! Computes medians of the samples, and writes them as a table and as `target/bench.json`.

use std::{error::Error, fmt::Write as _, time::Duration};

use serde_json::{Map, Value, json};
use sidegate_harness::project;

use crate::{
    budgets,
    cases::plain,
    instructions::Counts,
    loads::{self, Load},
    measure::Sample,
    verifications::{self, Verification},
};

/// Where the tables are in docs/performance.md.
const RESULTS: &str = "<!-- table of `make bench` -->\n";
const BUDGETS: &str = "<!-- budgets of `make bench` -->\n";
const LOADS: &str = "<!-- loads of `make bench` -->\n";
const VERIFICATIONS: &str = "<!-- verifications of `make bench` -->\n";
const END: &str = "<!-- end of table -->";

/// The result for one case. Times are microseconds of CPU per request.
#[derive(Clone, Debug)]
pub struct Outcome {
    name: &'static str,
    cpu: f64,
    /// Over the plain listener: first quartile, median, third quartile.
    added: [f64; 3],
    ratio_to_noop: f64,
    requests_per_second: f64,
    counted: Option<Counted>,
}

/// What callgrind counted for one case, per request.
#[derive(Clone, Copy, Debug)]
struct Counted {
    instructions: f64,
    /// Over the plain listener.
    added: f64,
    ratio_to_floor: f64,
}

impl Counted {
    fn of(name: &str, counts: &Counts) -> Option<Self> {
        Some(Self {
            instructions: counts.total(name)?,
            added: counts.added(name)?,
            ratio_to_floor: counts.ratio(name, "floor")?,
        })
    }
}

/// Evaluates rounds of samples, each in the order of `names`. Differences are taken within a round, then
/// medians over all rounds.
pub fn evaluate(names: &[&'static str], rounds: &[Vec<Sample>], counts: &Counts) -> Vec<Outcome> {
    let cpu = |sample: &Sample| microseconds(sample.cpu);
    let column = |name: &str, value: &dyn Fn(&Sample, Option<&Sample>) -> f64| -> Vec<f64> {
        let place = names.iter().position(|each| *each == name);
        let plain = names.iter().position(|each| *each == plain(name));
        let of =
            |round: &Vec<Sample>| Some(value(round.get(place?)?, plain.and_then(|plain| round.get(plain))));
        rounds.iter().filter_map(of).collect()
    };
    let added = |name: &str| quartiles(column(name, &|sample, plain| cpu(sample) - plain.map_or(0.0, cpu)));
    let [_, of_noop, _] = added("noop");
    let outcome = |name: &&'static str| {
        let [_, cpu, _] = quartiles(column(name, &|sample, _| cpu(sample)));
        let [_, wall, _] = quartiles(column(name, &|sample, _| microseconds(sample.wall)));
        let added = added(name);
        let ratio_to_noop = added[1] / of_noop;
        let counted = Counted::of(name, counts);
        Outcome { name, cpu, added, ratio_to_noop, requests_per_second: 1e6 / wall, counted }
    };
    names.iter().map(outcome).collect()
}

/// A table in Markdown.
pub fn table(outcomes: &[Outcome]) -> String {
    let mut table = String::from(
        "| case | instructions per request | added | in units of `floor` | CPU µs | added µs (quartiles) | requests/s |\n",
    );
    table.push_str("|---|---:|---:|---:|---:|---:|---:|\n");
    for Outcome { name, cpu, added: [low, added, high], requests_per_second, counted, .. } in outcomes {
        let _ = writeln!(
            table,
            "| `{name}` | {} | {cpu:.1} | {added:.1} ({low:.1} to {high:.1}) | {requests_per_second:.0} |",
            cells(counted.as_ref())
        );
    }
    table
}

/// The part of that table that counts show.
pub fn counts(names: &[&'static str], counts: &Counts) -> String {
    let mut table = String::from(
        "| case | instructions per request | added | in units of `floor` |\n|---|---:|---:|---:|\n",
    );
    for name in names {
        let _ = writeln!(table, "| `{name}` | {} |", cells(Counted::of(name, counts).as_ref()));
    }
    table
}

fn cells(counted: Option<&Counted>) -> String {
    match counted {
        Some(Counted { instructions, added, ratio_to_floor }) => {
            format!("{instructions:.0} | {added:.0} | {ratio_to_floor:.2}")
        }
        None => "| | ".to_owned(),
    }
}

/// Writes `target/bench.json`, and the tables into docs/performance.md.
pub fn keep(
    outcomes: &[Outcome],
    counts: &Counts,
    loads: &[Load],
    verifications: &[Verification],
) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(project("target"))?;
    let mut results = json(outcomes);
    if let Some(results) = results.as_object_mut() {
        let load = |load: &Load| {
            let fields = json!({"reload_cpu_ms": load.cpu.round(), "worker_megabytes": load.memory.round()});
            (load.name.to_owned(), fields)
        };
        results.insert("loads".to_owned(), Value::Object(loads.iter().map(load).collect()));
    }
    std::fs::write(project("target/bench.json"), format!("{results:#}\n"))?;

    let page = project("docs/performance.md");
    let mut text = std::fs::read_to_string(&page)?;
    let tables = [
        (RESULTS, table(outcomes)),
        (BUDGETS, budgets::table(counts)),
        (LOADS, loads::table(loads)),
        (VERIFICATIONS, verifications::table(verifications)),
    ];
    for (mark, table) in tables {
        text = with_table(&text, mark, &table).ok_or("docs/performance.md has no place for a table")?;
    }
    std::fs::write(page, text)?;
    Ok(())
}

fn with_table(text: &str, mark: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(mark)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{mark}{table}{END}{after}"))
}

/// Whether the report is complete, whatever the times.
pub fn check(outcomes: &[Outcome]) -> Result<(), Box<dyn Error>> {
    let report = json(outcomes);
    for outcome in outcomes {
        for field in ["cpu_us_per_request", "added_us", "ratio_to_noop", "requests_per_second"] {
            let value = report.get(outcome.name).and_then(|case| case.get(field));
            value.and_then(Value::as_f64).ok_or_else(|| format!("{}: no {field}", outcome.name))?;
        }
    }
    Ok(())
}

fn json(outcomes: &[Outcome]) -> Value {
    let rounded = |value: f64| (value * 1000.0).round() / 1000.0;
    let object = |outcome: &Outcome| {
        let mut object = json!({
            "cpu_us_per_request": rounded(outcome.cpu),
            "added_us": rounded(outcome.added[1]),
            "added_us_quartiles": [rounded(outcome.added[0]), rounded(outcome.added[2])],
            "ratio_to_noop": rounded(outcome.ratio_to_noop),
            "requests_per_second": outcome.requests_per_second.round(),
        });
        if let (Some(fields), Some(counted)) = (object.as_object_mut(), &outcome.counted) {
            fields.insert("instructions".to_owned(), json!(counted.instructions.round()));
            fields.insert("ratio_to_floor".to_owned(), json!(rounded(counted.ratio_to_floor)));
        }
        object
    };
    Value::Object(
        outcomes.iter().map(|outcome| (outcome.name.to_owned(), object(outcome))).collect::<Map<_, _>>(),
    )
}

fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// First quartile, median, third quartile; the nearest of the given values.
fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    [1, 2, 3].map(|quarter| {
        let place = last.saturating_mul(quarter).saturating_add(2) / 4;
        values.get(place).copied().unwrap_or_default()
    })
}
