//! `POST /transactions.xml`: reports of usage. A report is accepted as a whole; what is wrong inside shows
//! only in the service's list of errors, and then nothing of the report is counted.

use jiff::{ToSpan as _, civil::DateTime, tz::TimeZone};

use super::{
    Accepted, State,
    account::Service,
    answer::Options,
    checks::{self, Raised, raised},
    parameters::Parameters,
};
use crate::server::Received;

/// The most transactions in one report.
const MOST: usize = 1000;

impl State {
    pub(super) fn report(&mut self, request: &Received, options: Options) -> Result<(), Raised> {
        let content_type = request.headers().get("content-type").map_or(&b""[..], |value| value.as_bytes());
        let is_form = content_type.is_empty()
            || content_type.starts_with(b"application/x-www-form-urlencoded")
            || content_type.starts_with(b"multipart/form-data");
        if !is_form {
            return Err(raised(400, "content_type_invalid", "send a form".to_owned()));
        }
        let Ok(parameters) = Parameters::parse(request.body()) else {
            return Err(raised(422, "not_valid_data", "the parameters are not UTF-8".to_owned()));
        };
        let service = checks::service(&self.services, &parameters)?;
        let transactions = parameters.list("transactions");
        if transactions.is_empty() {
            return Err(raised(400, "transactions_is_blank", "nothing is reported".to_owned()));
        }
        if transactions.len() > MOST {
            return Err(raised(400, "transactions_format_invalid", "too much is reported".to_owned()));
        }
        let read = transactions.iter().map(|transaction| self.transaction(service, transaction, options));
        match read.collect::<Result<Vec<_>, _>>() {
            Ok(mut accepted) => {
                // What uses nothing is dropped, with its code.
                accepted.retain(|transaction| !transaction.usage.is_empty());
                self.queue.append(&mut accepted);
            }
            // One error is enough: nothing of the report counts, and the answer is the same.
            Err(error) => self.errors.push(error.code.to_owned()),
        }
        Ok(())
    }

    fn transaction(
        &self,
        service: &Service,
        transaction: &Parameters,
        options: Options,
    ) -> Result<Accepted, Raised> {
        let application = checks::application(service, transaction)?;
        let mut usage = checks::usage(service, transaction, options.flat_usage)?;
        usage.retain(|_, amount| *amount > 0);
        let now = self.now();
        let moment = match transaction.get("timestamp") {
            None => now,
            Some(text) => {
                let moment = DateTime::strptime("%Y-%m-%d %H:%M:%S", text.trim_end_matches(" +0000"));
                let moment = moment.ok().and_then(|moment| moment.to_zoned(TimeZone::UTC).ok());
                let earliest = now.checked_sub(24.hours()).expect("in range");
                let latest = now.checked_add(1.hour()).expect("in range");
                moment
                    .map(|moment| moment.timestamp())
                    .filter(|moment| (earliest..=latest).contains(moment))
                    .ok_or_else(|| raised(400, "report_timestamp_not_within_range", text.to_owned()))?
            }
        };
        let code = transaction.get("log[code]").map(str::to_owned);
        Ok(Accepted { application: application.id.clone(), usage, moment, code })
    }
}
