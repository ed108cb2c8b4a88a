//! The JSON Schema of scenario files.

/// x
pub fn schema() -> String {
    String::new()
}
