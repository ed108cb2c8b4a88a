//! Direct: the server that hears from a client tells every other server. Nobody passes anything on.

use super::Around;
use crate::node::{RecordId, Source};

pub(super) fn on_new(around: &mut Around<'_>, record: RecordId, source: Source) {
    if source == Source::Client {
        around.owe(record, None);
    }
}
