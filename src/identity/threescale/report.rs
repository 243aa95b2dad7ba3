//! Reports what applications used: a background task that one worker runs for all.

use std::time::Duration;

use super::{Provider, Transaction};
use crate::{
    ports::{Ports, Report, Wake},
    provider::{Body, CallOutcome, CallRecord, CallResult, HttpResponse, ProviderFault, Response},
    report::{Ledger, Outstanding},
    store::{Lease, Store, WorkerId},
};

/// Kinds of names of accounts.
pub(super) const USER_KEY: u8 = 0;
pub(super) const APP_ID: u8 = 1;

/// The most transactions in a report. The backend takes a thousand.
const MOST_TRANSACTIONS: usize = 500;

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

/// Sends everything that is outstanding, and says how much is left.
async fn send<S: Store>(provider: &Provider, index: usize, ledger: &Ledger, lease: &Lease, ports: &Ports<S>) {
    let outstanding = ledger.outstanding(ports.store(), provider.digest());
    let mut left: u64 = outstanding.iter().map(Outstanding::total).fold(0, u64::saturating_add);
    ports.report(Report::Unreported { provider: index, amount: left });
    let (shared, alone): (Vec<_>, Vec<_>) = outstanding.into_iter().partition(|account| account.shares);
    let batches = shared.chunks(MOST_TRANSACTIONS).chain(alone.chunks(1));
    for batch in batches {
        // A call takes less than the term, so nobody else reports the same meanwhile.
        if !lease.hold(ports.store()) {
            return;
        }
        let transactions: Vec<_> = batch.iter().map(transaction).collect();
        let answered = ports.ask(provider.report(&transactions)).await;
        let accepted = accepted(&answered.result);
        let outcome = accepted.map_or_else(CallOutcome::Fault, |()| CallOutcome::Answered);
        let call = CallRecord { outcome, took: answered.took };
        ports.report(Report::Usage { provider: index, call });
        if accepted.is_err() {
            // Everything stays outstanding until the next turn.
            return;
        }
        for account in batch {
            ledger.settle(ports.store(), account);
            left = left.saturating_sub(account.total());
        }
        ports.report(Report::Unreported { provider: index, amount: left });
    }
}

fn transaction(account: &Outstanding) -> Transaction {
    Transaction {
        parameter: if account.kind == USER_KEY { "user_key" } else { "app_id" },
        application: account.name.clone(),
        usage: account.amounts.clone(),
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
