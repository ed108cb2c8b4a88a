//! Runs, breaks and judges application server herds.
