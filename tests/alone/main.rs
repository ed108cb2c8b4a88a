//! Tests of what the whole process holds, one after another.

mod epochs;
mod parity;
mod ports;
mod soak;
#[path = "../it/support.rs"]
#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::runtime::Builder;

/// The runtime of a small herd.
fn one_thread() -> Builder {
    Builder::new_current_thread()
}

/// The runtime of a big herd, on which tasks of one server run at the same time; more threads than this machine may have
/// cores, so that they are also interrupted anywhere.
fn threads() -> Builder {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(4);
    builder
}

/// Waits until no other test runs. None does until the result is dropped.
fn exclusively() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a test while no other one runs. Its runtime has ended, and closed what its tasks held, before the next one begins.
fn alone(mut runtime: Builder, test: impl Future<Output = ()>) {
    let _alone = exclusively();
    let runtime = runtime.enable_all().build().expect("a runtime starts");
    runtime.block_on(test);
}
