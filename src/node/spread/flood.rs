//! Flooding: an update that is new goes over every link but the one it came by.

use super::Around;
use crate::node::{RecordId, Source};

#[inline]
pub(super) fn on_new(around: &mut Around<'_>, record: RecordId, source: Source) {
    let except = if let Source::Link(link) = source { Some(link) } else { None };
    around.owe(record, except);
}
