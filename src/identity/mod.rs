//! Who is calling: for each kind of provider, how it is asked about a credential, how its answer is read, and how long
//! the answer may be kept.

pub mod introspection;
