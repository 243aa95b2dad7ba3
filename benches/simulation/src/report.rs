//! The results, as a table and as plots.

use std::{
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{fleet::Sums, plot, traffic::Traffic};

const BEGIN: &str = "<!-- table of `make simulation` -->\n\n";
const END: &str = "\n<!-- end of table -->";

/// A setting of leases.
pub struct Lease {
    /// Its name in the table.
    pub name: &'static str,
    /// Its names in the plots: two lines.
    pub lines: [&'static str; 2],
    /// The attribute `lease`.
    pub setting: Value,
}

/// A simulated day.
#[derive(Clone, Copy)]
pub struct Day {
    /// Where and when requests arrived.
    pub traffic: Traffic,
    /// The number of calls for each request.
    pub calls: f64,
    /// The part of the requests that waited for a call, in percent.
    pub waited: f64,
    /// What was refused although the limit had room for it, in percent of `max`, in hours with refusals.
    pub unspent: f64,
}

impl Day {
    /// What the sums of a day with a limit of `max` in an hour say.
    pub fn of(traffic: Traffic, sums: &Sums, max: u64) -> Self {
        let ratio = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
        Self {
            traffic,
            calls: ratio(sums.calls, sums.requests),
            waited: 100.0 * ratio(sums.waited, sums.requests),
            unspent: 100.0 * ratio(sums.unspent, sums.short * max),
        }
    }
}

/// The settings that are compared.
pub fn leases() -> Vec<Lease> {
    let lasts = |lasts: &str| json!({"up_to": {"lasts": lasts}});
    let lease = |name, lines, setting| Lease { name, lines, setting };
    vec![
        lease("none", ["none", ""], json!("none")),
        lease("adaptive", ["adaptive", "(lasts: 1s)"], json!("adaptive")),
        lease("lasts: 10s", ["lasts: 10s", ""], lasts("10s")),
        lease("lasts: 1m", ["lasts: 1m", ""], lasts("1m")),
        lease("lasts: 10m", ["lasts: 10m", ""], lasts("10m")),
        lease("most: 10", ["most: 10", "(lasts: 1s)"], json!({"up_to": {"most": 10}})),
    ]
}

/// The name of a kind of traffic in tables and plots.
pub const fn name(traffic: Traffic) -> &'static str {
    match traffic {
        Traffic::Even => "even",
        Traffic::Bursty => "bursty",
        Traffic::Skewed => "skewed",
    }
}

/// A table in Markdown. `days` has the days of each kind of traffic together, in the order of the settings.
pub fn table(leases: &[Lease], days: &[Day]) -> String {
    let mut table = String::from("| `lease` |");
    for column in ["calls per request", "requests that wait", "unspent"] {
        for traffic in Traffic::ALL {
            let _ = write!(table, " {column}, {} |", name(traffic));
        }
    }
    table.push_str("\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n");
    for (place, lease) in leases.iter().enumerate() {
        let row = || days.iter().skip(place).step_by(leases.len());
        let calls = row().map(|day| format!(" {:.3} |", day.calls));
        let waited = row().map(|day| format!(" {:.1} % |", day.waited));
        let unspent = row().map(|day| format!(" {:.2} % |", day.unspent));
        let cells: String = calls.chain(waited).chain(unspent).collect();
        let _ = writeln!(table, "| `{}` |{cells}", lease.name);
    }
    table
}

/// Writes the plots, and the table into docs/quotas.md.
pub fn keep(leases: &[Lease], days: &[Day]) -> Result<(), Box<dyn Error>> {
    let docs: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let page = docs.join("quotas.md");
    let text = fs::read_to_string(&page)?;
    let text = with_table(&text, &table(leases, days)).ok_or("docs/quotas.md has no place for a table")?;
    fs::write(page, text)?;
    plot::bars(&docs.join("quotas-calls.svg"), "Calls per request", leases, days, |day| day.calls)?;
    let title = "Unspent where requests were refused, % of the limit";
    plot::bars(&docs.join("quotas-unspent.svg"), title, leases, days, |day| day.unspent)
}

fn with_table(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{table}{END}{after}"))
}
