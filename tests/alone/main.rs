//! Tests that look at what the whole process holds, one after another.

mod memory;
mod soak;
#[path = "../it/support.rs"]
#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

/// Runs a test while no other one runs. Its runtime has ended, and closed what its tasks held, before the next one begins.
fn alone(test: impl Future<Output = ()>) {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(test);
}
