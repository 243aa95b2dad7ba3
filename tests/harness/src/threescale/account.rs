//! What the stand-in knows: services, metrics, plans and applications, and what was counted.

use std::collections::{BTreeMap, HashMap};

use jiff::{Timestamp, ToSpan as _, Unit, civil::Weekday, tz::TimeZone};

/// A service with everything that belongs to it.
#[derive(Clone, Debug)]
pub struct Service {
    pub(super) id: String,
    pub(super) token: String,
    pub(super) provider_key: Option<String>,
    pub(super) kind: Kind,
    pub(super) active: bool,
    pub(super) demands_referrers: bool,
    /// Each metric, with its parent.
    pub(super) metrics: Vec<(String, Option<String>)>,
    pub(super) plans: Vec<Plan>,
    pub(super) applications: Vec<Application>,
}

/// How a service recognises its applications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    UserKey,
    AppId,
    OAuth,
}

/// An application plan.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) name: String,
    pub(super) limits: Vec<(String, Period, u64)>,
}

/// An application.
#[derive(Clone, Debug)]
pub struct Application {
    pub(super) id: String,
    pub(super) user_key: Option<String>,
    pub(super) keys: Vec<String>,
    pub(super) plan: String,
    pub(super) active: bool,
    pub(super) referrers: Vec<String>,
}

/// The period of a limit: a window of the calendar, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A week, from Monday.
    Week,
    /// A month.
    Month,
    /// A year.
    Year,
    /// All time.
    Eternity,
}

/// What was counted, by application, metric, period and start of the window.
#[derive(Debug, Default)]
pub(super) struct Counted(HashMap<(String, String, Period, Timestamp), u64>);

/// Amounts by metric.
pub(super) type Usage = BTreeMap<String, u64>;

impl Service {
    /// A service whose applications present a user key.
    pub fn of_user_keys(id: &str, token: &str) -> Self {
        Self {
            id: id.to_owned(),
            token: token.to_owned(),
            provider_key: None,
            kind: Kind::UserKey,
            active: true,
            demands_referrers: false,
            metrics: vec![("hits".to_owned(), None)],
            plans: Vec::new(),
            applications: Vec::new(),
        }
    }

    /// A service whose applications present an id, and a key if they have keys.
    pub fn of_app_ids(id: &str, token: &str) -> Self {
        Self { kind: Kind::AppId, ..Self::of_user_keys(id, token) }
    }

    /// A service whose applications are OAuth clients.
    pub fn of_clients(id: &str, token: &str) -> Self {
        Self { kind: Kind::OAuth, ..Self::of_user_keys(id, token) }
    }

    /// The key of the account, which is also accepted.
    #[must_use]
    pub fn provider_key(mut self, key: &str) -> Self {
        self.provider_key = Some(key.to_owned());
        self
    }

    /// Adds a metric below another.
    #[must_use]
    pub fn metric(mut self, name: &str, parent: Option<&str>) -> Self {
        self.metrics.push((name.to_owned(), parent.map(str::to_owned)));
        self
    }

    /// Adds a plan.
    #[must_use]
    pub fn plan(mut self, name: &str, limits: &[(&str, Period, u64)]) -> Self {
        let limits = limits.iter().map(|(metric, period, max)| ((*metric).to_owned(), *period, *max));
        self.plans.push(Plan { name: name.to_owned(), limits: limits.collect() });
        self
    }

    /// Adds an application.
    #[must_use]
    pub fn application(mut self, application: Application) -> Self {
        self.applications.push(application);
        self
    }

    /// Applications with referrer filters must send a referrer that fits.
    #[must_use]
    pub fn demanding_referrers(mut self) -> Self {
        self.demands_referrers = true;
        self
    }

    /// The metric and all metrics above it.
    pub(super) fn with_ancestors<'s>(&'s self, metric: &'s str) -> impl Iterator<Item = &'s str> {
        std::iter::successors(Some(metric), |metric| {
            self.metrics.iter().find(|(name, _)| name == metric)?.1.as_deref()
        })
    }
}

impl Application {
    /// An active application on a plan.
    pub fn new(id: &str, plan: &str) -> Self {
        Self {
            id: id.to_owned(),
            user_key: None,
            keys: Vec::new(),
            plan: plan.to_owned(),
            active: true,
            referrers: Vec::new(),
        }
    }

    /// Its user key.
    #[must_use]
    pub fn user_key(mut self, key: &str) -> Self {
        self.user_key = Some(key.to_owned());
        self
    }

    /// Adds an application key.
    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        self.keys.push(key.to_owned());
        self
    }

    /// It is suspended.
    #[must_use]
    pub fn suspended(mut self) -> Self {
        self.active = false;
        self
    }

    /// Adds a pattern of referrers, with `*` for anything.
    #[must_use]
    pub fn referrer(mut self, pattern: &str) -> Self {
        self.referrers.push(pattern.to_owned());
        self
    }

    pub(super) fn admits_referrer(&self, referrer: &str) -> bool {
        // As documented for the real backend, a literal `*` passes all filters.
        referrer == "*" || self.referrers.iter().any(|pattern| fits(pattern, referrer))
    }
}

/// Whether the whole text fits a pattern with `*`.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            (0..=text.len()).filter_map(|at| text.get(at..)).any(|tail| fits(rest, tail))
        }),
    }
}

impl Period {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
            Self::Eternity => "eternity",
        }
    }

    /// The window around a moment; `None` for all time.
    pub(super) fn window(self, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let now = now.to_zoned(TimeZone::UTC);
        let day = now.start_of_day().expect("UTC has every midnight");
        let first = |unit| now.round(jiff::ZonedRound::new().smallest(unit).mode(jiff::RoundMode::Trunc));
        let (start, length) = match self {
            Self::Minute => (first(Unit::Minute).expect("in range"), 1.minute()),
            Self::Hour => (first(Unit::Hour).expect("in range"), 1.hour()),
            Self::Day => (day, 1.day()),
            Self::Week => {
                let back = i64::from(day.weekday().since(Weekday::Monday));
                (day.checked_sub(back.days()).expect("in range"), 1.week())
            }
            Self::Month => (day.first_of_month().expect("in range"), 1.month()),
            Self::Year => (day.first_of_year().expect("in range"), 1.year()),
            Self::Eternity => return None,
        };
        let end = start.checked_add(length).expect("in range");
        Some((start.timestamp(), end.timestamp()))
    }

    fn start(self, now: Timestamp) -> Timestamp {
        self.window(now).map_or(Timestamp::UNIX_EPOCH, |(start, _)| start)
    }

    const ALL: [Self; 7] =
        [Self::Minute, Self::Hour, Self::Day, Self::Week, Self::Month, Self::Year, Self::Eternity];
}

impl Counted {
    /// What was counted in the period around `now`.
    pub(super) fn current(&self, application: &str, metric: &str, period: Period, now: Timestamp) -> u64 {
        let key = (application.to_owned(), metric.to_owned(), period, period.start(now));
        self.0.get(&key).copied().unwrap_or_default()
    }

    /// Counts in every period.
    pub(super) fn add(&mut self, application: &str, usage: &Usage, now: Timestamp) {
        for (metric, amount) in usage {
            for period in Period::ALL {
                let key = (application.to_owned(), metric.clone(), period, period.start(now));
                *self.0.entry(key).or_default() += amount;
            }
        }
    }
}
