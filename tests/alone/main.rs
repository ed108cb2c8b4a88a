//! Tests that look at what the whole process holds, one after another.

mod memory;
mod soak;
#[path = "../it/support.rs"]
#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

/// Held by the test that runs.
async fn alone() -> tokio::sync::MutexGuard<'static, ()> {
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    ALONE.lock().await
}
