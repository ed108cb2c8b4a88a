#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| herdsim_fuzz::wire(data));
