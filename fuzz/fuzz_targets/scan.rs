#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _taken_or_not = facelatch_fuzz::feeds::scan(bytes);
});
