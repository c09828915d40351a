//! Any bytes that a vehicle may publish by MQTT: they are refused, or what they mean means the same when it is sent again.
#![no_main]

use avl_shared::link::mqtt::{Up, decode_down};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = decode_down(bytes);
    if let Ok(up) = Up::decode(bytes.to_vec().into()) {
        assert_eq!(Up::decode(up.encode()).expect("what was encoded decodes"), up);
    }
});
