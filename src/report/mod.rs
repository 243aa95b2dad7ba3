//! Usage that has to be reported to somebody, until it is.
//!
//! Requests [add](Ledger::add) what they use to the account of their application. From time to time one
//! worker collects what is [outstanding](Ledger::outstanding), sends it, and marks it as
//! [reported](Ledger::settle) once it was accepted. What was not accepted stays outstanding, so it goes into
//! the next report.
//!
//! An account also knows how much of each metric was used, so that limits hold between reports: see
//! [`Bound`].

mod account;
mod ledger;

pub use account::{Acceptance, Account, Amount, Bound};
pub use ledger::{Exceeded, Ledger, NotAdded, Outstanding, Settled};
