//! What can be done to a herd: the verbs of people, the actions of drivers, and the faults that stay.
//!
//! *What* is done ([`ServerVerb`], [`WayVerb`]) is apart from *where*. A [`Verb`] joins both and says how a person means it; a
//! [`Plan`] has the [`Action`]s it comes to. Texts of files and commands are read in `scenario` and `cli`, from the rows of
//! [`Spec`]. Drivers live in [`crate::driver`].

mod action;
mod agenda;
mod faults;
mod notation;
mod plan;
mod share;
mod spec;
mod verb;

pub use action::{Action, Hit, SessionId};
pub use agenda::{Agenda, take_back};
pub use faults::WayFaults;
pub use notation::{arrow, split_way};
pub use plan::{Later, Moment, Plan, Refused, not_linked};
pub use share::{Share, ShareError};
pub use spec::{Counter, Spec, Takes};
use spec::{PARTITION, ROLLING_RESTART};
pub use verb::{Ends, PartitionMode, ServerVerb, Verb, WayVerb, Ways};
