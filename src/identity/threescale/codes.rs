//! The status of answers, reported as `log[code]`.
//!
//! The backend counts one code for each transaction, and only for transactions that use something. So codes
//! are counted in accounts of their own, beside those of usage, and a report spreads the usage of an account
//! over as many transactions as it has codes. A code that comes after its usage was reported waits for the
//! account's next usage.

use super::report::OF_CODES;
use crate::{
    ports::Ports,
    report::{Account, Amount, Ledger, NotAdded},
    store::Store,
    time::Timestamp,
};

/// Adds the status of an answer to the codes of an account.
///
/// # Errors
///
/// The ledger has no room for it, or was always contended.
pub fn log<S: Store>(
    account: &Account<'_>,
    status: u16,
    ledger: &Ledger,
    ports: &Ports<S>,
) -> Result<(), NotAdded> {
    let codes = account.beside(OF_CODES, |bytes| ports.digest_of(bytes));
    let one = Amount { metric: status.to_string(), own: 1, used: 0 };
    ledger.add(ports.store(), &codes, &[one], &[], Timestamp::default())
}

/// A part of an account's usage, with the code that its transaction carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) usage: Vec<(String, u64)>,
    pub(super) code: Option<String>,
}

/// Spreads usage over transactions for these codes, `most` of them at most: one unit for each, and the rest
/// for the first. Without codes it is one transaction.
pub(super) fn spread(usage: &[(String, u64)], codes: &[(String, u64)], most: u64) -> Vec<Part> {
    let total =
        |amounts: &[(String, u64)]| amounts.iter().fold(0_u64, |sum, (_, more)| sum.saturating_add(*more));
    let count = total(codes).min(total(usage)).min(most);
    let mut left = usage.to_vec();
    let mut codes = codes
        .iter()
        .flat_map(|(code, count)| std::iter::repeat_n(code, usize::try_from(*count).unwrap_or(usize::MAX)));
    let first = codes.next().filter(|_| count > 0).cloned();
    let mut parts = Vec::new();
    for code in codes.take(usize::try_from(count.saturating_sub(1)).unwrap_or_default()) {
        let Some((metric, amount)) = left.iter_mut().find(|(_, amount)| *amount > 0) else { break };
        *amount = amount.saturating_sub(1);
        parts.push(Part { usage: vec![(metric.clone(), 1)], code: Some(code.clone()) });
    }
    left.retain(|(_, amount)| *amount > 0);
    parts.insert(0, Part { usage: left, code: first });
    parts
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn amounts(list: &[(&str, u64)]) -> Vec<(String, u64)> {
        list.iter().map(|(name, amount)| ((*name).to_owned(), *amount)).collect()
    }

    #[test]
    fn usage_is_the_same_however_many_codes_share_it() {
        let usage = [("reads", 2), ("writes", 3)];
        for (codes, most, expected) in [
            (&[][..], 9, &[None][..]),
            (&[("200", 1)], 9, &[Some("200")]),
            (&[("200", 2), ("404", 1)], 9, &[Some("200"), Some("200"), Some("404")]),
            (&[("200", 2), ("404", 1)], 2, &[Some("200"), Some("200")]),
            (&[("200", 2), ("404", 1)], 0, &[None]),
            (&[("200", 9)], 9, &[Some("200"); 5]),
        ] {
            let parts = spread(&amounts(&usage), &amounts(codes), most);
            let found: Vec<_> = parts.iter().map(|part| part.code.as_deref()).collect();
            assert_eq!(found, expected);
            let sum = |metric: &str| -> u64 {
                let used = parts.iter().flat_map(|part| &part.usage);
                used.filter(|(name, _)| name == metric).map(|(_, amount)| amount).sum()
            };
            assert_eq!((sum("reads"), sum("writes")), (2, 3));
            assert!(parts.iter().all(|part| part.usage.iter().any(|(_, amount)| *amount > 0)));
        }
    }
}
