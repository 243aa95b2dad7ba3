//! Quota: how much a subject may use, and when.
//!
//! * A [`Limit`] is at most `max` of a metric per [`Window`]. [`Metrics`](crate::matching::Metrics) form a
//!   tree: a request's [`Usage`](crate::matching::Usage) of a metric also counts for its ancestors. A limit
//!   on a metric that a request does not use is ignored: it does not refuse the request, count it, or appear
//!   in its headers.
//! * A meter holds the counters of one subject, in one entry of the store. [`charge()`] checks all limits,
//!   then charges all of them, in one update per meter. A refused request changes no counter, and an
//!   admitted one counts exactly once. With a limit of N, exactly N requests are admitted per window,
//!   however many workers ask.
//! * **Fixed** windows start from zero at boundaries of the UTC calendar. Around a boundary they admit up to
//!   2 × `max` in a short time: at the end of one window and at the start of the next.
//! * **Sliding** windows also count the window before. Its count is treated as evenly spread, and weighted by
//!   the share that a window ending now would still cover. The share is rounded down, so that a caller who
//!   keeps to the rate is not refused. No calendar window admits more than `max`. A burst across a boundary
//!   gets `max`, plus what has already faded (rounded up, at least one). With the most uneven use, any span
//!   of one window's length sees up to 2 × `max`.
//! * Windows never rewind. If the clock goes back, or a worker is late, a request counts in the window that
//!   its counter is already in. A meter that was charged while the clock was ahead stays full until that
//!   window ends.
//! * Counters are identified by metric name, window and shape, not by `max` or order. They survive every
//!   change of a policy except a change of `capacity` (see [`Table`](crate::store::Table)). Counters whose
//!   limit was removed are kept until their window is over, so that switching between policies gives no extra
//!   quota.
//! * With **several meters** (`of: consumer` and `of: api`), the meters are charged one after the other. If a
//!   later meter refuses, the earlier charges are given back. Requests are never over-admitted, but between
//!   the charge and the refund another request may be refused early. A charge that cannot be given back is
//!   reported, and stays until its window ends.
//! * [`Denial::NotNow`] says when all limits will have room, to the second, if nothing else is counted.
//!   [`Denial::Never`] is for disabled metrics and for requests larger than a limit.
//! * A limit **across replicas** is also counted by a rate limit service: [`remote`].
//! * A [`Receipt`] holds the charges of one request. It gives them back unless it is settled.

mod charge;
mod counter;
mod headers;
mod limit;
mod meter;
mod payers;
pub mod remote;
mod standing;
mod window;

pub use charge::{Receipt, charge, look};
pub use headers::{HeaderStyle, headers, is_list};
pub use limit::{Across, CounterId, InvalidLimit, Limit};
pub use meter::{Demand, MeterId, Meters};
pub use payers::{Demands, LimitSet, LimitSets, Of, Payers, api_payer, consumer_payer, network};
pub use standing::{Denial, Denied, Standing, tightest};
pub use window::{InvalidWindow, Shape, Span, Window};
