//! Quota: how much of what a subject may use, and when.
//!
//! * A [`Limit`] is at most `max` of a metric per [`Window`]. [`Metrics`] form a tree; a request's [`Usage`] of a
//!   metric counts for its ancestors too. A limit whose metric a request does not use neither refuses it nor counts
//!   it nor is shown to the caller.
//! * A meter holds the counters of one subject, in one entry of the store. [`charge`] decides all limits, then
//!   charges all, in one update per meter: a refused request moves no counter, an admitted one counts exactly once.
//!   With a limit of N, exactly N requests are admitted per window, whatever number of workers ask.
//! * **Fixed** windows start from zero where the UTC calendar says. Around a boundary they admit up to 2 × `max` in a
//!   short time: the end of one window and the start of the next.
//! * **Sliding** windows count the window before as well, with the share of it that a window ending now still covers,
//!   as if it had been evenly used. The share is rounded down, so that a caller who keeps the rate is not refused. No
//!   calendar window admits more than `max`; a burst across a boundary gets `max` and, of the new window, what has
//!   faded by then (rounded up: at least one); a span as long as a window that is used as unevenly as can be sees up
//!   to 2 × `max`.
//! * Windows never rewind. Where the clock goes back, or a worker is late, a request counts in the window that its
//!   counter is already in. So a meter that was charged while the clock was ahead stays as full until that window ends.
//! * Counters know metric name, window and shape, not `max` nor order: they survive every change of a policy but one,
//!   that of `capacity` (see [`Table`](crate::store::Table)). Those whose limit is gone are kept until their window is
//!   over, so that going back and forth between policies gives no quota away.
//! * With **several meters** (`of: consumer` and `of: api`), they are charged one after the other; when a later one
//!   refuses, the earlier charges are given back. Nothing is ever over-admitted, but in the instant between, another
//!   request may find the earlier meter fuller than it is and be refused early. A charge that cannot be given back is
//!   reported, and stays until its window ends.
//! * [`Denial::NotNow`] says when all limits will have room, to the second, if nothing else is counted.
//!   [`Denial::Never`] is for disabled metrics and for requests larger than a limit.
//! * A [`Receipt`] is what was charged. It gives its charges back unless it is settled.

mod charge;
mod counter;
mod headers;
mod limit;
mod meter;
mod payers;
mod standing;
mod window;

pub use charge::{Receipt, charge};
pub use headers::{HeaderStyle, headers};
pub use limit::{CounterId, InvalidLimit, Limit};
pub use meter::Demand;
pub use payers::{LimitSet, LimitSets, Of, Payers, consumer_payer};
pub use standing::{Denial, Denied, Standing, tightest};
pub use window::{InvalidWindow, Shape, Span, Window};
