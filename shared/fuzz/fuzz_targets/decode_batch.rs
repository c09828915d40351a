//! Any bytes: the decoder answers with an error or with a batch that an encoder can write, and never panics.
#![no_main]

use avl_shared::batch;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let header = batch::peek(bytes);
    if let Ok(decoded) = batch::decode(bytes) {
        assert_eq!(header.expect("decoded").range.count(), decoded.fixes.len() as u64);
        if let Ok(again) = batch::encode(&decoded) {
            assert_eq!(batch::decode(&again).expect("what was encoded decodes"), decoded);
        }
    }
});
