//! Reports what applications used: a background task that one worker runs for all.

use std::{collections::HashMap, time::Duration};

use super::{
    Provider, Transaction,
    codes::{Part, spread},
};
use crate::{
    ports::{Ports, Report, Wake},
    provider::{Body, CallOutcome, CallRecord, CallResult, HttpResponse, ProviderFault, Response},
    report::{Ledger, Outstanding},
    store::{Lease, Store, WorkerId},
};

/// Kinds of names of accounts.
pub(super) const USER_KEY: u8 = 0;
pub(super) const APP_ID: u8 = 1;
/// Marks the kind of an account that counts codes.
pub(super) const OF_CODES: u8 = 2;

/// The most transactions in a call. The backend takes a thousand.
const MOST_TRANSACTIONS: usize = 500;

/// The most codes in a report. The others wait for the next one.
const MOST_CODES: u64 = 10_000;

/// How much longer than its next renewal a worker holds the lease. A worker whose thread hangs for longer
/// may report twice.
const MARGIN: Duration = Duration::from_secs(10);

/// Reports to `provider`, which is `index` in the policy, until the policy is replaced. All workers run this;
/// the one with the lease reports.
pub async fn report<S: Store>(provider: &Provider, index: usize, ledger: &Ledger, ports: &Ports<S>) {
    let settings = provider.settings();
    let Some(worker) = WorkerId::next(ports.store().store()) else { return };
    let term = settings.report_every.saturating_add(settings.timeout).saturating_add(MARGIN);
    let lease = Lease::new(&format!("reports/{}", provider.digest().to_hex()), worker, term);
    loop {
        let due = ports.now().saturating_add(settings.report_every);
        if ports.sleep_until(due).await == Wake::LastTurn {
            // The next policy's task goes on from here at once.
            lease.give_up(ports.store());
            return;
        }
        if lease.hold(ports.store()) {
            send(provider, index, ledger, &lease, ports).await;
        }
    }
}

/// What a report says of one account.
struct Entry<'a> {
    account: &'a Outstanding,
    /// The account of its codes.
    codes: Option<&'a Outstanding>,
    part: Part,
}

/// Sends everything that is outstanding, and says how much is left.
async fn send<S: Store>(provider: &Provider, index: usize, ledger: &Ledger, lease: &Lease, ports: &Ports<S>) {
    let outstanding = ledger.outstanding(ports.store(), provider.digest());
    let (codes, usage): (Vec<_>, Vec<_>) =
        outstanding.into_iter().partition(|account| account.kind & OF_CODES != 0);
    let mut left: u64 = usage.iter().map(Outstanding::total).fold(0, u64::saturating_add);
    ports.report(Report::Unreported { provider: index, amount: left });
    let (shared, alone) = entries(&usage, &codes);
    let batches = shared.chunks(MOST_TRANSACTIONS).chain(alone.chunks(1));
    for batch in batches {
        // A call takes less than the term, so nobody else reports the same meanwhile.
        if !lease.hold(ports.store()) {
            return;
        }
        let transactions: Vec<_> = batch.iter().map(Entry::transaction).collect();
        let answered = ports.ask(provider.report(&transactions)).await;
        let accepted = accepted(&answered.result);
        let outcome = accepted.map_or_else(CallOutcome::Fault, |()| CallOutcome::Answered);
        let call = CallRecord { outcome, took: answered.took };
        ports.report(Report::Usage { provider: index, call });
        if accepted.is_err() {
            // Everything stays outstanding until the next turn.
            return;
        }
        for entries in batch.chunk_by(|one, other| std::ptr::eq(one.account, other.account)) {
            left = left.saturating_sub(settle(entries, ledger, ports));
        }
        ports.report(Report::Unreported { provider: index, amount: left });
    }
}

/// What to report of all accounts: those that may share a report, and those that may not.
fn entries<'a>(usage: &'a [Outstanding], codes: &'a [Outstanding]) -> (Vec<Entry<'a>>, Vec<Entry<'a>>) {
    let name = |of: &'a Outstanding| (of.kind | OF_CODES, of.shares, of.name.as_str());
    let codes: HashMap<_, _> = codes.iter().map(|codes| (name(codes), codes)).collect();
    let mut room = MOST_CODES;
    let entries = usage.iter().flat_map(|account| {
        // Where an account is reported alone, each transaction would be a call.
        let codes = codes.get(&name(account)).copied().filter(|_| account.shares);
        let parts = spread(&account.amounts, codes.map_or(&[], |codes| &codes.amounts), room);
        let sent = parts.iter().filter(|part| part.code.is_some()).count();
        room = room.saturating_sub(u64::try_from(sent).unwrap_or(u64::MAX));
        parts.into_iter().map(move |part| Entry { account, codes, part })
    });
    entries.partition(|entry| entry.account.shares)
}

/// Marks what was reported of one account, and returns how much that is.
fn settle<S: Store>(entries: &[Entry<'_>], ledger: &Ledger, ports: &Ports<S>) -> u64 {
    let Some(Entry { account, codes, .. }) = entries.first() else { return 0 };
    let usage = sums(entries.iter().flat_map(|entry| &entry.part.usage).map(|(metric, by)| (metric, *by)));
    ledger.settle(ports.store(), account, &usage);
    if let Some(codes) = codes {
        let sent = sums(entries.iter().filter_map(|entry| entry.part.code.as_ref()).map(|code| (code, 1)));
        ledger.settle(ports.store(), codes, &sent);
    }
    usage.iter().fold(0, |sum, (_, more)| sum.saturating_add(*more))
}

fn sums<'a>(amounts: impl Iterator<Item = (&'a String, u64)>) -> Vec<(String, u64)> {
    let mut sums: Vec<(String, u64)> = Vec::new();
    for (name, more) in amounts {
        match sums.iter_mut().find(|(other, _)| other == name) {
            Some((_, sum)) => *sum = sum.saturating_add(more),
            None => sums.push((name.clone(), more)),
        }
    }
    sums
}

impl Entry<'_> {
    fn transaction(&self) -> Transaction {
        let Self { account, codes: _, part: Part { usage, code } } = self;
        Transaction {
            parameter: if account.kind == USER_KEY { "user_key" } else { "app_id" },
            application: account.name.clone(),
            usage: usage.clone(),
            code: code.clone(),
        }
    }
}

/// Whether a report was accepted.
fn accepted(result: &CallResult) -> Result<(), ProviderFault> {
    match result {
        Ok(Response::Http(HttpResponse { status: 200..=299, .. })) => Ok(()),
        Ok(Response::Http(HttpResponse { status: 403, body: Body::Whole(_) | Body::TooLong, .. })) => {
            Err(ProviderFault::Rejected { status: 403 })
        }
        Ok(Response::Http(HttpResponse { status, .. })) => {
            Err(ProviderFault::Status { status: *status, retry_after: None })
        }
        Ok(Response::Grpc(_)) => Err(ProviderFault::Malformed),
        Err(failure) => Err((*failure).into()),
    }
}
