//! Counts the instructions that Envoy executes per request, with valgrind's callgrind.
//!
//! All threads of the Envoy process count, with the code that V8 made of the module, and no other process
//! does. Timers run meanwhile, and every five seconds Envoy flushes its statistics, which costs as much as
//! two or three requests. So requests are counted in several turns, and the median counts.

use std::{cell::RefCell, error::Error, ffi::OsString, process::Command, time::Duration};

use sidegate_harness::{Connection, debian};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::cases::{Case, plain};

/// How long one case may take; far more than it does on a busy machine.
const PATIENCE: Duration = Duration::from_secs(600);

/// How the worst cases are counted: a request of theirs costs as much as fifty others.
const WORST: Plan = Plan { warm_up: 400, settle: 10, turns: 3, requests: 10 };

/// How leases are counted: each turn has several calls, as many for each request as in the long run.
const LEASES: Plan = Plan { warm_up: 300, settle: 400, turns: 3, requests: 1_000 };

/// How many requests are sent, over one kept-alive connection.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Requests before callgrind instruments anything: V8 optimizes what runs often.
    pub warm_up: usize,
    /// Requests with instrumentation before the count: callgrind translates code when it first runs.
    pub settle: usize,
    /// Turns that are counted.
    pub turns: usize,
    /// Requests per turn.
    pub requests: u32,
}

/// Instructions per request, by case.
#[derive(Clone, Debug, Default)]
pub struct Counts(Vec<(&'static str, f64)>);

impl Counts {
    /// Counts the named cases, two at a time, from the last one on: the table ends with the case that takes
    /// longest.
    pub async fn of(names: &[&'static str], many: usize, plan: Plan) -> Result<Self, Box<dyn Error>> {
        let waiting = RefCell::new(names.to_vec());
        let (mut counts, others) =
            tokio::try_join!(in_turn(&waiting, many, plan), in_turn(&waiting, many, plan))?;
        counts.extend(others);
        Ok(Self(counts))
    }

    /// Instructions of a case, if it was counted.
    pub fn total(&self, case: &str) -> Option<f64> {
        self.0.iter().find(|(name, _)| *name == case).map(|(_, instructions)| *instructions)
    }

    /// Instructions of a case over those of a plain listener.
    pub fn added(&self, case: &str) -> Option<f64> {
        Some(self.total(case)? - self.total(plain(case))?)
    }

    /// What a case adds, in units of what another one adds.
    pub fn ratio(&self, case: &str, unit: &str) -> Option<f64> {
        Some(self.added(case)? / self.added(unit)?)
    }
}

/// Counts case after case until none is waiting.
async fn in_turn(
    waiting: &RefCell<Vec<&'static str>>,
    many: usize,
    plan: Plan,
) -> Result<Vec<(&'static str, f64)>, Box<dyn Error>> {
    let mut counts = Vec::new();
    loop {
        let Some(name) = waiting.borrow_mut().pop() else { return Ok(counts) };
        let counting = timeout(PATIENCE, count(name, many, plan)).await;
        let count = counting.map_err(|_| format!("{name}: not counted within {PATIENCE:?}"))?;
        counts.push((name, count.map_err(|error| format!("{name}: {error}"))?));
    }
}

async fn count(name: &'static str, many: usize, plan: Plan) -> Result<f64, Box<dyn Error>> {
    let plan = match name {
        "replicated_leases" => LEASES,
        _ if name.starts_with("worst_") || name.starts_with("plain_") => WORST,
        _ => plan,
    };
    let callgrind = Callgrind::new()?;
    let case = Case::start(name, many, &|setup| setup.under(callgrind.launcher(), PATIENCE)).await?;
    let sender = case.sender();
    let mut connection = first_answer(&case).await?;
    sender.send(&mut connection, plan.warm_up).await?;
    callgrind.control(&case, "instrumentation on")?;
    sender.send(&mut connection, plan.settle).await?;
    callgrind.control(&case, "zero")?;
    let mut turns = Vec::new();
    for _ in 0..plan.turns {
        sender.send(&mut connection, usize::try_from(plan.requests)?).await?;
        callgrind.control(&case, "dump")?;
        turns.push(f64::from(callgrind.dumped()?) / f64::from(plan.requests));
    }
    turns.sort_by(f64::total_cmp);
    turns.get(turns.len() / 2).copied().ok_or_else(|| "nothing was counted".into())
}

/// The first answer may be another than that of the case: a provider can be too slow for a process that has
/// just started.
async fn first_answer(case: &Case) -> Result<Connection, Box<dyn Error>> {
    let mut connection = Connection::open(case.address()).await?;
    while case.sender().send(&mut connection, 1).await.is_err() {
        sleep(Duration::from_millis(100)).await;
        connection = Connection::open(case.address()).await?;
    }
    Ok(connection)
}

/// An Envoy's valgrind: how it is started and controlled. Its files are in a directory that ends with it.
struct Callgrind {
    directory: TempDir,
}

impl Callgrind {
    fn new() -> Result<Self, Box<dyn Error>> {
        Ok(Self { directory: TempDir::with_prefix("sidegate-callgrind-")? })
    }

    /// The command line that Envoy's own is appended to.
    fn launcher(&self) -> Vec<OsString> {
        let mut counts = OsString::from("--callgrind-out-file=");
        counts.push(self.directory.path().join("counts"));
        let valgrind = debian("valgrind").into();
        vec![valgrind, "--tool=callgrind".into(), "--instr-atstart=no".into(), counts, self.prefix()]
    }

    /// Where valgrind and its control program meet.
    fn prefix(&self) -> OsString {
        let mut prefix = OsString::from("--vgdb-prefix=");
        prefix.push(self.directory.path().join("vgdb"));
        prefix
    }

    /// Has callgrind do this at once.
    fn control(&self, case: &Case, command: &str) -> Result<(), Box<dyn Error>> {
        let mut vgdb = Command::new(debian("vgdb"));
        let output =
            vgdb.arg(self.prefix()).arg(format!("--pid={}", case.process())).arg(command).output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("vgdb {command}: {}", String::from_utf8_lossy(&output.stderr)).into())
    }

    /// The instructions of all threads since the last dump, from the file that this dump wrote. Removes it.
    fn dumped(&self) -> Result<u32, Box<dyn Error>> {
        for file in std::fs::read_dir(self.directory.path())? {
            let file = file?;
            if file.file_name().to_string_lossy().starts_with("counts.") {
                let text = std::fs::read(file.path())?;
                std::fs::remove_file(file.path())?;
                let text = String::from_utf8_lossy(&text);
                let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
                return Ok(total.ok_or("callgrind wrote no total")?.trim().parse()?);
            }
        }
        Err("callgrind wrote no counts".into())
    }
}
